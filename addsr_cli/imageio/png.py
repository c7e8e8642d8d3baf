"""PNG by hand where libraries stop: chunks for metadata, and 16 bits per channel (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_HEADER_END = len(SIGNATURE) + 25  # IHDR is always first and always 25 bytes
_BAND_BYTES = 1 << 22
_METRE = 39.3701  # inches


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk: length, type, data, CRC of type and data."""
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
    )


def insert_chunks(png: bytes, chunks: list[bytes]) -> bytes:
    """Put chunks directly after its header, where all of ours are allowed."""
    return b"".join([png[:_HEADER_END], *chunks, png[_HEADER_END:]])


def icc_chunk(profile: bytes) -> bytes:
    """Deflate the colour profile."""
    return chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))


def text_chunk(keyword: str, text: str) -> bytes:
    """Uncompressed UTF-8 text (iTXt). The keyword is cut to what PNG allows: 79 Latin-1 characters."""
    key = keyword.encode("latin-1", "replace")[:79].replace(b"\0", b" ").strip() or b"Comment"
    return chunk(b"iTXt", key + b"\0\0\0\0\0" + text.replace("\0", " ").encode())


def resolution_chunk(dpi: tuple[float, float]) -> bytes:
    """Dots per inch, stored per metre."""
    return chunk(b"pHYs", struct.pack(">IIB", round(dpi[0] * _METRE), round(dpi[1] * _METRE), 1))


def metadata_chunks(
    exif: bytes | None, xmp: bytes | None, settings: Mapping[str, str]
) -> list[bytes]:
    """EXIF, XMP and one text per setting."""
    chunks = [chunk(b"eXIf", exif)] if exif else []
    if xmp:
        chunks.append(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return chunks + [text_chunk(key, text) for key, text in settings.items()]


def encode16(samples: NDArray[np.uint16]) -> bytes:
    """uint16 (H, W) or (H, W, 1..4) -> a PNG file with 16 bits per channel and no metadata."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    deflate = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    parts = [SIGNATURE, chunk(b"IHDR", header)]
    parts += [
        chunk(b"IDAT", packed)
        for band in _filtered(samples, channels)
        if (packed := deflate.compress(band))
    ]
    return b"".join([*parts, chunk(b"IDAT", deflate.flush()), chunk(b"IEND", b"")])


def _filtered(samples: NDArray[np.uint16], channels: int) -> Iterator[bytes]:
    """Bands of rows, each row with the filter whose residuals are smallest (PNG standard, 12.8)."""
    height, width = samples.shape[:2]
    step = 2 * channels
    above = np.zeros((1, width * step), np.uint8)
    rows = max(1, _BAND_BYTES // (width * step))
    for start in range(0, height, rows):
        band = samples[start : start + rows].astype(">u2").view(np.uint8).reshape(-1, width * step)
        up = np.vstack([above, band[:-1]])
        best = np.empty((band.shape[0], band.shape[1] + 1), np.uint8)
        best[:, 0], best[:, 1:] = 2, band - up
        cost = _cost(best[:, 1:])
        for number, predicted in ((1, _shifted(band, step)), (4, _paeth(band, up, step))):
            residual = band - predicted
            better = _cost(residual) < cost
            best[better, 0], best[better, 1:] = number, residual[better]
            cost = np.minimum(cost, _cost(residual))
        above = band[-1:]
        yield best.tobytes()


def _cost(residual: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.minimum(residual, 0 - residual).sum(axis=1, dtype=np.int64)


def _shifted(rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    return left


def _paeth(rows: NDArray[np.uint8], up: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Of left, above and upper left, the one closest to left + above - upper left (PNG standard, 9.4)."""
    a, b, c = (x.astype(np.int16) for x in (_shifted(rows, step), up, _shifted(up, step)))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest_b_or_c = np.where(to_b <= to_c, b, c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, nearest_b_or_c).astype(np.uint8)
