"""Reads files, bytes and Pillow images into upright photos with their metadata."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from addsr_cli.errors import OutOfMemory
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.access import FileAccess
from addsr_cli.imageio.animation import Frames
from addsr_cli.imageio.opening import (
    name_in_sentence,
    open_picture,
    quiet_pillow,
    translate_damage,
)
from addsr_cli.imageio.photo import Header, Photo
from addsr_cli.imageio.pillow_file import PillowFile, check_image
from addsr_cli.imageio.resample import resize_photo


def read_header(source: Path | bytes) -> Header:
    """Return what the file declares about its picture, without decoding pixels.

    Raises UnreadableInput when it is missing, not a picture, of an unsupported kind, or larger than
    `MAX_PIXELS`.
    """
    with open_picture(source) as (file, _):
        return file.header()


def read(source: Path | bytes, frames: Frames = "first") -> Photo:
    """Return the first frame of a file (path or bytes), or an `AnimatedPhoto` of all of them.

    Raises UnreadableInput when it is missing, damaged, not a picture, of an unsupported kind, or
    larger than `MAX_PIXELS`; OutOfMemory when its pixels do not fit.
    """
    try:
        with open_picture(source) as (file, stream):
            access = None if isinstance(stream, BytesIO) else FileAccess.of(stream.fileno())
            animation = file.animation() if frames == "all" else None
            return replace(animation or file.photo(), access=access)
    except MemoryError as exc:
        raise _out_of_memory(source) from exc


def read_reduced(source: Path | bytes, max_side: int) -> Photo:
    """Return the first frame of a file with its longest side reduced to ``max_side`` pixels.

    JPEG files are decoded at a half, a quarter or an eighth of their size, which takes a fraction
    of the time and memory; other files are decoded whole. Raises as `read` does.
    """
    try:
        with open_picture(source) as (file, _):
            if isinstance(file, PillowFile):
                file.decode_reduced(max_side)
            photo = file.photo()
        factor = min(1.0, max_side / max(photo.size))
        width, height = (max(1, round(side * factor)) for side in photo.size)
        return resize_photo(photo, (width, height))
    except MemoryError as exc:
        raise _out_of_memory(source) from exc


def from_pil(image: Image.Image) -> Photo:
    """Return the photo of a Pillow image; its EXIF orientation is applied.

    Raises UnreadableInput for unsupported modes and sizes.
    """
    check_image(image, "The image")
    with quiet_pillow(), translate_damage("The image"):
        return PillowFile(image, None).photo()


def read_settings(source: Path | bytes) -> dict[str, str]:
    """Return the settings that `encode` embedded in a file; empty when there are none.

    Raises UnreadableInput when the file cannot be opened as a picture.
    """
    with open_picture(source) as (file, _):
        packet = file.xmp()
    return xmp_packet.settings_in(packet) if packet else {}


def _out_of_memory(source: Path | bytes) -> OutOfMemory:
    return OutOfMemory(
        f"There is not enough memory to read {name_in_sentence(source)}.",
        "Close other programs, or use a smaller picture.",
    )
