"""The unit of work: one output of one photo."""

from dataclasses import dataclass
from pathlib import Path

from addsr_cli import files
from addsr_cli.batch.journal import Key
from addsr_cli.engine.job import Job
from addsr_cli.errors import AddsrError, UnreadableInput


@dataclass(frozen=True, kw_only=True)
class FileStat:
    """Size in bytes and modification time: a file is taken as unchanged while both are the same."""

    size: int
    mtime_ns: int


MISSING = FileStat(size=-1, mtime_ns=-1)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One output to produce.

    ``name`` is the input relative to the root, ``output`` relative to the output folder; ``stat``
    is that of the input when its header was read.
    """

    job: Job
    name: str
    sample: int
    output: str
    stat: FileStat

    @property
    def key(self) -> Key:
        """The key of its journal entry."""
        return self.name, self.sample


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """An input that fails before any work, and why."""

    name: str
    error: AddsrError
    stat: FileStat
    sample: int = 0
    output: str = ""

    @classmethod
    def from_task(cls, task: Task, error: AddsrError) -> "Rejected":
        """Return the rejection of a task."""
        return cls(
            name=task.name,
            error=error,
            stat=task.stat,
            sample=task.sample,
            output=task.output,
        )

    @property
    def key(self) -> Key:
        """The key of its journal entry."""
        return self.name, self.sample


def file_stat(path: Path) -> FileStat:
    """Return size and modification time of a file, or ``MISSING`` if it cannot be accessed."""
    try:
        status = path.stat()
    except OSError:
        return MISSING
    return FileStat(size=status.st_size, mtime_ns=status.st_mtime_ns)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of an input, hexadecimal. Raises UnreadableInput."""
    try:
        return files.sha256_of(path)
    except OSError as exc:
        raise UnreadableInput(
            f"{str(path)!r} cannot be read: {exc.strerror}.", "Check the path and the disk."
        ) from exc
