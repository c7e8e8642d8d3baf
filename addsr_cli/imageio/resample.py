"""Resizing, whole or window by window, and filling the colour under transparency before it.

The filter is Pillow's BICUBIC (a = -0.5, antialiased when shrinking). Pillow itself resizes whole
pictures of floats; here every row and column has its taps by its absolute position, so that any
window of the result can be computed alone and equals the same part of the whole.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.errors import UsageError
from addsr_cli.imageio.photo import FloatArray, Photo, Samples, as_float, bands, quantize

# Below four 8-bit levels of alpha a pixel contributes less than 1.2 % of its colour: invisible, and
# too coarsely quantized to be reliable.
_INVISIBLE = np.float32(3.5 / 255)
_SHARPNESS = -0.5  # the parameter a of the bicubic filter
_CHUNK = 64  # positions, of the finer side, whose taps form one small matrix
_SINGLE_THREAD = 1 << 18  # multiply-adds up to which OpenBLAS uses one thread

Taps = tuple[NDArray[np.int64], FloatArray]


def resize(pixels: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resample float32 (H, W) or (H, W, C) to ``size`` (width, height), bicubic with antialiasing.

    Works in float and does not clamp: results may overshoot the input range. Returns a new
    contiguous float32 array. Raises UsageError when a side would be smaller than one pixel.
    """
    width, height = size
    _check_size(size)
    samples = pixels[:, :, None] if pixels.ndim == 2 else pixels
    out = np.empty((height, width, samples.shape[2]), np.float32)
    for rows in bands(height, width):
        planes = resize_window(samples, size, rows, slice(0, width))
        out[rows] = planes.transpose(1, 2, 0)
    return out[:, :, 0] if pixels.ndim == 2 else out


def resize_photo(photo: Photo, size: tuple[int, int]) -> Photo:
    """Return the photo resized to ``size`` (width, height), at the depth of its samples.

    Colour under transparency is filled first. Raises UsageError as ``resize`` does.
    """
    if size == photo.size:
        return photo
    _check_size(size)
    out = np.empty((size[1], size[0], photo.channels), photo.samples.dtype)
    colour = fill_transparent(photo).colour
    resize_into(colour, out[:, :, : colour.shape[2]])
    if photo.has_alpha:
        resize_into(photo.samples[:, :, -1:], out[:, :, -1:])
    return replace(photo, samples=out, jpeg_table=None)


def resize_into(samples: Samples, out: Samples) -> None:
    """Resize samples (H, W, C) to the size of ``out`` (h, w, C), rounded and clamped to [0, 1]."""
    height, width = out.shape[:2]
    for rows in bands(height, width):
        planes = resize_window(samples, (width, height), rows, slice(0, width))
        quantize(np.clip(planes, 0, 1, out=planes).transpose(1, 2, 0), out[rows])


