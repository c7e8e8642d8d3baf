"""Where fetched weights lie: one folder a component, with a record of what was checked. Never touches the network.

``ADDSR_HOME/downloads`` (or the user's cache folder) holds ``<component>/<file>``, ``<component>/record.json`` and a
lock ``<component>.lock``. A file counts only while it is in the record, which is written after its checksum.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from hashlib import file_digest, sha1
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from filelock import FileLock
from platformdirs import user_cache_path

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.components import Component, FileSpec, Kind, Source

RECORD = "record.json"
Check = Literal["manifest", "hub", "git", "first use"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One checked file: size in bytes, mtime in ns, sha256, the digest or tag its source declared, what it passed.

    ``check`` is ``manifest`` (a digest of addsr's own list), ``hub`` (sha256 declared by the Hub), ``git`` (blob hash
    declared by the Hub) or ``first use`` (nothing to compare with). ``note`` is a sentence where something is odd.
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
    files: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Self:
        """The record of a component; an empty one where there is none or it cannot be understood."""
        try:
            raw = json.loads((folder(name) / RECORD).read_text(encoding="utf-8"))
            files = {str(path): Entry(**entry) for path, entry in raw.pop("files").items()}
            return cls(files=files, **raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, name: str) -> None:
        """Replace the record of a component in one step. Raises OSError."""
        part = folder(name) / f"{RECORD}.part"
        part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        part.replace(folder(name) / RECORD)

    def of(self, sources: tuple[Source, ...]) -> bool:
        """Whether it came from one of ``sources`` at the revision named there; True where there are none."""
        return not sources or any(
            (source.repo, source.kind) == (self.repo, self.kind) and source.revision in (self.asked, self.revision)
            for source in sources
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
    home = os.environ.get("ADDSR_HOME")
    return (Path(home).expanduser() if home else user_cache_path("addsr")) / "downloads"


def folder(name: str) -> Path:
    """Where the files of component ``name`` lie."""
    return root() / name


def refuse_odd_names(component: Component) -> None:
    """Refuse names that would lead out of the component's folder. Raises ModelUnavailable."""
    for name in (component.name, *(spec.path for spec in component.files)):
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or set(name) & set("\\:\0") or name == RECORD:
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
        yield path


def digest(path: Path, kind: Literal["sha256", "git"] = "sha256") -> str:
    """The sha256 of a file, or git's hash of it as a blob, in hex. Raises OSError."""
    with path.open("rb") as file:
        if kind == "sha256":
            return file_digest(file, "sha256").hexdigest()
        blob = sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        return file_digest(file, lambda: blob).hexdigest()


def must_match(spec: FileSpec) -> bool:
    """Whether the listed digest is sure enough (A or B) that another one is refused."""
    return spec.sha256 is not None and spec.confidence in ("A", "B")


def intact(path: Path, entry: Entry | None, spec: FileSpec) -> Entry | None:
    """The file's entry, brought up to date, if it is what was recorded; hashed again only if size or time changed."""
    if entry is None or not path.is_file() or (must_match(spec) and entry.sha256 != spec.sha256):
        return None
    stat = path.stat()
    if stat.st_size != entry.size:
        return None
    if stat.st_mtime_ns == entry.mtime_ns:
        return entry
    return replace(entry, mtime_ns=stat.st_mtime_ns) if digest(path) == entry.sha256 else None


def held_files(component: Component, record: Record) -> dict[str, Entry]:
    """The files of a component that lie here intact, by path."""
    found = {}
    for spec in component.files:
        entry = intact(folder(component.name) / spec.path, record.files.get(spec.path), spec)
        if entry:
            found[spec.path] = entry
    return found


def held(component: Component, sources: tuple[Source, ...]) -> Path | None:
    """The component's folder if all its files lie there intact and came from one of ``sources``."""
    record = Record.read(component.name)
    if not record.files or not record.of(sources):
        return None
    found = held_files(component, record)
    if len(found) < len(component.files):
        return None
    updated = replace(record, files=record.files | found)
    if updated != record:
        with contextlib.suppress(OSError):  # a read-only store is fine: the files are hashed again next time
            updated.write(component.name)
    return folder(component.name)


def verify(component: Component) -> tuple[FileState, ...]:
    """Hash every file of a component again, without the network.

    What is missing or not as recorded is named in the answer and forgotten, so that the next fetch gets it anew.
    Raises OSError.
    """
    refuse_odd_names(component)
    if not folder(component.name).is_dir():
        return tuple(
            FileState(path=spec.path, size=0, sha256="", check=None, problem="is missing") for spec in component.files
        )
    with locked(component.name) as place:
        record = Record.read(component.name)
        states = tuple(_state(place / spec.path, record.files.get(spec.path), spec) for spec in component.files)
        bad = {state.path for state in states if not state.ok}
        if bad & record.files.keys():
            replace(record, files={path: entry for path, entry in record.files.items() if path not in bad}).write(
                component.name
            )
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


def _state(path: Path, entry: Entry | None, spec: FileSpec) -> FileState:
    if not path.is_file() or entry is None:
        problem = "was never finished or checked" if path.is_file() else "is missing"
        return FileState(path=spec.path, size=0, sha256="", check=None, problem=problem)
    found, problem = digest(path), ""
    if found != entry.sha256:
        problem = f"has SHA-256 {found}, but had {entry.sha256} when it was fetched"
    elif must_match(spec) and found != spec.sha256:
        problem = f"has SHA-256 {found}, but addsr expects {spec.sha256}"
    return FileState(
        path=spec.path, size=path.stat().st_size, sha256=found, check=entry.check, problem=problem, note=entry.note
    )
