"""Many files as one ZIP archive that is sent while it is written, without a copy on disk."""

import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of an archive and its name there."""

    path: Path
    name: str


class _Pipe(io.RawIOBase):
    """A stream that can only be written; what was written is taken out in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces = b"".join(self._pieces)
        self._pieces.clear()
        return pieces


def zip_chunks(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the bytes of an archive of the files, uncompressed: pictures are so already.

    Files that have disappeared meanwhile are left out.
    """
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for member in members:
            try:
                file = member.path.open("rb")
            except FileNotFoundError:
                continue
            with file:
                info = ZipInfo(member.name, time.localtime()[:6])
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as entry:
                    while chunk := file.read(_CHUNK):
                        entry.write(chunk)
                        yield pipe.take()
            yield pipe.take()
    yield pipe.take()
