"""Downloaded weights: one folder per component, with a record of the files that were checked.

``ADDSR_HOME/downloads`` (or the user's cache folder) contains ``<component>/<file>``,
``<component>/record.json`` and a lock ``<component>.lock``. A file counts only while it is in the
record, which is written after its checksum. Nothing here touches the network.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from filelock import FileLock

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import link_or_copy, remove_partial_files, sha256_of, write_text
from addsr_cli.folders import cache_folder
from addsr_cli.models.component import Component, FileSpec, Kind, Source
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress

RECORD = "record.json"
Check = Literal["manifest", "hub", "git", "first use"]


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One checked file: size in bytes, modification time in ns, SHA-256.

    ``declared`` is the digest or tag that the source declared. ``check`` says what the file was
    compared with: ``manifest`` (a digest of addsr's own list), ``hub`` (a SHA-256 declared by the
    Hub), ``git`` (a blob hash declared by the Hub) or ``first use`` (nothing). ``note`` is a
    sentence for the user where something is odd.
    """

    size: int
    mtime_ns: int
    sha256: str
    declared: str = ""
    check: Check = "first use"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Contents of ``record.json``: the origin of a component, and its checked files by path.

    ``asked`` is the revision that was requested, ``revision`` the commit that it was.
    """

    repo: str = ""
    kind: Kind = "model"
    asked: str = ""
    revision: str = ""
    files: dict[str, CacheEntry] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Self:
        """Return the record of a component, empty where there is none or it is damaged."""
        try:
            raw = json.loads((component_folder(name) / RECORD).read_text(encoding="utf-8"))
            files = {str(path): CacheEntry(**entry) for path, entry in raw.pop("files").items()}
            return cls(files=files, **raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, name: str) -> None:
        """Replace the record of a component in one step. Raises OSError."""
        write_text(component_folder(name) / RECORD, json.dumps(asdict(self), indent=1))

    def is_from(self, sources: tuple[Source, ...]) -> bool:
        """Whether the files came from one of ``sources`` at its revision; True for no sources.

        Files that the user imported were accepted by their digest, which holds for every source.
        """
        if not sources or self.kind == "file":
            return True
        return any(
            (source.repo, source.kind) == (self.repo, self.kind)
            and source.revision in (self.asked, self.revision)
            for source in sources
        )


@dataclass(frozen=True, kw_only=True)
class FileStatus:
    """Result of checking one file again.

    ``problem`` is empty for an intact file, or completes the sentence "FILE ...". ``check`` is
    None for a file that was never downloaded.
    """

    path: str
    size: int
    sha256: str
    check: Check | None
    problem: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the file is what it was when it was downloaded."""
        return not self.problem


def downloads_folder() -> Path:
    """Return the folder of all downloads: ADDSR_HOME/downloads, or one in the user's cache."""
    return cache_folder() / "downloads"


def component_folder(name: str) -> Path:
    """Return the folder of component ``name``."""
    return downloads_folder() / name


def check_names(component: Component) -> None:
    """Raise ModelUnavailable for names that lead out of the component's folder."""
    for name in (component.name, *(spec.path for spec in component.files)):
        parts = PurePosixPath(name).parts
        unsafe = not parts or ".." in parts or name.startswith("/") or set(name) & set("\\:\0")
        if unsafe or name == RECORD:
            raise ModelUnavailable(
                f"{component.title} has the name {name!r}, which addsr does not write to; "
                "nothing was downloaded.",
                "Use another source.",
            )


@contextlib.contextmanager
def locked_folder(name: str) -> Iterator[Path]:
    """Yield the folder of a component, created if missing and locked against other processes.

    Waits for another process. Raises OSError.
    """
    folder = component_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(downloads_folder() / f"{name}.lock"):
        folder.mkdir(exist_ok=True)  # the process before may have removed it
        remove_partial_files(folder)
        yield folder


def cached_files(component: Component, record: Record) -> dict[str, CacheEntry]:
    """Return the entries of a component's unchanged files by path."""
    folder = component_folder(component.name)
    entries = {}
    for spec in component.files:
        entry = _unchanged(folder / spec.path, record.files.get(spec.path), spec)
        if entry:
            entries[spec.path] = entry
    return entries


