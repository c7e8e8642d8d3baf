"""The memory of a batch: one line of JSON for every file that was begun, done or given up.

Lines are appended and brought to the disk one by one, so that a run may end at any moment. Every process has a journal
of its own beside the output (``OUT/.addsr/journal*.jsonl``); reading merges them all, the latest word on a file wins.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal, Self

from filelock import FileLock, Timeout

from addsr_cli import imageio
from addsr_cli.batch.shards import WHOLE, Shard
from addsr_cli.errors import OutputRefused

FOLDER = ".addsr"
State = Literal["writing", "ok", "failed"]
Key = tuple[str, int]
UNSAID: tuple[object, ...] = ("", -1, {})  # defaults, left out


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The last word on one output: of which input, made with which settings, what came of it.

    ``input`` and ``output`` are relative to their folders, with ``/``; ``root`` is the folder of the inputs. ``size``
    (bytes), ``mtime_ns`` and ``sha256`` are the input's; ``part`` is what the output is called until it is whole;
    ``error`` holds code, message and hint; ``at`` is seconds since 1970.
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
    part: str = ""
    output_size: int = -1
    output_sha256: str = ""
    seconds: float = 0.0
    error: dict[str, str] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    @property
    def key(self) -> Key:
        """What identifies the output: the input and the number of the sample."""
        return self.input, self.sample

    @classmethod
    def parsed(cls, line: str) -> Self | None:
        """An entry from its line; None for a torn line and for one that a later version wrote otherwise."""
        try:
            raw: dict[str, Any] = json.loads(line)
            known = {each.name for each in fields(cls)}
            entry = cls(**{key: value for key, value in raw.items() if key in known})
        except (ValueError, TypeError, AttributeError):
            return None
        return entry


class Journal:
    """The journal that this process writes. Raises OutputRefused when another process holds it."""

    def __init__(self, output: Path, shard: Shard = WHOLE) -> None:
        name = "journal" if shard == WHOLE else f"journal-{shard.number}of{shard.count}"
        self.path = output / FOLDER / f"{name}.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path.with_suffix(".lock"), timeout=0)
            self._lock.acquire()
            self._file: IO[bytes] = self.path.open("ab")
            if self.path.stat().st_size and not _ends_whole(self.path):
                self._file.write(b"\n")  # a line was torn; the next one shall not hang on to it
        except Timeout as exc:
            raise OutputRefused(
                f"Another addsr batch is writing into {str(output)!r}.", "Wait for it, or give each its own --shard."
            ) from exc
        except OSError as exc:
            raise imageio.refusal(self.path, exc) from exc

    def write(self, entry: Entry) -> None:
        """Put an entry on the disk. Raises NoSpace and OutputRefused."""
        try:
            said = {key: value for key, value in asdict(entry).items() if value not in UNSAID}
            self._file.write(json.dumps(said).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise imageio.refusal(self.path, exc) from exc

    def close(self) -> None:
        """Let go of the file and the lock."""
        try:
            self._file.close()
        except OSError:  # what a full disk left in the buffer; `write` has told of it
            pass
        finally:
            self._lock.release()


def read(output: Path) -> dict[Key, Entry]:
    """The latest entry of every output, from all journals there."""
    latest: dict[Key, Entry] = {}
    for entry in _entries(output):
        if entry.key not in latest or entry.at >= latest[entry.key].at:
            latest[entry.key] = entry
    return latest


def _entries(output: Path) -> Iterator[Entry]:
    for path in sorted((output / FOLDER).glob("journal*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if entry := Entry.parsed(line):
                    yield entry


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"
