"""Letters are nearly two colours: lines of text are brought to ink and paper where a photo allows.

Paper p and ink p + v are read from the result, as smooth pictures; with them a colour becomes the
share a of ink in it, 0 to 1. All shares are taken in turns towards 0 and 1 (a soft threshold) and
back to what shrinks to the photo (back-projection, Irani & Peleg 1991); Thouin & Chang 2000, "A
method for restoration of low-resolution document images", use such a prior of two modes. No letter
is known here: a stroke that shrinks to other pixels than the photo's is taken back. Where ink and
paper do not explain the photo, the result stays as it was.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.detection import Area
from addsr_cli.imageio import Photo, resize
from addsr_cli.imageio.back_projection import least_change
from addsr_cli.imageio.photo import FloatArray, Samples, as_float, quantize

LEAST_SCALE = 1.5  # below that a result is hardly finer than its photo
HIGHEST = 64.0  # pixels of the photo: the edges of larger letters are resolved
PIECE = 512  # pixels of the photo, of a line that is treated at once
BEYOND = (1.0, 0.5)  # of a line's height, that is looked at beside and above it: letters are missed
MARGIN = 4  # pixels of the photo around that
ROUNDS = 10
STEEPNESS = 2.0  # of the threshold
SMOOTHING = 0.2  # pixels of the photo, before it: with less, edges show steps of that pixel
LEAST_CONTRAST = 24.0  # of 255, between ink and paper
CORE = (5, 3)  # pixels of the result that paper and ink are eroded by, before they are read
LEAST_CORE = 12  # pixels
# Departure of the photo from ink and paper, in 1/255, beside its noise: all is used up to the
# first, nothing from the second on.
EXPLAINED = (4.0, 12.0)
NOISY = 1.5  # times the noise of a photo: what it explains in so small a window
NEIGHBOURHOOD = 1.5  # pixels of the photo, deviation of the window that it is measured in
_LEVELS = 255.0
_LARGEST_WINDOW = 1 << 24  # pixels of the result
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Mask = NDArray[np.bool_]


def sharpen_letters(
    samples: Samples,
    photo: Photo,
    lines: Iterable[Area],
    bound: float,
    noise: float = 0.0,
) -> None:
    """Bring ``lines`` of text in samples (H, W, 1 or 3; uint16) to two tones, in place.

    The result may depart from the opaque photo by ``bound``; ``noise`` is the deviation of the
    photo's. Both are in 1/255.
    """
    size = samples.shape[1], samples.shape[0]
    if min(large / small for large, small in zip(size, photo.size, strict=True)) < LEAST_SCALE:
        return
    for line in lines:
        if line.height > HIGHEST:
            continue
        for window in _windows(line, photo.size, size):
            _sharpen(samples, photo, window, bound / _LEVELS, noise / _LEVELS)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A part of a photo and the same part of the result, with a text line in it: all in pixels.

    ``core`` is the line within the part of the photo.
    """

    small: tuple[slice, slice]
    large: tuple[slice, slice]
    core: tuple[slice, slice]


def _windows(
    line: Area,
    small_size: tuple[int, int],
    size: tuple[int, int],
) -> Iterator[_Window]:
    """Yield the windows of a line, from left to right; they overlap."""
    beside, above = (share * line.height for share in BEYOND)
    down = _part(line.top, line.top + line.height, above, small_size[1], size[1])
    pieces = max(1, round(line.width / PIECE))
    for number in range(pieces):
        left, right = (line.left + line.width * (number + k) / pieces for k in (0, 1))
        across = _part(left, right, beside, small_size[0], size[0])
        window = _Window(
            small=(down[0], across[0]),
            large=(down[1], across[1]),
            core=(down[2], across[2]),
        )
        height, width = (part.stop - part.start for part in window.large)
        if height * width <= _LARGEST_WINDOW:
            yield window


