"""PNG beyond what Pillow writes: metadata chunks, and 16 bits per channel (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels
_SUB, _UP, _PAETH = 1, 2, 4  # filter types
_HEADER_END = len(SIGNATURE) + 25  # IHDR is always first and always 25 bytes
_BAND_BYTES = 1 << 22
_INCHES_PER_METRE = 39.3701


def chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk: length, type, data, CRC of type and data."""
    crc = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def insert_chunks(png: bytes, chunks: list[bytes]) -> bytes:
    """Insert chunks directly after the header, where all chunks of this module are allowed."""
    return b"".join([png[:_HEADER_END], *chunks, png[_HEADER_END:]])


def icc_chunk(profile: bytes) -> bytes:
    """Return the compressed colour profile (iCCP)."""
    return chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))


def text_chunk(keyword: str, text: str) -> bytes:
    """Return uncompressed UTF-8 text (iTXt).

    The keyword is cut to what PNG allows: 79 Latin-1 characters.
    """
    key = keyword.encode("latin-1", "replace")[:79].replace(b"\0", b" ").strip() or b"Comment"
    value = text.replace("\0", " ").encode()
    return chunk(b"iTXt", key + b"\0\0\0\0\0" + value)


def resolution_chunk(dpi: tuple[float, float]) -> bytes:
    """Return the resolution (pHYs) from dots per inch; PNG stores it per metre."""
    x, y = (round(value * _INCHES_PER_METRE) for value in dpi)
    metre = 1
    return chunk(b"pHYs", struct.pack(">IIB", x, y, metre))


def metadata_chunks(
    exif: bytes | None,
    xmp: bytes | None,
    settings: Mapping[str, str],
) -> list[bytes]:
    """Return the chunks of EXIF, XMP and one text per setting."""
    chunks = []
    if exif:
        chunks.append(chunk(b"eXIf", exif))
    if xmp:
        chunks.append(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return chunks + [text_chunk(key, text) for key, text in settings.items()]


def encode16(samples: NDArray[np.uint16]) -> bytes:
    """Return a PNG file with 16 bits per channel, of uint16 (H, W) or (H, W, 1..4)."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    header = struct.pack(
        ">IIBBBBB",
        width,
        height,
        16,
        _COLOUR_TYPES[channels],
        0,
        0,
        0,
    )
    deflate = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    chunks = [SIGNATURE, chunk(b"IHDR", header)]
    for band in _filtered_bands(samples, channels):
        compressed = deflate.compress(band)
        if compressed:
            chunks.append(chunk(b"IDAT", compressed))
    chunks.append(chunk(b"IDAT", deflate.flush()))
    chunks.append(chunk(b"IEND", b""))
    return b"".join(chunks)


def _filtered_bands(samples: NDArray[np.uint16], channels: int) -> Iterator[bytes]:
    """Yield bands of rows, each row with the filter of the smallest residuals (section 12.8)."""
    height, width = samples.shape[:2]
    step = 2 * channels
    above = np.zeros((1, width * step), np.uint8)
    rows = max(1, _BAND_BYTES // (width * step))
    for start in range(0, height, rows):
        band = samples[start : start + rows].astype(">u2").view(np.uint8).reshape(-1, width * step)
        up = np.vstack([above, band[:-1]])
        filtered = np.empty((band.shape[0], band.shape[1] + 1), np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = band - up
        cost = _cost(filtered[:, 1:])
        for filter_type, predicted in (
            (_SUB, _shift_right(band, step)),
            (_PAETH, _paeth(band, up, step)),
        ):
            residual = band - predicted
            better = _cost(residual) < cost
            filtered[better, 0] = filter_type
            filtered[better, 1:] = residual[better]
            cost = np.minimum(cost, _cost(residual))
        above = band[-1:]
        yield filtered.tobytes()


def _cost(residual: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sum of absolute residuals of every row, read as signed bytes."""
    return np.minimum(residual, 0 - residual).sum(axis=1, dtype=np.int64)


def _shift_right(rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    return left


def _paeth(
    rows: NDArray[np.uint8],
    up: NDArray[np.uint8],
    step: int,
) -> NDArray[np.uint8]:
    """Return left (a), above (b) or upper left (c): the closest to a + b - c (section 9.4)."""
    a = _shift_right(rows, step).astype(np.int16)
    b = up.astype(np.int16)
    c = _shift_right(up, step).astype(np.int16)
    to_a = np.abs(b - c)
    to_b = np.abs(a - c)
    to_c = np.abs(a + b - 2 * c)
    nearest_b_or_c = np.where(to_b <= to_c, b, c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, nearest_b_or_c).astype(np.uint8)
