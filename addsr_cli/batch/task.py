"""What a batch is asked for, and its smallest unit: one output of one photo."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from addsr_cli.batch.journal import Key
from addsr_cli.engine.job import Job, Naming, picture_out_of_memory
from addsr_cli.errors import AddsrError, UnreadableInput
from addsr_cli.files import sha256_of
from addsr_cli.imageio import WriteOptions
from addsr_cli.settings import Settings

# What libraries raise over odd files.
UNEXPECTED_ERRORS = (
    ArithmeticError,
    AssertionError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class UnexpectedError(AddsrError):
    """Something that no part of this program expected of a file."""

    code = "unexpected"


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """What is asked of every photo of the tree; ``model_sha256`` and ``naming`` tell which model runs."""

    root: Path
    output: Path
    settings: Settings
    options: WriteOptions
    naming: Naming
    model_sha256: str
    retry_failed: bool = False

    @property
    def choices(self) -> dict[str, object]:
        """All that decides what the outputs look like, and nothing about the machine, as plain data."""
        options = asdict(self.options)
        del options["overwrite"]
        return (
            asdict(self.settings)
            | options
            | asdict(self.naming)
            | {"model_sha256": self.model_sha256}
        )

    @property
    def digest(self) -> str:
        """One short number for ``choices``."""
        return hashlib.sha256(json.dumps(self.choices, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """The folder of the inputs, absolute."""
        return str(self.root.resolve())


@dataclass(frozen=True, kw_only=True)
class FileStat:
    """By what a file is known to be unchanged without reading it: bytes and time of change."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """One output to make. ``name`` is the input relative to the root, ``output`` that of the output folder."""

    job: Job
    name: str
    sample: int
    output: str
    stamp: FileStat

    @property
    def key(self) -> Key:
        """What the journal knows it by."""
        return self.name, self.sample


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """An input that cannot become a task, or a task that cannot be run, and why."""

    name: str
    error: AddsrError
    stamp: FileStat
    sample: int = 0
    output: str = ""

    @property
    def key(self) -> Key:
        """What the journal knows it by."""
        return self.name, self.sample


def rejected(task: Task, error: AddsrError) -> Rejected:
    """A task that came to nothing before it was run."""
    return Rejected(
        name=task.name,
        error=error,
        stamp=task.stamp,
        sample=task.sample,
        output=task.output,
    )


def inside(folder: Path, name: str) -> bool:
    """Whether ``name``, relative to ``folder``, lies below it once links are followed."""
    return Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))


def failure(exc: BaseException) -> AddsrError:
    """What stopped one file, as a failure that can be journaled and told."""
    if isinstance(exc, AddsrError):
        return exc
    if isinstance(exc, MemoryError):
        return picture_out_of_memory(exc)
    text = " ".join(str(exc).split())[:300]
    error = UnexpectedError(f"unexpected {type(exc).__name__}: {text}.", "Report it.")
    error.__cause__ = exc
    return error


def file_stat(path: Path) -> FileStat:
    """Size and time of a file; -1 when it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return FileStat(size=-1, mtime_ns=-1)
    return FileStat(size=status.st_size, mtime_ns=status.st_mtime_ns)


def digest_of(path: Path) -> str:
    """sha256 of a file, hexadecimal. Raises UnreadableInput."""
    try:
        return sha256_of(path)
    except OSError as exc:
        raise UnreadableInput(
            f"{str(path)!r} cannot be read: {exc.strerror}.", "Check the path and the disk."
        ) from exc
