"""The memory of a batch: one line of JSON for every file that was begun, done or given up.

Lines are appended and brought to the disk one by one, so that a run may end at any moment. Every
process has a journal of its own beside the output (``OUT/.addsr/journal*.jsonl``); reading merges
them all, and the last word on a file wins. What is last is decided by the order of the lines, and
between journals by the number of the run, never by a clock.

A journal is input like any other: somebody else may have written it. Lines without the types and
the relative paths that `Journal.write` gives them are counted and passed over.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, Self, get_args

from filelock import FileLock, Timeout

from addsr_cli import imageio
from addsr_cli.batch.shards import WHOLE, Shard
from addsr_cli.errors import OutputRefused, OutputVanished

FOLDER = ".addsr"
LONGEST = 1 << 20  # characters of a line; names and messages are far shorter
State = Literal["writing", "ok", "failed"]
Key = tuple[str, int]
UNSAID: tuple[object, ...] = ("", -1, {})  # defaults, left out

_PATHS = ("input", "output")
_TEXTS = (*_PATHS, "root", "settings", "sha256", "output_sha256")
_COUNTS = ("sample", "size", "mtime_ns", "output_size", "run")
_TIMES = ("seconds", "at")
_ERROR = {"code", "message", "hint"}


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """The last word on one output: of which input, made with which settings, what came of it.

    ``input`` and ``output`` are relative to their folders, with ``/``; ``root`` is the folder of
    the inputs. ``size`` (bytes), ``mtime_ns`` and ``sha256`` are the input's; ``error`` holds code,
    message and hint; ``at`` is seconds since 1970, for people to read; ``run`` counts the runs that
    wrote into the folder, from 1.
    """

    state: State
    input: str
    sample: int = 0
    root: str = ""
    settings: str = ""
    size: int = -1
    mtime_ns: int = -1
    sha256: str = ""
    output: str = ""
    output_size: int = -1
    output_sha256: str = ""
    seconds: float = 0.0
    error: dict[str, str] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    run: int = field(default=0, compare=False)

    @property
    def key(self) -> Key:
        """What identifies the output: the input and the number of the sample."""
        return self.input, self.sample

    @classmethod
    def parsed(cls, line: str) -> Self | None:
        """An entry from its line; None for a line that is torn or that this program did not write."""
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(raw, dict) or not _well_formed(raw):
            return None
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in raw.items() if key in known})


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the journals of a folder say: last entries, how many lines are none, runs so far."""

    entries: dict[Key, JournalEntry]
    unknown: int
    runs: int


