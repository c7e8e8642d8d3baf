"""Writes TIFF 6.0: 8 or 16 bits, deflated strips, and EXIF whose offsets stay valid.

Libraries rewrite EXIF and so break the absolute offsets in maker notes. An EXIF blob is itself a
TIFF file without pixels. So the file starts with the unchanged blob, the pixels follow, and a new
first directory repeats the blob's entries, whose offsets still point into it.
"""

import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio.exif import Blob
from addsr_cli.imageio.iptc import extract_iim
from addsr_cli.imageio.parallel import ordered_map

_EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"  # a header and one directory without entries
_SHORT, _LONG, _RATIONAL, _BYTE, _UNDEFINED = 3, 4, 5, 1, 7
_CODES = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _BYTE: "B", _UNDEFINED: "B"}
_DEFLATE, _HORIZONTAL_PREDICTOR, _STRAIGHT_ALPHA, _INCH = 8, 2, 2, 2
# Tags of the EXIF blob's directory that are not copied: they describe other pixels (254 to 514), or
# are written anew (700 XMP, 34675 ICC).
_NOT_COPIED = {*range(254, 270), *range(322, 326)}
_NOT_COPIED |= {273, 274, 277, 278, 279, 284, 317, 320, 330, 338, 339, 513, 514, 700, 34675}
_PAGE = 2  # of NEW_SUBFILE_TYPE: one of several pages
_STRIP_BYTES = 1 << 20
_LEVEL = 4  # of zlib: a quarter of the time of level 6, for 5 % larger files

Samples = NDArray[np.uint8] | NDArray[np.uint16]


class Tag(IntEnum):
    """Numbers of the TIFF tags that are written."""

    NEW_SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    EXTRA_SAMPLES = 338
    XMP = 700
    IPTC = 33723
    PHOTOSHOP = 34377
    ICC_PROFILE = 34675


class _Writer:
    """The parts of the file so far, and the entries for its directory."""

    def __init__(self, exif: bytes | None) -> None:
        blob = Blob(exif or _EMPTY)
        self.endian = blob.endian
        self.parts = [bytes(blob.data)]
        self.position = len(blob.data)
        self.entries = {
            tag: bytes(blob.data[at : at + 12])
            for tag, at in blob.main.entries.items()
            if tag not in _NOT_COPIED
        }
        self.pointer = (0, 4)  # where the offset of the next directory belongs: part, byte

    def append(self, data: bytes) -> int:
        """Add bytes at an even offset and return it. Raises OutputRefused at 4 GB."""
        pad = self.position % 2
        start = self.position + pad
        self.parts += [b"\0" * pad, data]
        self.position = start + len(data)
        if self.position > 2**32 - 2**20:
            raise OutputRefused(
                "The picture does not fit into TIFF, whose files end at 4 GB.", "Use --format png."
            )
        return start

    def tag(
        self,
        number: int,
        kind: int,
        *values: int,
    ) -> None:
        """Set an entry from integers; a RATIONAL takes two of them per value."""
        count = len(values) // 2 if kind == _RATIONAL else len(values)
        self.raw_tag(
            number,
            kind,
            count,
            self.pack(_CODES[kind], *values),
        )

    def raw_tag(
        self,
        number: int,
        kind: int,
        count: int,
        payload: bytes,
    ) -> None:
        """Set an entry from its bytes, which are stored in the entry itself when four suffice."""
        if len(payload) <= 4:
            value = payload.ljust(4, b"\0")
        else:
            value = self.pack("I", self.append(payload))
        self.entries[number] = self.pack("H", number, kind) + self.pack("I", count) + value

    def pack(self, code: str, *values: int) -> bytes:
        return struct.pack(f"{self.endian}{len(values)}{code}", *values)

    def end_page(self) -> None:
        """Write the directory of a page, and point the header or the page before at it."""
        body = b"".join(self.entries[tag] for tag in sorted(self.entries))
        directory = self.pack("H", len(self.entries)) + body + self.pack("I", 0)
        start = self.append(directory)
        part, offset = self.pointer
        changed = bytearray(self.parts[part])
        struct.pack_into(self.endian + "I", changed, offset, start)
        self.parts[part] = bytes(changed)
        self.pointer = (len(self.parts) - 1, len(directory) - 4)
        self.entries = {}