def _part(
    start: float,
    stop: float,
    beyond: float,
    small: int,
    large: int,
) -> tuple[slice, slice, slice]:
    """Return a part of an axis of the photo, that of the result, and the core within the first.

    It begins and ends where pixels of both begin, so that resizing it is a part of resizing all.
    """
    period = small // gcd(small, large)
    first = int((start - beyond - MARGIN) // period) * period
    last = -int(-(stop + beyond + MARGIN) // period) * period
    first, last = max(0, first), min(small, last)
    core = slice(max(0, int(start) - 1 - first), min(last, int(np.ceil(stop)) + 1) - first)
    return slice(first, last), slice(first * large // small, last * large // small), core


def _sharpen(
    samples: Samples,
    photo: Photo,
    window: _Window,
    bound: float,
    noise: float,
) -> None:
    result = as_float(samples[window.large])
    seen = as_float(photo.colour[window.small])
    size = _size(result)
    following = result + _change(seen - resize(result, _size(seen)), bound, size)
    tones = _tones(following, seen, window.core)
    if tones is None:
        return
    shares, fits = _two_tones(following, seen, tones, bound)
    unexplained = np.sqrt(np.maximum(fits - (NOISY * noise) ** 2, 0)) * _LEVELS
    weight = np.clip((EXPLAINED[1] - unexplained) / (EXPLAINED[1] - EXPLAINED[0]), 0, 1)
    weight = weight**2 * (3 - 2 * weight)
    weight *= np.outer(*(_ramp(length) for length in weight.shape))
    letters = tones.paper + tones.step * shares
    result += np.clip(resize(weight[:, :, None], size), 0, 1) * (letters - result)
    quantize(np.clip(result, 0, 1), samples[window.large])


@dataclass(frozen=True, kw_only=True)
class _Tones:
    """Paper, and the step from it to ink, of the result (H, W, C) and of the photo (h, w, C)."""

    paper: FloatArray
    step: FloatArray
    small_paper: FloatArray
    small_step: FloatArray


def _tones(
    result: FloatArray,
    seen: FloatArray,
    core: tuple[slice, slice],
) -> _Tones | None:
    """Read paper and ink from the pixels of a result; None where they are no two tones."""
    factor = [large / small for large, small in zip(result.shape, seen.shape, strict=True)][:2]
    part = tuple(
        slice(int(side.start * by), int(side.stop * by))
        for side, by in zip(core, factor, strict=True)
    )
    ink_mask = np.zeros(result.shape[:2], bool)
    ink_mask[part] = _inked(result[part])
    paper_mask = np.zeros_like(ink_mask)
    paper_mask[part] = ~ink_mask[part]
    paper, ink = (
        _field(result, _core(mask, side), _size(seen))
        for mask, side in ((paper_mask, CORE[0]), (ink_mask, CORE[1]))
    )
    if paper is None or ink is None:
        return None
    step = ink - paper
    if float(np.median(np.sqrt((step**2).sum(axis=2)))) * _LEVELS < LEAST_CONTRAST:
        return None
    size = _size(result)
    return _Tones(
        paper=resize(paper, size),
        step=resize(step, size),
        small_paper=paper,
        small_step=step,
    )


def _inked(picture: FloatArray) -> Mask:
    """Return which pixels are ink: the smaller part, by Otsu's threshold of the luma."""
    luma = picture @ _LUMA if picture.shape[2] == 3 else picture[:, :, 0]
    levels = np.clip(np.rint(luma * _LEVELS), 0, _LEVELS).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark: Mask = levels <= threshold
    return dark if dark.mean() < 0.5 else ~dark


def _core(mask: Mask, side: int) -> Mask:
    """Return a mask without its edges, where pixels are mixed; all of it where nothing is left."""
    eroded: Mask = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return eroded if eroded.sum() >= LEAST_CORE else mask


def _field(picture: FloatArray, mask: Mask, small: tuple[int, int]) -> FloatArray | None:
    """Return the colours within the mask as a smooth picture of size ``small``; None without any.

    Far from the mask it is their median.
    """
    if mask.sum() < LEAST_CORE:
        return None
    weight = mask[:, :, None].astype(np.float32)
    sums: Any = cv2.resize(
        np.concatenate([picture * weight, weight], axis=2),
        small,
        interpolation=cv2.INTER_AREA,
    )
    sums = cv2.GaussianBlur(sums, (0, 0), small[1] / 2)
    median = np.median(picture[mask], axis=0)
    few = np.float32(0.01)  # weight of the median
    return np.asarray((sums[:, :, :-1] + few * median) / (sums[:, :, -1:] + few), np.float32)


def _two_tones(
    result: FloatArray,
    seen: FloatArray,
    tones: _Tones,
    bound: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the share of ink (H, W, 1), and (h, w) the square by which the photo departs from it.

    The latter is a local mean, of the last picture of two tones before it was taken back.
    """
    energy = np.maximum((tones.small_step**2).sum(axis=2, keepdims=True), 1e-4)
    aim = ((seen - tones.small_paper) * tones.small_step).sum(axis=2, keepdims=True) / energy
    slack = bound / np.sqrt(energy)
    large_energy = np.maximum((tones.step**2).sum(axis=2, keepdims=True), 1e-4)
    shares = ((result - tones.paper) * tones.step).sum(axis=2, keepdims=True) / large_energy
    across, down = (SMOOTHING * result.shape[k] / seen.shape[k] for k in (1, 0))
    for _ in range(ROUNDS):
        smooth: Any = cv2.GaussianBlur(shares, (0, 0), sigmaX=across, sigmaY=down)
        shares = np.clip(0.5 + STEEPNESS * (smooth[:, :, None] - 0.5), 0, 1).astype(np.float32)
        shrunk = resize(shares, _size(seen))
        shares += _change(aim - shrunk, slack, _size(result))
    departure = seen - tones.small_paper - tones.small_step * shrunk
    square: Any = cv2.GaussianBlur((departure**2).mean(axis=2), (0, 0), NEIGHBOURHOOD)
    return np.clip(shares, 0, 1), np.asarray(square, np.float32)


def _change(
    missing: FloatArray,
    slack: FloatArray | float,
    size: tuple[int, int],
) -> FloatArray:
    """Return the least change (H, W, C) that shrinks to what of (h, w, C) exceeds ``slack``.

    ``size`` is (W, H).
    """
    planes = (missing - np.clip(missing, -slack, slack)).transpose(2, 0, 1)
    planes = np.ascontiguousarray(planes, np.float32)
    change = least_change(planes, _size(missing), size, slice(0, size[1]))
    return change.transpose(1, 2, 0)


def _size(picture: FloatArray) -> tuple[int, int]:
    """Return (width, height)."""
    return picture.shape[1], picture.shape[0]


def _ramp(length: int) -> FloatArray:
    """Return weights that rise from both ends of an axis over ``MARGIN`` pixels of the photo."""
    centres = np.arange(length, dtype=np.float32) + 0.5
    return np.clip(np.minimum(centres, length - centres) / MARGIN, 0, 1)
