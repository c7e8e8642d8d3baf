"""Between photos and tensors: what a caller holds becomes a canvas, and new pixels become a photo again."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from PIL import Image
from torch import Tensor

from addsr_cli import imageio
from addsr_cli.imageio import Photo
from addsr_cli.settings import NATIVE_SCALE


def source_of(
    image: str | Path | Photo | Image.Image | np.ndarray[Any, Any],
) -> Photo | Path | bytes:
    """Whatever a caller holds: a ``Photo``, or a file that is not decoded yet."""
    if isinstance(image, Photo):
        return image
    if isinstance(image, Image.Image):
        return imageio.from_pil(image)
    if isinstance(image, np.ndarray):
        return imageio.from_array(image)
    return imageio.buffer_pipe(Path(image))


def size_of(source: Photo | Path | bytes) -> tuple[int, int]:
    """Upright (width, height) in pixels; of a file from its header. Raises UnreadableInput."""
    return source.size if isinstance(source, Photo) else imageio.read_header(source).size


def as_photo(source: Photo | Path | bytes) -> Photo:
    """The picture, decoded. Raises UnreadableInput, and OutOfMemory when decoding does not fit."""
    return source if isinstance(source, Photo) else imageio.read(source)


def canvas_size(width: int, height: int, shortest: int = 0) -> tuple[int, int]:
    """Size of the enlarged photo: 4 times, or what brings its shorter side to ``shortest`` when that is more.

    Rounded up, where the official code cuts off and can end 4 px short of the size it wants.
    """
    factor = max(Fraction(NATIVE_SCALE), Fraction(shortest, min(width, height)))
    return math.ceil(width * factor), math.ceil(height * factor)


def to_tensor(rgb: np.ndarray[Any, Any]) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W), the same memory."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]


def make_canvas(rgb: np.ndarray[Any, Any], size: tuple[int, int], factor: int) -> Tensor:
    """The photo enlarged to ``size`` (width, height), (1, 3, H, W), edges repeated until sides divide by ``factor``."""
    planes = np.empty((3, size[1], size[0]), np.float32)
    for channel, plane in enumerate(planes):
        np.clip(imageio.resize(rgb[:, :, channel], size), 0, 1, out=plane)
    tensor = torch.from_numpy(planes)[None]
    pad = (0, -size[0] % factor, 0, -size[1] % factor)
    return F.pad(tensor, pad, mode="replicate") if any(pad) else tensor


def with_pixels(photo: Photo, rgb: np.ndarray[Any, Any], target: tuple[int, int]) -> Photo:
    """New pixels with everything else of ``photo``: alpha enlarged, grey kept grey."""
    if photo.gray:
        rgb[:] = rgb.mean(axis=2, keepdims=True)
    alpha = None if photo.alpha is None else imageio.resize_alpha(photo.alpha, target)
    return replace(photo, rgb=rgb, alpha=alpha)
