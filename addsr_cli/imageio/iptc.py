"""IPTC data as Photoshop wraps it: image resource blocks.

JPEG has them in APP13, TIFF in tag 34377, PNG in a raw profile. A block is ``8BIM``, a number, a
name and data (Adobe Photoshop File Formats, "Image Resource Blocks"). Only those about the photo
are copied: the others (thumbnails, paths, resolution, copies of EXIF, XMP and profile) describe its
old pixels, or are in the file a second time.
"""

import struct
from collections.abc import Iterator

IPTC = 1028
COPYRIGHT_FLAG = 1034
ADDRESS = 1035
IPTC_DIGEST = 1061
_PHOTO_BLOCKS = (IPTC, COPYRIGHT_FLAG, ADDRESS, IPTC_DIGEST)
_SIGNATURE = b"8BIM"
JPEG_PREFIX = b"Photoshop 3.0\0"


def photo_blocks(blocks: bytes) -> bytes | None:
    """Return only the blocks about the photo; None when there are none."""
    data = dict(_parse(blocks))
    copied = [_block(number, data[number]) for number in _PHOTO_BLOCKS if number in data]
    return b"".join(copied) or None


def wrap_iim(iptc: bytes) -> bytes:
    """Return IPTC data (IIM) as a block; data that is a block already is returned as it is."""
    return iptc if iptc.startswith(_SIGNATURE) else _block(IPTC, iptc)


def extract_iim(blocks: bytes) -> bytes | None:
    """Return the IPTC data (IIM) in blocks; None when there is none."""
    return dict(_parse(blocks)).get(IPTC)


def as_raw_profile(blocks: bytes) -> str:
    """Return blocks as ImageMagick writes them into PNG texts: name, length, hexadecimal lines."""
    digits = blocks.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join(["", "iptc", f"{len(blocks):8}", *lines, ""])


def from_raw_profile(text: str) -> bytes | None:
    """Return the blocks in a text of `as_raw_profile`; None for any other text."""
    digits = "".join(text.split("\n")[3:])
    try:
        return wrap_iim(bytes.fromhex(digits)) or None
    except ValueError:
        return None


def _block(number: int, data: bytes) -> bytes:
    header = struct.pack(">4sHHI", _SIGNATURE, number, 0, len(data))
    padding = b"\0" * (len(data) % 2)
    return header + data + padding


def _parse(blocks: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and data of every block, up to the first that is damaged."""
    position = 0
    while blocks[position : position + 4] == _SIGNATURE and position + 12 <= len(blocks):
        number, name_length = struct.unpack_from(">HB", blocks, position + 4)
        start = position + 6 + (name_length + 2) // 2 * 2
        size = int.from_bytes(blocks[start : start + 4], "big")
        data = blocks[start + 4 : start + 4 + size]
        if start + 4 + size > len(blocks):
            return
        yield number, data
        position = start + 4 + size + size % 2
