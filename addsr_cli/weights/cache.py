"""Where fetched weights lie: one folder a component, with a record of what was checked. Never touches the network.

``ADDSR_HOME/downloads`` (or the user's cache folder) holds ``<component>/<file>``,
``<component>/record.json`` and a lock ``<component>.lock``. A file counts only while it is in the
record, which is written after its checksum.
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
from addsr_cli.weights.components import Component, FileSpec, Kind, Source
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress

RECORD = "record.json"
Check = Literal["manifest", "hub", "git", "first use"]


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One checked file: size in bytes, mtime in ns, sha256, the digest or tag its source declared, what it passed.

    ``check`` is ``manifest`` (a digest of addsr's own list), ``hub`` (sha256 declared by the Hub),
    ``git`` (blob hash declared by the Hub) or ``first use`` (nothing to compare with). ``note`` is
    a sentence where something is odd.
    """

    size: int
    mtime_ns: int
    sha256: str
    declared: str = ""
    check: Check = "first use"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a component came from, the revision asked for and the commit that was, and its checked files by path."""

    repo: str = ""
    kind: Kind = "model"
    asked: str = ""
    revision: str = ""
    files: dict[str, CacheEntry] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Self:
        """The record of a component; an empty one where there is none or it cannot be understood."""
        try:
            raw = json.loads((folder(name) / RECORD).read_text(encoding="utf-8"))
            files = {str(path): CacheEntry(**entry) for path, entry in raw.pop("files").items()}
            return cls(files=files, **raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, name: str) -> None:
        """Replace the record of a component in one step. Raises OSError."""
        write_text(folder(name) / RECORD, json.dumps(asdict(self), indent=1))

    def of(self, sources: tuple[Source, ...]) -> bool:
        """Whether it came from one of ``sources`` at the revision named there; True where there are none.

        What a user brought along was let in by its digest, which holds for every source.
        """
        return (
            not sources
            or self.kind == "file"
            or any(
                (source.repo, source.kind) == (self.repo, self.kind)
                and source.revision in (self.asked, self.revision)
                for source in sources
            )
        )


@dataclass(frozen=True, kw_only=True)
class FileState:
    """One file after a check: ``problem`` is empty when all is well, or completes the sentence "FILE ..."."""

    path: str
    size: int
    sha256: str
    check: Check | None
    problem: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the file is what it was when it was fetched."""
        return not self.problem


def root() -> Path:
    """The folder that holds all downloads: ADDSR_HOME/downloads, or one in the user's cache."""
    return cache_folder() / "downloads"


def folder(name: str) -> Path:
    """Where the files of component ``name`` lie."""
    return root() / name


def refuse_odd_names(component: Component) -> None:
    """Refuse names that would lead out of the component's folder. Raises ModelUnavailable."""
    for name in (component.name, *(spec.path for spec in component.files)):
        parts = PurePosixPath(name).parts
        if (
            not parts
            or ".." in parts
            or name.startswith("/")
            or set(name) & set("\\:\0")
            or name == RECORD
        ):
            raise ModelUnavailable(
                f"{component.title} has the name {name!r}, which addsr does not write to; nothing was fetched.",
                "Use another source.",
            )


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """The component's folder, made if needed and held against other processes; waits for them. Raises OSError."""
    path = folder(name)
    path.mkdir(parents=True, exist_ok=True)
    with FileLock(root() / f"{name}.lock"):
        path.mkdir(exist_ok=True)
        remove_partial_files(path)
        yield path


def must_match(spec: FileSpec) -> bool:
    """Whether the listed digest is sure enough (A or B) that another one is refused."""
    return spec.sha256 is not None and spec.confidence in ("A", "B")


def intact(path: Path, entry: CacheEntry | None, spec: FileSpec) -> CacheEntry | None:
    """The file's entry, brought up to date, if it is what was recorded; hashed again only if size or time changed."""
    if entry is None or not path.is_file() or (must_match(spec) and entry.sha256 != spec.sha256):
        return None
    stat = path.stat()
    if stat.st_size != entry.size:
        return None
    if stat.st_mtime_ns == entry.mtime_ns:
        return entry
    return replace(entry, mtime_ns=stat.st_mtime_ns) if sha256_of(path) == entry.sha256 else None


