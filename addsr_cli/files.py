"""Hashes of files, and how far fetching and checking them is, since several gigabytes take a while."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import Literal

CHUNK = 1 << 20
Stage = Literal["fetching", "checking"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How far a file is fetched or checked, in bytes; ``size`` is None where no one told it.

    ``all_done`` and ``all_size`` count what is fetched of all files of a component, or checked of
    this one.
    """

    file: str
    stage: Stage = "fetching"
    done: int
    size: int | None
    all_done: int
    all_size: int


Report = Callable[[Transfer], None]


def digest_of(path: Path, tell: Callable[[int], None] | None = None) -> str:
    """sha256 of a file, hexadecimal; ``tell`` is given the bytes read so far. Raises OSError."""
    found, done = sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            found.update(piece)
            done += len(piece)
            if tell:
                tell(done)
    return found.hexdigest()


def told_digest(path: Path, name: str, report: Report | None) -> str:
    """sha256 of a file that is only checked; ``report`` hears of it as ``name``. Raises OSError."""
    if report is None:
        return digest_of(path)
    size = path.stat().st_size

    def tell(done: int) -> None:
        report(
            Transfer(
                file=name,
                stage="checking",
                done=done,
                size=size,
                all_done=done,
                all_size=size,
            )
        )

    return digest_of(path, tell)


def git_blob_of(path: Path) -> str:
    """Git's hash of a file as a blob, hexadecimal. Raises OSError."""
    data = path.read_bytes()  # what is not in LFS is small
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
