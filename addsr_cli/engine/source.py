"""What a caller may pass to ``Upscaler.upscale``, and how it becomes a ``Photo``."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from addsr_cli import imageio
from addsr_cli.imageio import Photo

ImageInput = str | Path | Photo | Image.Image | NDArray[Any]
Source = Photo | Path | bytes  # a decoded photo, or a file that is not decoded yet


def as_source(image: ImageInput) -> Source:
    """Return the photo of an image in memory, or the path (or bytes) of a file, not decoded yet.

    Raises UsageError for an array that is no picture, UnreadableInput for an unsupported image.
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, Image.Image):
        return imageio.from_pil(image)
    if isinstance(image, np.ndarray):
        return imageio.from_array(image)
    return imageio.buffer_pipe(Path(image))


def layout_of(source: Source) -> tuple[int, int, int, int]:
    """Return upright width and height in pixels, channels, and bits per channel, 8 or 16.

    Those of a file are from its header. Raises UnreadableInput.
    """
    if isinstance(source, Photo):
        return *source.size, source.channels, 8 if source.samples.itemsize == 1 else 16
    header = imageio.read_header(source)
    return *header.size, header.channels, header.bit_depth


def load_photo(source: Source) -> Photo:
    """Return the decoded photo. Raises UnreadableInput, and OutOfMemory when it does not fit."""
    if isinstance(source, Photo):
        return source
    return imageio.read(source)