def cached_files(component: Component, record: Record) -> dict[str, CacheEntry]:
    """The files of a component that lie here intact, by path."""
    found = {}
    for spec in component.files:
        entry = intact(folder(component.name) / spec.path, record.files.get(spec.path), spec)
        if entry:
            found[spec.path] = entry
    return found


def find_cached(component: Component, sources: tuple[Source, ...]) -> Path | None:
    """The component's folder if all its files lie there intact and came from one of ``sources``."""
    record = Record.read(component.name)
    if not record.files or not record.of(sources):
        return None
    found = cached_files(component, record)
    if len(found) < len(component.files):
        return None
    updated = replace(record, files=record.files | found)
    if updated != record:
        with contextlib.suppress(
            OSError
        ):  # a read-only store is fine: the files are hashed again next time
            updated.write(component.name)
    return folder(component.name)


def verify(component: Component, report: ProgressCallback | None = None) -> tuple[FileState, ...]:
    """Hash every file of a component again, without the network; the check of a file that was never here is None.

    What is missing or not as recorded is named in the answer and forgotten, so that the next fetch
    gets it anew. Raises OSError.
    """
    refuse_odd_names(component)
    if not folder(component.name).is_dir():
        return tuple(
            FileState(
                path=spec.path,
                size=0,
                sha256="",
                check=None,
                problem="is missing",
            )
            for spec in component.files
        )
    with locked(component.name) as place:
        record = Record.read(component.name)
        states = tuple(
            _state(place, record.files.get(spec.path), spec, report) for spec in component.files
        )
        bad = {state.path for state in states if not state.ok}
        if bad & record.files.keys():
            replace(
                record,
                files={path: entry for path, entry in record.files.items() if path not in bad},
            ).write(component.name)
    return states


def remove(component: Component) -> int:
    """Delete what was fetched of a component, finished or not; bytes freed. Raises OSError."""
    refuse_odd_names(component)
    if not folder(component.name).is_dir():
        return 0
    with locked(component.name) as place:
        freed = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        shutil.rmtree(place)
    return freed


def adopt(
    component: Component,
    spec: FileSpec,
    file: Path,
    digest: str,
) -> Path:
    """Take a file of known ``digest`` that a user brought along as if it had been fetched; its place in the store.

    Where the disk allows it is the same file under a second name, else a copy. Raises OSError.
    """
    refuse_odd_names(component)
    with locked(component.name) as place:
        target = place / spec.path
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_files(target.parent)
        link_or_copy(file.resolve(), target)
        stat, record = target.stat(), Record.read(component.name)
        entry = CacheEntry(
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            sha256=digest,
            declared=digest,
            check="manifest",
        )
        if not record.files:
            record = Record(
                repo=file.name, kind="file"
            )  # no path: it ends in a record that push publishes
        replace(record, files=record.files | {spec.path: entry}).write(component.name)
    return target


def _state(
    place: Path,
    entry: CacheEntry | None,
    spec: FileSpec,
    report: ProgressCallback | None,
) -> FileState:
    path = place / spec.path
    if not path.is_file() or entry is None:
        problem = "was never finished or checked" if path.is_file() else "is missing"
        return FileState(
            path=spec.path,
            size=0,
            sha256="",
            check=entry.check if entry else None,
            problem=problem,
        )
    found, problem = sha256_with_progress(path, spec.path, report), ""
    if found != entry.sha256:
        problem = f"has SHA-256 {found}, but had {entry.sha256} when it was fetched"
    elif must_match(spec) and found != spec.sha256:
        problem = f"has SHA-256 {found}, but addsr expects {spec.sha256}"
    return FileState(
        path=spec.path,
        size=path.stat().st_size,
        sha256=found,
        check=entry.check,
        problem=problem,
        note=entry.note,
    )
