"""TIFF 6.0 written by hand: 8 or 16 bits, deflated strips, and EXIF that keeps every one of its offsets.

An EXIF blob is itself a TIFF file without pixels. So the file starts with that blob as it is,
pixels follow, and a new first directory takes over the blob's entries, whose offsets (maker notes
too) are still right.
"""

import struct
import zlib
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio.exif import Blob
from addsr_cli.imageio.iptc import extract_iim

_EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"  # a header and one directory without entries
_SHORT, _LONG, _RATIONAL, _BYTE, _UNDEFINED = 3, 4, 5, 1, 7
_CODES = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _BYTE: "B", _UNDEFINED: "B"}
_DEFLATE, _HORIZONTAL_PREDICTOR, _STRAIGHT_ALPHA, _INCH = 8, 2, 2, 2
# Tags of the old directory that describe pixels which are not there: never taken over.
_LAYOUT = {
    *range(254, 270),
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    320,
    *range(322, 326),
    330,
    338,
    339,
    513,
    514,
    700,
    34675,
}
_STRIP_BYTES = 1 << 20


class _Writer:
    """The growing file and the directory entries collected for it."""

    def __init__(self, exif: bytes | None) -> None:
        blob = Blob(exif or _EMPTY)
        self.endian = blob.endian
        self.parts = [bytes(blob.data)]
        self.position = len(blob.data)
        self.entries = {
            tag: bytes(blob.data[at : at + 12])
            for tag, at in blob.main.entries.items()
            if tag not in _LAYOUT
        }

    def append(self, data: bytes) -> int:
        """Add bytes at an even offset; returns it. Raises OutputRefused at 4 GB."""
        pad = self.position % 2
        start = self.position + pad
        self.parts += [b"\0" * pad, data]
        self.position = start + len(data)
        if self.position > 2**32 - 2**20:
            raise OutputRefused(
                "The picture does not fit into TIFF, which ends at 4 GB.", "Use --format png."
            )
        return start

    def tag(self, number: int, kind: int, *values: int) -> None:
        """Set an entry from integers; a RATIONAL takes two of them per value."""
        self.raw_tag(
            number,
            kind,
            len(values) // (2 if kind == _RATIONAL else 1),
            self.pack(_CODES[kind], *values),
        )

    def raw_tag(
        self,
        number: int,
        kind: int,
        count: int,
        payload: bytes,
    ) -> None:
        """Set an entry from its bytes, in place when four hold them."""
        where = (
            payload.ljust(4, b"\0") if len(payload) <= 4 else self.pack("I", self.append(payload))
        )
        self.entries[number] = self.pack("H", number, kind) + self.pack("I", count) + where

    def pack(self, code: str, *values: int) -> bytes:
        return struct.pack(f"{self.endian}{len(values)}{code}", *values)

    def finish(self) -> bytes:
        """Write the directory, point the header at it, and return the whole file."""
        body = b"".join(self.entries[tag] for tag in sorted(self.entries))
        directory = self.pack("H", len(self.entries)) + body + self.pack("I", 0)
        start = self.append(directory)
        first = bytearray(self.parts[0])
        struct.pack_into(self.endian + "I", first, 4, start)
        return b"".join([bytes(first), *self.parts[1:]])


def encode(
    samples: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    iptc: bytes | None = None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """(H, W) or (H, W, 1..4) integers -> a TIFF file. ``exif`` must be a sound TIFF structure.

    Raises OutputRefused when it would pass 4 GB.
    """
    writer = _Writer(exif)
    channels = samples.shape[2] if samples.ndim == 3 else 1
    writer.tag(256, _LONG, samples.shape[1])
    writer.tag(257, _LONG, samples.shape[0])
    writer.tag(258, _SHORT, *[samples.dtype.itemsize * 8] * channels)
    writer.tag(259, _SHORT, _DEFLATE)
    writer.tag(262, _SHORT, 1 if channels <= 2 else 2)
    writer.tag(277, _SHORT, channels)
    writer.tag(284, _SHORT, 1)
    writer.tag(317, _SHORT, _HORIZONTAL_PREDICTOR)
    if channels in (2, 4):
        writer.tag(338, _SHORT, _STRAIGHT_ALPHA)
    if dpi:
        for tag, value in zip((282, 283), dpi, strict=True):
            ratio = Fraction(value).limit_denominator(1000)
            writer.tag(tag, _RATIONAL, ratio.numerator, ratio.denominator)
        writer.tag(296, _SHORT, _INCH)
    if xmp:
        writer.raw_tag(700, _BYTE, len(xmp), xmp)
    if iptc:
        writer.raw_tag(34377, _BYTE, len(iptc), iptc)
        if plain := extract_iim(iptc):
            writer.raw_tag(33723, _UNDEFINED, len(plain), plain)
    if icc:
        writer.raw_tag(34675, _UNDEFINED, len(icc), icc)
    _strips(writer, samples.reshape(*samples.shape[:2], channels))
    return writer.finish()


def _strips(writer: _Writer, samples: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    height, width, channels = samples.shape
    rows = max(1, _STRIP_BYTES // (width * channels * samples.dtype.itemsize))
    offsets, sizes = [], []
    for start in range(0, height, rows):
        strip = samples[start : start + rows].copy()
        strip[:, 1:] -= samples[start : start + rows, :-1]
        packed = zlib.compress(strip.astype(f"{writer.endian}u{strip.itemsize}").tobytes(), 6)
        offsets.append(writer.append(packed))
        sizes.append(len(packed))
    writer.tag(273, _LONG, *offsets)
    writer.tag(278, _LONG, rows)
    writer.tag(279, _LONG, *sizes)
