"""`PictureFile`, what the reader needs of an open file of any kind, and what all kinds share."""

from typing import Protocol

from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import exif as exif_blob
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.animation import AnimatedPhoto
from addsr_cli.imageio.photo import Header, Photo

MAX_PIXELS = 300_000_000
"""Larger pictures are rejected before decoding: 300 megapixels are 3.6 GB of floats."""


class PictureFile(Protocol):
    """An open file that holds one or several pictures, none of which is decoded yet."""

    def header(self) -> Header:
        """Return what the file declares about its first picture."""

    def xmp(self) -> bytes | None:
        """Return the XMP packet; None when there is none, or a damaged one."""

    def photo(self) -> Photo:
        """Decode the first picture. Raises one of `opening.DAMAGE`."""

    def animation(self) -> AnimatedPhoto | None:
        """Decode all pictures of a file that holds several; None for other files."""

    def close(self) -> None:
        """Release what the library holds; the stream stays open."""


def check_size(
    width: int,
    height: int,
    name: str,
) -> None:
    """Raise UnreadableInput for more than `MAX_PIXELS`; ``name`` begins the message."""
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise UnreadableInput(
            f"{name} claims {width}x{height} pixels, more than the limit of {limit}.",
            "Use a smaller picture or crop it.",
        )


def sound_xmp(raw: object, notes: list[str] | None = None) -> bytes | None:
    """Return an XMP packet; None when it is missing or damaged, which is added to ``notes``."""
    if isinstance(raw, str):
        raw = raw.encode()
    if not isinstance(raw, bytes) or not raw.strip(b"\0 "):
        return None
    packet = raw.rstrip(b"\0")
    if xmp_packet.is_sound(packet):
        return packet
    if notes is not None:
        notes.append("the XMP data is damaged and was left out")
    return None


def upright_exif(raw: bytes | None, notes: list[str]) -> bytes | None:
    """Return EXIF for upright pixels; None when it is missing or damaged, see ``notes``."""
    if not raw:
        return None
    try:
        return exif_blob.upright(raw)
    except exif_blob.BROKEN:
        notes.append("the EXIF data is damaged and was left out")
        return None


def sound_icc(icc: bytes | None, notes: list[str]) -> bytes | None:
    """Return a colour profile; None when it is missing or damaged, see ``notes``."""
    if icc and (len(icc) < 128 or icc[36:40] != b"acsp"):
        notes.append("the colour profile is damaged and was left out")
        return None
    return icc or None
