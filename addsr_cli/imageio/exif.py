"""EXIF edited in place, byte by byte: maker notes hold absolute offsets and must not move.

An EXIF blob is a small TIFF file: byte order, then directories of 12-byte entries (tag, type,
count, value or offset). See CIPA DC-008 (Exif 2.32), section 4.6. Malformed blobs raise ValueError
or struct.error: see `BROKEN`.
"""

import struct
from dataclasses import dataclass

BROKEN = (ValueError, struct.error)

_PREFIX = b"Exif\0\0"
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_RESOLUTIONS, _RESOLUTION_UNIT, _INCH = (0x011A, 0x011B), 0x0128, 2
_WIDTHS = {0x0100, 0xA002}
_HEIGHTS = {0x0101, 0xA003}


@dataclass(frozen=True, kw_only=True)
class Directory:
    """Byte positions in an image file directory: of entries by tag, and of the next pointer."""

    entries: dict[int, int]
    next_pointer: int


class Blob:
    """A mutable EXIF structure with the edits that a changed picture needs."""

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(strip_prefix(exif))
        if not self.data.startswith((b"II*\0", b"MM\0*")):
            raise ValueError("no TIFF header")
        self.endian = "<" if self.data[:1] == b"I" else ">"
        self.main = self.directory(self.unpack("I", 4))

    def unpack(self, code: str, offset: int) -> int:
        """Return the unsigned integer (``H`` or ``I``) at a byte offset."""
        return int(struct.unpack_from(self.endian + code, self.data, offset)[0])

    def pack(
        self,
        code: str,
        offset: int,
        *values: int,
    ) -> None:
        """Overwrite bytes at an offset."""
        struct.pack_into(
            self.endian + code,
            self.data,
            offset,
            *values,
        )

    def directory(self, offset: int) -> Directory:
        """Return the directory at a byte offset. Raises one of `BROKEN`."""
        if offset < 8:
            raise ValueError(f"directory at impossible offset {offset}")
        first = offset + 2
        end = first + 12 * self.unpack("H", offset)
        self.unpack("I", end)
        tags = struct.iter_unpack(f"{self.endian}H10x", self.data[first:end])
        entries = {tag: first + 12 * number for number, (tag,) in enumerate(tags)}
        return Directory(entries=entries, next_pointer=end)

    def value(self, directory: Directory, tag: int) -> int | None:
        """Return a single SHORT or LONG value; None when the tag is missing or of another type."""
        position = directory.entries.get(tag)
        if position is None or self.unpack("I", position + 4) != 1:
            return None
        code = {_SHORT: "H", _LONG: "I"}.get(self.unpack("H", position + 2))
        return self.unpack(code, position + 8) if code else None

    def replace(
        self,
        directory: Directory,
        tag: int,
        value: int,
    ) -> None:
        """Set a single SHORT or LONG value where the tag exists; SHORT becomes LONG if needed."""
        if self.value(directory, tag) is None:
            return
        position = directory.entries[tag]
        if self.unpack("H", position + 2) == _SHORT and value <= 0xFFFF:
            self.pack("HH", position + 8, value, 0)
        else:
            self.pack("H", position + 2, _LONG)
            self.pack("I", position + 8, value)

    def drop_thumbnail(self) -> None:
        """Unlink the second directory (the thumbnail's) and overwrite its JPEG with zeros.

        A JPEG at the end of the blob is cut off.
        """
        second = self.unpack("I", self.main.next_pointer)
        self.pack("I", self.main.next_pointer, 0)
        if not 8 <= second < len(self.data) - 6:
            return
        try:
            thumbnail = self.directory(second)
        except BROKEN:
            return
        start = self.value(thumbnail, _THUMBNAIL_OFFSET) or 0
        length = self.value(thumbnail, _THUMBNAIL_LENGTH) or 0
        if start <= second or start + length > len(self.data):
            return
        self.data[start : start + length] = bytes(length)
        if start + length >= len(self.data) - 1:
            del self.data[start:]


def strip_prefix(exif: bytes) -> bytes:
    """Return the TIFF structure without the ``Exif`` prefix."""
    return exif.removeprefix(_PREFIX)


def orientation(exif: bytes) -> int | None:
    """Return the orientation tag, 1..8, or None when it is missing or invalid.

    Raises one of `BROKEN`.
    """
    blob = Blob(exif)
    value = blob.value(blob.main, _ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else None


def upright(exif: bytes) -> bytes:
    """Return EXIF with orientation 1 and without thumbnail. Raises one of `BROKEN`."""
    blob = Blob(exif)
    blob.replace(blob.main, _ORIENTATION, 1)
    blob.drop_thumbnail()
    return bytes(blob.data)


def resized(
    exif: bytes,
    width: int,
    height: int,
) -> bytes:
    """Return EXIF with existing width and height tags set (pixels). Raises one of `BROKEN`."""
    blob = Blob(exif)
    directories = [blob.main]
    sub = blob.value(blob.main, _EXIF_IFD)
    if sub is not None:
        directories.append(blob.directory(sub))
    for directory in directories:
        for tag in directory.entries.keys() & _WIDTHS:
            blob.replace(directory, tag, width)
        for tag in directory.entries.keys() & _HEIGHTS:
            blob.replace(directory, tag, height)
    return bytes(blob.data)


def with_resolution(exif: bytes, dpi: int) -> bytes:
    """Return EXIF with existing resolution tags set, in dots per inch. Raises one of `BROKEN`."""
    blob = Blob(exif)
    for tag in blob.main.entries.keys() & set(_RESOLUTIONS):
        position = blob.main.entries[tag]
        if blob.unpack("H", position + 2) == _RATIONAL and blob.unpack("I", position + 4) == 1:
            blob.pack("II", blob.unpack("I", position + 8), dpi, 1)
    blob.replace(blob.main, _RESOLUTION_UNIT, _INCH)
    return bytes(blob.data)