class Journal:
    """The journal that this process writes. Raises OutputRefused when another process holds it."""

    def __init__(self, output: Path, shard: Shard = WHOLE) -> None:
        name = "journal" if shard == WHOLE else f"journal-{shard.number}of{shard.count}"
        self.path = _folder(output) / f"{name}.jsonl"
        lock = self.path.with_suffix(".lock")
        for path in (self.path, lock):
            _refuse_link(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(lock, timeout=0)
            self._lock.acquire()
            self._run = load_all(output).runs + 1
            self._file: IO[bytes] = self.path.open("ab")
            if self.path.stat().st_size and not _ends_whole(self.path):
                self._file.write(b"\n")  # a line was torn; the next one shall not hang on to it
        except Timeout as exc:
            raise OutputRefused(
                f"Another addsr batch is writing into {str(output)!r}.",
                "Wait for it, or give each its own --shard.",
            ) from exc
        except OSError as exc:
            raise imageio.write_error(self.path, exc) from exc

    def write(self, entry: JournalEntry) -> None:
        """Put an entry on the disk. Raises NoSpace, OutputVanished and OutputRefused."""
        numbered = asdict(replace(entry, run=self._run))
        said = {key: value for key, value in numbered.items() if value not in UNSAID}
        try:
            self._file.write(json.dumps(said).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise imageio.write_error(self.path, exc) from exc
        self.check()

    def check(self) -> None:
        """Raise OutputVanished when the journal, and so the outputs, no longer lie where they did."""
        try:
            in_place = os.path.samestat(self.path.lstat(), os.fstat(self._file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            in_place = False
        if not in_place:
            raise OutputVanished(
                f"The output folder {str(self.path.parents[1])!r} was deleted or moved during the run.",
                "Run the same command again to make what is missing.",
            )

    def close(self) -> None:
        """Let go of the file and the lock."""
        try:
            self._file.close()
        except OSError:  # what a full disk left in the buffer; `write` has told of it
            pass
        finally:
            self._lock.release()


def read(output: Path) -> dict[Key, JournalEntry]:
    """The last entry of every output, from all journals there."""
    return load_all(output).entries


def load_all(output: Path) -> Contents:
    """What all journals there say. Raises OutputRefused for one that is no file of its own."""
    latest: dict[Key, JournalEntry] = {}
    unknown = 0
    for path in sorted(_folder(output).glob("journal*.jsonl")):
        entries, strange = _entries(path)
        unknown += strange
        for key, entry in entries.items():
            if key not in latest or _rank(entry) >= _rank(latest[key]):
                latest[key] = entry
    runs = max((entry.run for entry in latest.values()), default=0)
    return Contents(
        entries=latest,
        unknown=unknown,
        runs=runs,
    )


def _rank(entry: JournalEntry) -> tuple[int, bool]:
    """By which the last word of two journals is found: the later run, or else the one with an output."""
    return entry.run, entry.state == "ok"


def _entries(path: Path) -> tuple[dict[Key, JournalEntry], int]:
    """The last entry of every output in one journal, and how many lines are no entries."""
    _refuse_link(path)
    if not path.is_file():
        raise OutputRefused(
            f"{str(path)!r} is not a regular file, so the journal cannot be kept there.",
            "Move it away, or choose another folder with -o.",
        )
    entries: dict[Key, JournalEntry] = {}
    unknown = run = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in iter(partial(file.readline, LONGEST), ""):
                entry = JournalEntry.parsed(line)
                if entry is None:
                    unknown += bool(line.strip())
                    continue
                run = max(run, entry.run)  # a later line is never of an earlier run
                entries[entry.key] = replace(entry, run=run)
    except OSError as exc:
        raise OutputRefused(
            f"The journal {str(path)!r} cannot be read: {exc.strerror}.",
            "Check its permissions and the disk.",
        ) from exc
    return entries, unknown


def _well_formed(raw: Mapping[str, Any]) -> bool:
    """Whether the fields have the types of an `Entry`, and the paths stay inside their folders."""
    return (
        raw.get("state") in get_args(State)
        and "input" in raw
        and all(isinstance(raw.get(name, ""), str) for name in _TEXTS)
        and all(type(raw.get(name, 0)) is int for name in _COUNTS)
        and all(type(raw.get(name, 0)) in (int, float) for name in _TIMES)
        and _is_error(raw.get("error", {}))
        and all(_stays_inside(raw.get(name, "")) for name in _PATHS)
    )


def _is_error(raw: object) -> bool:
    return (
        isinstance(raw, dict)
        and raw.keys() <= _ERROR
        and all(isinstance(text, str) for text in raw.values())
    )


def _stays_inside(name: str) -> bool:
    """Whether a name is relative and does not climb; links are for those to see who use it."""
    path = Path(name)
    return not path.anchor and ".." not in path.parts and "\0" not in name


def _folder(output: Path) -> Path:
    """Where journals lie. Raises OutputRefused when that is a link, which may lead outside."""
    _refuse_link(output / FOLDER)
    return output / FOLDER


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise OutputRefused(
            f"{str(path)!r} is a symbolic link, and a journal stays inside its output folder.",
            "Remove the link, or choose another folder with -o.",
        )


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
