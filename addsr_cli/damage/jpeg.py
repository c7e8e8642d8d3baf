"""Quality of the JPEG compression that a photo went through, from its tables or its pixels.

Quality is that of the Independent JPEG Group's encoder: q below 50 multiplies the standard table
of luminance (ITU-T T.81, table K.1) by 50 / q, q from 50 on by 2 - q / 50. In pixels, compression
leaves the coefficients of every 8 x 8 block near multiples of the table's steps (Fan and de
Queiroz, Identification of bitmap compression history, 2003).
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from addsr_cli.imageio.photo import FloatArray

BLOCK = 8
STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
HIGHEST = 95  # a photo of better quality has steps that rounding hides, and no damage to see
LOWEST = 5
# Frequencies that are looked at: those along an edge of the table hold most of what is not 0.
_ROWS, _COLUMNS = np.nonzero(np.add.outer(np.arange(BLOCK), np.arange(BLOCK)) % 9 < 5)
_FREQUENCIES = [(int(row), int(column)) for row, column in zip(_ROWS, _COLUMNS, strict=True)][1:]
_BINS_PER_UNIT = 4
_LARGEST = 256  # coefficient that counts; larger ones are rare
_ROUNDING = 0.4  # deviation of a coefficient that was rounded to pixels, in levels
_ODDS_OF_OTHER = 0.15  # of a coefficient that clipping moved
_STARTS = 2  # of blocks, rows and columns, that are tried
_SEARCHED = 9  # squares, for another start of the grid
_LEAST_EVIDENCE = 12.0  # natural logarithm of how much better compression explains the pixels
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


def quality_of_table(table: Sequence[int]) -> int:
    """Return the quality, 1 to 100, whose table of luminance is nearest to one of 64 steps.

    The order of the steps does not matter.
    """
    steps = np.sort(np.asarray(table, np.float64))
    distances = [np.abs(np.log(np.sort(_table(q).ravel()) / steps)).sum() for q in range(1, 101)]
    return int(np.argmin(distances)) + 1


def quality_of_pixels(squares: Sequence[FloatArray]) -> int | None:
    """Return the quality, 5 to 95, that the pixels of squares (h, w, 1 or 3) show.

    None where they show none: never compressed, better than 95, or changed since. The grid of
    blocks may start anywhere, as in a part that was cut out.
    """
    planes = [
        square @ _GRAY if square.shape[2] == 3 else square[:, :, 0]
        for square in squares
        if min(square.shape[:2]) >= 3 * BLOCK
    ]
    if not planes:
        return None
    evidence = _evidence(planes, (0, 0))
    if evidence.max() < _LEAST_EVIDENCE:  # the photo was cut out of another, or never compressed
        few = planes[:_SEARCHED]
        corners = product(_grid([plane.T for plane in few]), _grid(few))
        evidence = np.max([_evidence(few, corner) for corner in corners], axis=0)
    best = int(np.argmax(evidence))
    return best + LOWEST if evidence[best] >= _LEAST_EVIDENCE else None


def _table(quality: int) -> NDArray[np.int64]:
    """Return the table of luminance for a quality of 1 to 100, (8, 8)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table: NDArray[np.int64] = np.clip((STANDARD * percent + 50) // 100, 1, 255)
    return table


def _grid(planes: Sequence[FloatArray]) -> list[int]:
    """Return where blocks may start, columns 0 to 7: those that differ most from the one before."""
    sums = np.zeros(BLOCK)
    for plane in planes:
        steps = np.abs(plane[:, 1:] - plane[:, :-1])
        beyond = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
        means = beyond.mean(axis=0)  # of the differences between columns 1 and 2, 2 and 3, ...
        for column in range(BLOCK):
            own = means[(column - 2) % BLOCK :: BLOCK]
            sums[column] += float(own.mean()) if own.size else 0.0
    return [int(column) for column in np.argsort(sums)[-_STARTS:]]


def _evidence(planes: Sequence[FloatArray], corner: tuple[int, int]) -> NDArray[np.float64]:
    """Return, for every quality, how much better it explains the pixels than no compression."""
    coefficients = np.concatenate([_blocks(plane, corner) for plane in planes])
    total = np.zeros(HIGHEST + 1 - LOWEST)
    tables = np.stack([_table(quality) for quality in range(LOWEST, HIGHEST + 1)])
    for row, column in _FREQUENCIES:
        size = np.abs(coefficients[:, row, column]) * _BINS_PER_UNIT
        places = np.minimum(np.rint(size).astype(np.int64), _LARGEST * _BINS_PER_UNIT)
        counts = np.bincount(places, minlength=_LARGEST * _BINS_PER_UNIT + 1)
        by_step = _gains() @ counts
        total += by_step[tables[:, row, column]]
    return total


def _blocks(plane: FloatArray, corner: tuple[int, int]) -> FloatArray:
    """Return the cosine transform of the whole blocks from ``corner`` (row, column) on."""
    plane = plane[corner[0] :, corner[1] :] - np.float32(128)
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    split = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    blocks = split.transpose(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK)
    basis = _cosines()
    return np.asarray(basis @ blocks @ basis.T, np.float32)


@cache
def _cosines() -> FloatArray:
    """Return the orthonormal basis of the cosine transform, (frequency, place)."""
    places = np.arange(BLOCK)
    cosines = np.cos(np.pi / BLOCK * np.outer(places, places + 0.5)) * (2 / BLOCK) ** 0.5
    cosines[0] /= 2**0.5
    return np.asarray(cosines, np.float32)


@cache
def _gains() -> NDArray[np.float64]:
    """Return log-likelihood ratios (step, bin of the coefficient's size) of multiples of a step.

    Coefficients that round to 0 say little, since most are small in any photo: they count only
    against a step that is less than they need.
    """
    sizes = np.arange(_LARGEST * _BINS_PER_UNIT + 1) / _BINS_PER_UNIT
    steps = np.arange(256)[:, None].clip(1)
    number = np.rint(sizes / steps)
    distance = sizes - number * steps
    width = 2.507 * _ROUNDING
    near = np.exp(-0.5 * (distance / _ROUNDING) ** 2) / width
    likely = (1 - _ODDS_OF_OTHER) * near + _ODDS_OF_OTHER / steps
    gains = np.log(likely * steps)
    gains[number == 0] = np.minimum(gains[number == 0], 0)
    gains[:, -1] = 0  # what is larger than counts
    gains[:2] = 0  # a step of 1 cannot be told from none
    return np.asarray(gains, np.float64)
