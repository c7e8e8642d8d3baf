"""The record of a batch: one line of JSON for every output that was begun, finished or failed.

Each line is flushed to the disk before the batch goes on, so that a run may be killed at any time.
Every process has a journal of its own in the output folder (``OUT/.addsr/journal*.jsonl``); reading
merges them, and the latest entry of an output counts. Within a journal the order of the lines
decides what is latest, between journals the number of the run, never a clock.

A journal is untrusted input: lines without the types and relative paths that `Journal.write`
produces are counted and ignored.
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
MAX_LINE = 1 << 20  # characters; names and messages are far shorter
OMITTED: tuple[object, ...] = ("", -1, {})  # default values that are not written

State = Literal["writing", "ok", "failed"]
Key = tuple[str, int]

_PATH_FIELDS = ("input", "output")
_TEXT_FIELDS = (*_PATH_FIELDS, "root", "settings", "sha256", "output_sha256")
_INTEGER_FIELDS = ("sample", "size", "mtime_ns", "output_size", "run")
_NUMBER_FIELDS = ("seconds", "at")
_ERROR_FIELDS = {"code", "message", "hint"}


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """The state of one output.

    ``input`` and ``output`` are relative to their folders, with ``/``; ``root`` is the absolute
    folder of the inputs. ``size`` (bytes), ``mtime_ns`` and ``sha256`` are the input's,
    ``settings`` is the digest of the `BatchConfig`. ``error`` has code, message
    and hint. ``at`` is in seconds since 1970, for people to read; ``run`` counts the runs that
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
    def parse(cls, line: str) -> Self | None:
        """Return the entry of a line; None if the line is incomplete or not written by addsr."""
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(values, dict) or not _is_valid(values):
            return None
        known = {entry_field.name for entry_field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, kw_only=True)
class JournalContents:
    """The merged journals of a folder.

    ``entries`` are the latest of each output, ``unknown_lines`` counts the ignored lines, ``runs``
    the runs so far.
    """

    entries: dict[Key, JournalEntry]
    unknown_lines: int
    runs: int


class Journal:
    """The journal that this process writes. Raises OutputRefused if another process writes it."""

    def __init__(self, output: Path, shard: Shard = WHOLE) -> None:
        name = "journal" if shard == WHOLE else f"journal-{shard.number}of{shard.count}"
        self.path = _folder(output) / f"{name}.jsonl"
        lock = self.path.with_suffix(".lock")
        _refuse_link(self.path)
        _refuse_link(lock)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(lock, timeout=0)
            self._lock.acquire()
            self._run = read(output).runs + 1
            self._file: IO[bytes] = self.path.open("ab")
            if self.path.stat().st_size and not _ends_with_newline(self.path):
                self._file.write(b"\n")  # an incomplete line must not spoil the next one
        except Timeout as exc:
            raise OutputRefused(
                f"Another addsr batch is writing into {str(output)!r}.",
                "Wait until it is done, or split the work with --shard.",
            ) from exc
        except OSError as exc:
            raise imageio.write_error(self.path, exc) from exc

    def write(self, entry: JournalEntry) -> None:
        """Write an entry to the disk. Raises NoSpace, OutputVanished and OutputRefused."""
        values = asdict(replace(entry, run=self._run))
        written = {name: value for name, value in values.items() if value not in OMITTED}
        try:
            self._file.write(json.dumps(written).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise imageio.write_error(self.path, exc) from exc
        self.check()

    def check(self) -> None:
        """Raise OutputVanished if the journal, and so the output folder, was moved or deleted."""
        try:
            in_place = os.path.samestat(self.path.lstat(), os.fstat(self._file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            in_place = False
        if not in_place:
            folder = str(self.path.parents[1])
            raise OutputVanished(
                f"The output folder {folder!r} was deleted or moved during the run.",
                "Run the same command again to create the missing outputs.",
            )

    def close(self) -> None:
        """Close the file and release the lock."""
        try:
            self._file.close()
        except OSError:  # data that a full disk left in the buffer; `write` has raised NoSpace
            pass
        finally:
            self._lock.release()


def read(output: Path) -> JournalContents:
    """Read and merge all journals of a folder. Raises OutputRefused if one is no regular file."""
    latest: dict[Key, JournalEntry] = {}
    unknown_lines = 0
    for path in sorted(_folder(output).glob("journal*.jsonl")):
        entries, unknown = _read_one(path)
        unknown_lines += unknown
        for key, entry in entries.items():
            if key not in latest or _order(entry) >= _order(latest[key]):
                latest[key] = entry
    runs = max((entry.run for entry in latest.values()), default=0)
    return JournalContents(
        entries=latest,
        unknown_lines=unknown_lines,
        runs=runs,
    )


def _order(entry: JournalEntry) -> tuple[int, bool]:
    """Sort key of entries of different journals: the later run, then the one with an output."""
    return entry.run, entry.state == "ok"


def _read_one(path: Path) -> tuple[dict[Key, JournalEntry], int]:
    """Return the latest entry of each output in one journal, and the number of ignored lines."""
    _refuse_link(path)
    if not path.is_file():
        raise OutputRefused(
            f"{str(path)!r} is not a regular file, so no journal can be written there.",
            "Move it away, or choose another folder with -o.",
        )
    entries: dict[Key, JournalEntry] = {}
    unknown = 0
    run = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in iter(partial(file.readline, MAX_LINE), ""):
                entry = JournalEntry.parse(line)
                if entry is not None:
                    run = max(run, entry.run)  # lines are in order, so a later one is as recent
                    entries[entry.key] = replace(entry, run=run)
                elif line.strip():
                    unknown += 1
    except OSError as exc:
        raise OutputRefused(
            f"The journal {str(path)!r} cannot be read: {exc.strerror}.",
            "Check its permissions and the disk.",
        ) from exc
    return entries, unknown


def _is_valid(values: Mapping[str, Any]) -> bool:
    """Whether values have the types of a `JournalEntry`, and its paths stay in their folders."""
    return (
        values.get("state") in get_args(State)
        and "input" in values
        and all(isinstance(values.get(name, ""), str) for name in _TEXT_FIELDS)
        and all(type(values.get(name, 0)) is int for name in _INTEGER_FIELDS)
        and all(type(values.get(name, 0)) in (int, float) for name in _NUMBER_FIELDS)
        and _is_error(values.get("error", {}))
        and all(_is_relative(values.get(name, "")) for name in _PATH_FIELDS)
    )


def _is_error(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _ERROR_FIELDS
        and all(isinstance(text, str) for text in value.values())
    )


def _is_relative(name: str) -> bool:
    """Whether a path is relative and has no ``..``; whoever opens it must check for links."""
    path = Path(name)
    return not path.anchor and ".." not in path.parts and "\0" not in name


def _folder(output: Path) -> Path:
    """Return the folder of the journals. Raises OutputRefused if it is a link."""
    folder = output / FOLDER
    _refuse_link(folder)
    return folder


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise OutputRefused(
            f"{str(path)!r} is a symbolic link, and the journal must be inside the output folder.",
            "Remove the link, or choose another folder with -o.",
        )


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
