"""Resizing in float, and filling the colour under transparency before it."""

from typing import Any

import cv2
import numpy as np
from PIL import Image

from addsr_cli.errors import UsageError
from addsr_cli.imageio.photo import FloatArray

# Below four 8-bit levels of alpha a pixel contributes less than 1.2 % of its colour: invisible, and
# too coarsely quantized to be reliable.
_INVISIBLE = np.float32(3.5 / 255)


def resize(pixels: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resample float32 (H, W) or (H, W, C) to ``size`` (width, height), bicubic with antialiasing.

    The filter is Pillow's BICUBIC (a = -0.5).

    Works channel by channel in float and does not clamp: results may overshoot the input range.
    Returns a new contiguous float32 array. Raises UsageError when a side would be smaller than one
    pixel.
    """
    width, height = size
    if width < 1 or height < 1:
        raise UsageError(
            f"A picture of {width}x{height} pixels cannot be made.", "Ask for at least 1x1."
        )
    if pixels.ndim == 2:
        return _resize_plane(pixels, size)
    out = np.empty((height, width, pixels.shape[2]), np.float32)
    for channel in range(pixels.shape[2]):
        out[:, :, channel] = _resize_plane(pixels[:, :, channel], size)
    return out


def resize_alpha(alpha: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize an alpha channel (H, W) with the same filter, clamped to [0, 1]."""
    out = resize(alpha, size)
    return np.clip(out, 0, 1, out=out)


def fill_transparent(rgb: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return colour (H, W, 3) whose invisible pixels (alpha below 4/255) continue the visible ones.

    Straight alpha leaves arbitrary colour under transparency, and any filter would pull it over the
    edge as a fringe. Every visible pixel stays bit-identical. Normalised convolution on a pyramid
    (Knutsson & Westin 1993): average the visible colour weighted by alpha at ever coarser scales,
    then fill what is still undefined from the next coarser level.
    """
    invisible = alpha < _INVISIBLE
    if not invisible.any() or invisible.all():
        return rgb
    weight = alpha.copy()
    weight[invisible] = 0
    filled = _pull_push(rgb * weight[:, :, None], weight)
    filled[~invisible] = rgb[~invisible]
    return filled


def _pull_push(colour: FloatArray, weight: FloatArray) -> FloatArray:
    """Return colour for every pixel, of premultiplied colour (H, W, 3) and its weight (H, W)."""
    height, width = weight.shape
    coarse: FloatArray | None = None
    if max(height, width) > 1:
        half = ((width + 1) // 2, (height + 1) // 2)
        small: Any = cv2.resize(colour, half, interpolation=cv2.INTER_AREA)
        small_weight: Any = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
        coarse = _pull_push(small, small_weight.reshape(half[1], half[0]))
    known = weight > 0
    out = colour.copy()
    out[known] /= weight[known][:, None]
    if coarse is not None and not known.all():
        spread = cv2.resize(
            coarse,
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        out[~known] = spread[~known]
    return out


def _resize_plane(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    if (plane.shape[1], plane.shape[0]) == size:
        return np.array(plane, np.float32)
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.array(image.resize(size, Image.Resampling.BICUBIC), np.float32)
