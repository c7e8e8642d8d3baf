"""Between photos and tensors: what a caller holds becomes a canvas, and new pixels become a photo again."""

from dataclasses import replace
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


def as_photo(image: str | Path | Photo | Image.Image | np.ndarray[Any, Any]) -> Photo:
    """Whatever a caller holds, as a ``Photo``."""
    if isinstance(image, Photo):
        return image
    if isinstance(image, Image.Image):
        return imageio.from_pil(image)
    if isinstance(image, np.ndarray):
        return imageio.from_array(image)
    return imageio.read(Path(image))


def enlarge(rgb: np.ndarray[Any, Any], factor: int) -> Tensor:
    """The photo enlarged 4 times, (1, 3, H, W), edges repeated until sides divide by ``factor``."""
    size = (rgb.shape[1] * NATIVE_SCALE, rgb.shape[0] * NATIVE_SCALE)
    large = imageio.resize(rgb, size)
    np.clip(large, 0, 1, out=large)
    tensor = torch.from_numpy(large).permute(2, 0, 1)[None].contiguous()
    pad = (0, -size[0] % factor, 0, -size[1] % factor)
    return F.pad(tensor, pad, mode="replicate") if any(pad) else tensor


def with_pixels(photo: Photo, rgb: np.ndarray[Any, Any], target: tuple[int, int]) -> Photo:
    """New pixels with everything else of ``photo``: alpha enlarged, grey kept grey."""
    if photo.gray:
        rgb[:] = rgb.mean(axis=2, keepdims=True)
    alpha = None if photo.alpha is None else imageio.resize_alpha(photo.alpha, target)
    return replace(photo, rgb=rgb, alpha=alpha)
