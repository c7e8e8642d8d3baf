"""IPTC data as Photoshop wraps it: image resource blocks.

JPEG has them in APP13, TIFF in tag 34377, PNG in a raw profile. A block is ``8BIM``, a number, a
name and data (Adobe Photoshop File Formats, "Image Resource Blocks"). Only those about the photo
are kept: the others (thumbnails, paths, resolution, copies of EXIF, XMP and profile) are about its
old pixels, or in the file a second time.
"""

import struct
from collections.abc import Iterator

IPTC, COPYRIGHT_FLAG, ADDRESS, IPTC_DIGEST = 1028, 1034, 1035, 1061
_KEPT = (IPTC, COPYRIGHT_FLAG, ADDRESS, IPTC_DIGEST)
_SIGNATURE = b"8BIM"
JPEG_PREFIX = b"Photoshop 3.0\0"


def photo_blocks(blocks: bytes) -> bytes | None:
    """What is worth keeping of all blocks, as blocks again; None when that is nothing."""
    found = dict(_parsed(blocks))
    return b"".join(_block(number, found[number]) for number in _KEPT if number in found) or None


def wrap_iim(iptc: bytes) -> bytes:
    """Bare IPTC data (IIM) as a block; what is wrapped already stays."""
    return iptc if iptc.startswith(_SIGNATURE) else _block(IPTC, iptc)


def extract_iim(blocks: bytes) -> bytes | None:
    """The IPTC data (IIM) in blocks."""
    return dict(_parsed(blocks)).get(IPTC)


def as_raw_profile(blocks: bytes) -> str:
    """Blocks as ImageMagick puts them into PNG texts: a name, a length, hexadecimal lines."""
    digits = blocks.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join(["", "iptc", f"{len(blocks):8}", *lines, ""])


def from_raw_profile(text: str) -> bytes | None:
    """The inverse of `as_raw_profile`; None for what is none."""
    try:
        return wrap_iim(bytes.fromhex("".join(text.split("\n")[3:]))) or None
    except ValueError:
        return None


def _block(number: int, data: bytes) -> bytes:
    return struct.pack(">4sHHI", _SIGNATURE, number, 0, len(data)) + data + b"\0" * (len(data) % 2)


def _parsed(blocks: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and data of every block, up to the first that is damaged."""
    position = 0
    while blocks[position : position + 4] == _SIGNATURE and position + 12 <= len(blocks):
        number, name = struct.unpack_from(">HB", blocks, position + 4)
        start = position + 6 + (name + 2) // 2 * 2
        size = int.from_bytes(blocks[start : start + 4], "big")
        data = blocks[start + 4 : start + 4 + size]
        if start + 4 + size > len(blocks):
            return
        yield number, data
        position = start + 4 + size + size % 2