def encode(
    pages: Sequence[Samples],
    *,
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    iptc: bytes | None = None,
    dpi: tuple[float, float] | None,
) -> list[bytes]:
    """Return the parts of a TIFF file of pages, each (H, W) or (H, W, 1..4) integers.

    ``exif``, which must be valid, ``xmp`` and ``iptc`` belong to the first page. Raises
    OutputRefused when the file would be larger than 4 GB.
    """
    writer = _Writer(exif)
    for number, samples in enumerate(pages):
        if len(pages) > 1:
            writer.tag(Tag.NEW_SUBFILE_TYPE, _LONG, _PAGE)
        _write_layout(writer, samples, dpi)
        if number == 0:
            _write_metadata(writer, xmp, iptc)
        if icc:
            writer.raw_tag(Tag.ICC_PROFILE, _UNDEFINED, len(icc), icc)
        channels = samples.shape[2] if samples.ndim == 3 else 1
        _write_strips(writer, samples.reshape(*samples.shape[:2], channels))
        writer.end_page()
    return writer.parts


def _write_metadata(
    writer: _Writer,
    xmp: bytes | None,
    iptc: bytes | None,
) -> None:
    if xmp:
        writer.raw_tag(Tag.XMP, _BYTE, len(xmp), xmp)
    if iptc:
        writer.raw_tag(Tag.PHOTOSHOP, _BYTE, len(iptc), iptc)
        iim = extract_iim(iptc)
        if iim:
            writer.raw_tag(Tag.IPTC, _UNDEFINED, len(iim), iim)


def _write_layout(
    writer: _Writer,
    samples: Samples,
    dpi: tuple[float, float] | None,
) -> None:
    """Set the entries that describe the pixels of a page."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    writer.tag(Tag.WIDTH, _LONG, samples.shape[1])
    writer.tag(Tag.HEIGHT, _LONG, samples.shape[0])
    writer.tag(Tag.BITS_PER_SAMPLE, _SHORT, *[samples.dtype.itemsize * 8] * channels)
    writer.tag(Tag.COMPRESSION, _SHORT, _DEFLATE)
    writer.tag(Tag.PHOTOMETRIC, _SHORT, 1 if channels <= 2 else 2)
    writer.tag(Tag.SAMPLES_PER_PIXEL, _SHORT, channels)
    writer.tag(Tag.PLANAR_CONFIGURATION, _SHORT, 1)
    writer.tag(Tag.PREDICTOR, _SHORT, _HORIZONTAL_PREDICTOR)
    if channels in (2, 4):
        writer.tag(Tag.EXTRA_SAMPLES, _SHORT, _STRAIGHT_ALPHA)
    if dpi:
        for tag, value in zip(
            (Tag.X_RESOLUTION, Tag.Y_RESOLUTION),
            dpi,
            strict=True,
        ):
            ratio = Fraction(value).limit_denominator(1000)
            writer.tag(
                tag,
                _RATIONAL,
                ratio.numerator,
                ratio.denominator,
            )
        writer.tag(Tag.RESOLUTION_UNIT, _SHORT, _INCH)


def _write_strips(writer: _Writer, samples: Samples) -> None:
    height, width, channels = samples.shape
    rows = max(1, _STRIP_BYTES // (width * channels * samples.dtype.itemsize))
    offsets = []
    sizes = []
    compress = partial(_strip, samples, rows, writer.endian)
    for compressed in ordered_map(compress, range(0, height, rows)):
        offsets.append(writer.append(compressed))
        sizes.append(len(compressed))
    writer.tag(Tag.STRIP_OFFSETS, _LONG, *offsets)
    writer.tag(Tag.ROWS_PER_STRIP, _LONG, rows)
    writer.tag(Tag.STRIP_BYTE_COUNTS, _LONG, *sizes)


def _strip(
    samples: Samples,
    rows: int,
    endian: str,
    start: int,
) -> bytes:
    """Return the deflated residuals of a strip, from a horizontal predictor."""
    strip = samples[start : start + rows].copy()
    strip[:, 1:] -= samples[start : start + rows, :-1]
    ordered = strip.astype(f"{endian}u{strip.itemsize}", copy=False)
    return zlib.compress(ordered.data, _LEVEL)