def resize_alpha(alpha: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize an alpha channel (H, W) with the same filter, clamped to [0, 1]."""
    out = resize(alpha, size)
    return np.clip(out, 0, 1, out=out)


def resize_window(
    samples: Samples,
    size: tuple[int, int],
    rows: slice,
    columns: slice,
) -> FloatArray:
    """Return a window of samples (H, W, C) resized to ``size`` (width, height).

    ``rows`` and ``columns`` lie within ``size``. The result is float32 (C, rows, columns), integers
    scaled to [0, 1], not clamped. It differs from the same part of a larger window by rounding
    only.
    """
    seen_columns, across = reach(taps(samples.shape[1], size[0]), columns)
    seen_rows, down = reach(taps(samples.shape[0], size[1]), rows)
    pixels = as_float(np.ascontiguousarray(samples[seen_rows, seen_columns].transpose(2, 0, 1)))
    pixels = apply_taps(
        pixels,
        across=None if samples.shape[1] == size[0] else across,
        down=None if samples.shape[0] == size[1] else down,
    )
    return pixels.copy() if np.shares_memory(pixels, samples) else pixels


def apply_taps(
    planes: FloatArray,
    *,
    across: Taps | None,
    down: Taps | None,
) -> FloatArray:
    """Return planes (C, H, W) after both filters; None leaves that axis as it is."""
    if across is not None:
        planes = _across(planes, across)
    if down is not None:
        planes = _down(planes, down)
    return planes


def filter_rows(pixels: FloatArray, down: Taps) -> FloatArray:
    """Return interleaved pixels (H, W, C) after the filter down their columns, (h, W, C)."""
    height, width, channels = pixels.shape
    filtered = _down(pixels.reshape(1, height, width * channels), down)
    return filtered.reshape(-1, width, channels)


def fill_transparent(photo: Photo) -> Photo:
    """Return the photo with a ``colour`` whose invisible pixels continue the visible.

    Those are pixels of alpha below 4/255. Where there are none, or no others, it is ``photo``
    itself, with its alpha; otherwise a copy without alpha.

    Straight alpha leaves arbitrary colour under transparency, and any filter would pull it over the
    edge as a fringe. Every visible pixel stays bit-identical. Normalised convolution on a pyramid
    (Knutsson & Westin 1993): average the visible colour weighted by alpha at ever coarser scales,
    then fill what is still undefined from the next coarser level. The finest level is done in bands
    of rows.
    """
    if not photo.has_alpha:
        return photo
    hidden = [_invisible(photo.samples[rows]).mean() for rows in bands(*photo.samples.shape[:2])]
    if max(hidden) == 0 or min(hidden) == 1:
        return photo
    opaque = replace(photo, samples=photo.colour.copy())
    coarse = _half(photo)
    for rows in _even_bands(photo):
        invisible = _invisible(photo.samples[rows])
        if not invisible.any():
            continue
        spread = _spread(coarse, rows, photo.width)
        band = opaque.samples[rows]
        filled = np.empty_like(band)
        quantize(spread.reshape(band.shape), filled)
        band[invisible] = filled[invisible]
    return opaque


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise UsageError(
            f"A picture of {size[0]}x{size[1]} pixels cannot be made.", "Ask for at least 1x1."
        )


@lru_cache(maxsize=8)
def taps(length: int, new_length: int) -> Taps:
    """Return where every new position starts to read (n,), and its weights (n, taps)."""
    if length == new_length:
        return np.arange(length), np.ones((length, 1), np.float32)
    scale = length / new_length
    support = 2 * max(scale, 1.0)
    centres = (np.arange(new_length) + 0.5) * scale
    first = np.maximum(0, np.floor(centres - support + 0.5)).astype(np.int64)
    last = np.minimum(length, np.floor(centres + support + 0.5)).astype(np.int64)
    count = int((last - first).max())
    first = np.maximum(0, np.minimum(first, length - count))
    positions = first[:, None] + np.arange(count)
    weights = _bicubic((positions + 0.5 - centres[:, None]) / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return first, weights.astype(np.float32)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution (1981, equation 4)."""
    x = np.abs(x)
    a = _SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def reach(axis: Taps, window: slice) -> tuple[slice, Taps]:
    """Return what a window of an axis reads, and its taps relative to that."""
    first, weights = axis
    own = first[window]
    start = int(own[0])
    stop = int(own[-1]) + weights.shape[1]
    return slice(start, stop), (own - start, weights[window])


def _matrices(axis: Taps) -> Iterator[tuple[slice, slice, FloatArray]]:
    """Yield, for each chunk of positions: them, what they read, and the weights as a matrix."""
    first, weights = axis
    count = weights.shape[1]
    stride = (int(first[-1]) - int(first[0])) / len(first)
    # A matrix holds a band of weights among zeros; where positions lie far apart it is long.
    chunk = max(_CHUNK // 4, int(_CHUNK / max(1.0, stride)))
    for start in range(0, len(first), chunk):
        own = first[start : start + chunk]
        seen = slice(int(own[0]), int(own[-1]) + count)
        matrix = np.zeros((len(own), seen.stop - seen.start), np.float32)
        places = own[:, None] - own[0] + np.arange(count)
        matrix[np.arange(len(own))[:, None], places] = weights[start : start + chunk]
        yield slice(start, start + len(own)), seen, matrix


def _across(pixels: FloatArray, axis: Taps) -> FloatArray:
    lines = pixels.reshape(-1, pixels.shape[2])
    out = np.empty((len(lines), len(axis[0])), np.float32)
    for own, seen, matrix in _matrices(axis):
        for part in _small_parts(len(lines), matrix):
            np.matmul(lines[part, seen], matrix.T, out=out[part, own])
    return out.reshape(*pixels.shape[:2], -1)


def _down(pixels: FloatArray, axis: Taps) -> FloatArray:
    width = pixels.shape[2]
    out = np.empty((pixels.shape[0], len(axis[0]), width), np.float32)
    for own, seen, matrix in _matrices(axis):
        for part in _small_parts(width, matrix):
            np.matmul(matrix, pixels[:, seen, part], out=out[:, own, part])
    return out


def _small_parts(length: int, matrix: FloatArray) -> Iterator[slice]:
    """Yield parts whose product with ``matrix`` NumPy's BLAS leaves to the calling thread.

    Products this small gain nothing from more threads, and on a busy machine they wait for them a
    hundred times longer than they take.
    """
    step = max(1, _SINGLE_THREAD // matrix.size)
    for start in range(0, length, step):
        yield slice(start, start + step)


def _invisible(samples: Samples) -> NDArray[np.bool_]:
    """Return which pixels of (H, W, C), alpha last, are hardly visible: (H, W)."""
    alpha = samples[:, :, -1]
    top = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
    return np.asarray(alpha < _INVISIBLE * top)


def _even_bands(photo: Photo) -> Iterator[slice]:
    """Yield bands that start at even rows."""
    for rows in bands((photo.height + 1) // 2, 2 * photo.width):
        yield slice(2 * rows.start, min(photo.height, 2 * rows.stop))


def _half(photo: Photo) -> FloatArray:
    """Return the colour (h, w, C) of every second pixel, filled everywhere."""
    width = (photo.width + 1) // 2
    height = (photo.height + 1) // 2
    colour = np.empty((height, width, photo.channels - 1), np.float32)
    weight = np.empty((height, width), np.float32)
    for rows in _even_bands(photo):
        pixels = as_float(photo.samples[rows])
        alpha = np.where(_invisible(photo.samples[rows]), np.float32(0), pixels[:, :, -1])
        half = (width, (len(pixels) + 1) // 2)
        own = slice(rows.start // 2, rows.start // 2 + half[1])
        visible = pixels[:, :, :-1] * alpha[:, :, None]
        small: Any = cv2.resize(visible, half, interpolation=cv2.INTER_AREA)
        colour[own] = small.reshape(colour[own].shape)
        weight[own] = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
    return _pull_push(colour, weight)


def _spread(
    coarse: FloatArray,
    rows: slice,
    width: int,
) -> FloatArray:
    """Return rows of the filled colour at twice its size; ``rows`` starts at an even row."""
    start = max(0, rows.start // 2 - 1)
    stop = min(len(coarse), (rows.stop + 1) // 2 + 1)
    spread: Any = cv2.resize(
        coarse[start:stop],
        (width, 2 * (stop - start)),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.clip(spread[rows.start - 2 * start : rows.stop - 2 * start], 0, 1)


def _pull_push(colour: FloatArray, weight: FloatArray) -> FloatArray:
    """Return colour for every pixel, of premultiplied colour (H, W, C) and its weight (H, W)."""
    height, width = weight.shape
    coarse: FloatArray | None = None
    if max(height, width) > 1:
        half = ((width + 1) // 2, (height + 1) // 2)
        shape = (half[1], half[0], colour.shape[2])
        small: Any = cv2.resize(colour, half, interpolation=cv2.INTER_AREA)
        small_weight: Any = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
        coarse = _pull_push(small.reshape(shape), small_weight.reshape(half[1], half[0]))
    known = weight > 0
    out = colour.copy()
    out[known] /= weight[known][:, None]
    if coarse is not None and not known.all():
        spread: Any = cv2.resize(
            coarse,
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        out[~known] = spread.reshape(colour.shape)[~known]
    return out
