"""How far a download or a check is, since several gigabytes take a while."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from addsr_cli.files import sha256_of

Phase = Literal["fetching", "checking"]


@dataclass(frozen=True, kw_only=True)
class TransferProgress:
    """State of one file that is being downloaded or hashed, in bytes.

    ``size`` is None where the source does not declare it. ``total_done`` and ``total_size`` count
    all files of a component while fetching, and this file alone while checking.
    """

    file: str
    phase: Phase = "fetching"
    done: int
    size: int | None
    total_done: int
    total_size: int


ProgressCallback = Callable[[TransferProgress], None]


def sha256_with_progress(
    path: Path,
    name: str,
    on_progress: ProgressCallback | None,
) -> str:
    """Return the SHA-256 of a file, reporting progress under ``name``. Raises OSError."""
    if on_progress is None:
        return sha256_of(path)
    size = path.stat().st_size

    def report(done: int) -> None:
        on_progress(
            TransferProgress(
                file=name,
                phase="checking",
                done=done,
                size=size,
                total_done=done,
                total_size=size,
            )
        )

    return sha256_of(path, report)