def find_cached(component: Component, sources: tuple[Source, ...]) -> Path | None:
    """Return the component's folder if all files are unchanged and from one of ``sources``."""
    record = Record.read(component.name)
    if not record.files or not record.is_from(sources):
        return None
    entries = cached_files(component, record)
    if len(entries) < len(component.files):
        return None
    updated = replace(record, files=record.files | entries)
    if updated != record:
        # In a read-only cache the files are simply hashed again next time.
        with contextlib.suppress(OSError):
            updated.write(component.name)
    return component_folder(component.name)


def verify(
    component: Component,
    on_progress: ProgressCallback | None = None,
) -> tuple[FileStatus, ...]:
    """Hash every file of a component again.

    Missing and changed files are also removed from the record, so that the next download gets
    them anew. Raises OSError.
    """
    check_names(component)
    if not component_folder(component.name).is_dir():
        return tuple(_missing(spec, None, "is missing") for spec in component.files)
    with locked_folder(component.name) as folder:
        record = Record.read(component.name)
        statuses = tuple(
            _verify_file(
                folder / spec.path,
                record.files.get(spec.path),
                spec,
                on_progress,
            )
            for spec in component.files
        )
        bad = {status.path for status in statuses if not status.ok}
        if bad & record.files.keys():
            files = {path: entry for path, entry in record.files.items() if path not in bad}
            replace(record, files=files).write(component.name)
    return statuses


def remove(component: Component) -> int:
    """Delete a component's files, finished or not; returns the bytes freed. Raises OSError."""
    check_names(component)
    if not component_folder(component.name).is_dir():
        return 0
    with locked_folder(component.name) as folder:
        freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
    return freed


def add_file(
    component: Component,
    spec: FileSpec,
    file: Path,
    digest: str,
) -> Path:
    """Add a user's file of known ``digest`` as if it had been downloaded; returns its path.

    It becomes a hard link to the user's file where possible, else a copy. Raises OSError.
    """
    check_names(component)
    with locked_folder(component.name) as folder:
        target = folder / spec.path
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_files(target.parent)
        link_or_copy(file.resolve(), target)
        record = Record.read(component.name)
        if not record.files:
            # Only the name: push publishes the record, and a path would tell the user's folders.
            record = Record(repo=file.name, kind="file")
        status = target.stat()
        entry = CacheEntry(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            sha256=digest,
            declared=digest,
            check="manifest",
        )
        replace(record, files=record.files | {spec.path: entry}).write(component.name)
    return target


def _unchanged(
    path: Path,
    entry: CacheEntry | None,
    spec: FileSpec,
) -> CacheEntry | None:
    """Return the entry of a file, with its new time, if the file is what was recorded.

    The file is hashed again only if its time changed.
    """
    if entry is None or not path.is_file():
        return None
    if spec.digest_is_binding and entry.sha256 != spec.sha256:
        return None
    status = path.stat()
    if status.st_size != entry.size:
        return None
    if status.st_mtime_ns == entry.mtime_ns:
        return entry
    if sha256_of(path) != entry.sha256:
        return None
    return replace(entry, mtime_ns=status.st_mtime_ns)


def _verify_file(
    path: Path,
    entry: CacheEntry | None,
    spec: FileSpec,
    on_progress: ProgressCallback | None,
) -> FileStatus:
    if not path.is_file():
        return _missing(spec, entry, "is missing")
    if entry is None:
        return _missing(spec, entry, "was never finished or checked")
    digest = sha256_with_progress(path, spec.path, on_progress)
    problem = ""
    if digest != entry.sha256:
        problem = f"has SHA-256 {digest}, but had {entry.sha256} when it was downloaded"
    elif spec.digest_is_binding and digest != spec.sha256:
        problem = f"has SHA-256 {digest}, but addsr expects {spec.sha256}"
    return FileStatus(
        path=spec.path,
        size=path.stat().st_size,
        sha256=digest,
        check=entry.check,
        problem=problem,
        note=entry.note,
    )


def _missing(
    spec: FileSpec,
    entry: CacheEntry | None,
    problem: str,
) -> FileStatus:
    return FileStatus(
        path=spec.path,
        size=0,
        sha256="",
        check=entry.check if entry else None,
        problem=problem,
    )
