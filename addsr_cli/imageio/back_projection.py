"""The least change of a picture that makes its reduced copy change by a given amount.

Resizing to a smaller size is a linear map A, separable into one matrix per axis. Its pseudo-inverse
A+ = A^T (A A^T)^-1 (Moore-Penrose) turns a change of the small picture into the change of the large
one that has the least energy among all that shrink to it: A(x + A+ e) = A x + e. ``A+ y`` is what a
small picture y tells of the large one, and x - A+ A x the part of x of which y tells nothing.

The condition number of A A^T is about 2 per axis for any scale above 1.05, and 5 at 1.05, so its
inverse falls off within a few pixels and every window of the result needs a few pixels around it
only.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from addsr_cli.imageio.photo import FloatArray, Samples, as_float, float_planes, rounded
from addsr_cli.imageio.resample import Taps, apply_taps, filter_rows, reach, taps

REACH = 12  # pixels of the small picture; what lies beyond weighs below 1e-5
_CHUNK = 64  # pixels of the small picture whose inverse is computed at once
_MARGIN = 2 * REACH


def shrink_rows(
    samples: Samples,
    size: tuple[int, int],
    rows: slice,
    bit_depth: int,
) -> FloatArray:
    """Return rows of samples (H, W, C) resized to ``size`` (width, height), float32 (C, rows, w).

    It is ``resize`` of the samples as a file of ``bit_depth``, 8 or 16, holds them.
    """
    seen, down = reach(taps(samples.shape[0], size[1]), rows)
    part = samples[seen]
    pixels = as_float(rounded(part) if bit_depth == 8 and part.dtype == np.uint16 else part)
    if samples.shape[0] != size[1]:
        pixels = filter_rows(pixels, down)
    planes = float_planes(pixels)  # of the fewer rows
    across = None if samples.shape[1] == size[0] else taps(samples.shape[1], size[0])
    return apply_taps(planes, across=across, down=None)


def least_change(
    change: FloatArray,
    small_size: tuple[int, int],
    size: tuple[int, int],
    rows: slice,
    top: int = 0,
) -> FloatArray:
    """Return rows of the picture of ``size`` that shrinks to ``change``, of least energy.

    ``change`` is float32 (C, h, w), the rows from ``top`` of a picture of ``small_size``; it must
    hold all rows that ``rows`` need, see ``rows_needed``. Sizes are (width, height). Returns
    float32 (C, rows, width).
    """
    seen, down = reach(_inverse_taps(size[1], small_size[1]), rows)
    across = None if size[0] == small_size[0] else _inverse_taps(size[0], small_size[0])
    part = change[:, seen.start - top : seen.stop - top]
    planes = apply_taps(part, across=across, down=None)
    if size[1] == small_size[1]:
        return planes.copy()
    pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))  # as the samples it is added to lie
    return filter_rows(pixels, down).transpose(2, 0, 1)


def rows_needed(height: int, small_height: int, rows: slice) -> slice:
    """Return the rows of the small picture that rows of the large one are computed from."""
    return reach(_inverse_taps(height, small_height), rows)[0]


def rounding_gain(size: tuple[int, int], small_size: tuple[int, int]) -> float:
    """Return the standard deviation that independent noise of deviation 1 keeps when shrunk."""
    gain = 1.0
    for length, small in zip(size, small_size, strict=True):
        _, weights = taps(length, small)
        gain *= float(np.sqrt((weights[small // 2] ** 2).sum()))
    return gain


@lru_cache(maxsize=8)
def _inverse_taps(length: int, small: int) -> Taps:
    """Return, for every position of the large axis, where it reads the small one, and weights.

    ``length`` is that of the large axis. The inverse of a part of A A^T equals that part of the
    inverse, up to what ``_MARGIN`` cuts off.
    """
    if length == small:
        return taps(length, small)
    count = min(small, 2 * REACH + 1)
    centres = np.minimum((np.arange(length) + 0.5) * small / length, small - 0.5).astype(np.int64)
    first = np.clip(centres - REACH, 0, small - count)
    weights = np.empty((length, count), np.float32)
    for start in range(0, small, _CHUNK):
        own = np.flatnonzero((centres >= start) & (centres < start + _CHUNK))
        seen = slice(max(0, start - _MARGIN), min(small, start + _CHUNK + _MARGIN))
        inverse, left = _inverse(length, small, seen)
        places = first[own, None] - seen.start + np.arange(count)
        weights[own] = np.take_along_axis(inverse[own - left], places, axis=1)
    return first, weights


def _inverse(length: int, small: int, seen: slice) -> tuple[NDArray[np.float64], int]:
    """Return A+ for positions ``seen`` of the small axis: (large, seen), and its first row."""
    first, weights = taps(length, small)
    left = int(first[seen].min())
    right = int(first[seen].max()) + weights.shape[1]
    matrix = np.zeros((seen.stop - seen.start, right - left))
    places = first[seen, None] - left + np.arange(weights.shape[1])
    np.put_along_axis(matrix, places, weights[seen].astype(np.float64), axis=1)
    # pinv, not inv: where rounding made this axis no longer than the small one, A has no inverse
    return matrix.T @ np.linalg.pinv(matrix @ matrix.T, hermitian=True), left
