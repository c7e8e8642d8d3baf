"""How much of a result its photo tells, and how much the model made up.

With B the plain enlargement, A the resize to the photo's size and A+ its pseudo-inverse (see
``back_projection``), a result R of the photo y is the sum of

    B y + A+ (y - A B y)        what the photo tells: the plain enlargement, made to shrink to y
    A+ (A R - y)                drift, which contradicts the photo
    (1 - A+ A) (R - B y)        invented: beyond the plain enlargement, and shrinks to nothing

A plain enlargement has invented nothing. Pictures that differ in what is invented have the same
photo. What differs between seeds is invented too, wherever it lies: ``seed_spread`` measures it.

A model that cleans a damaged photo decides what of its texture is damage. Of texture of variance s
under damage of variance D, even the best estimate (Wiener's) leaves s D / (s + D) open: that part
is in doubt. D is what the model removed all over the picture, the median of the local variance of
the drift, so a shift of colours is none; s is the variance of the result's own visible texture.

The energies of all are local means over a smooth window, on a grid of cells of 4 x 4 pixels of the
result. All is computed in bands of rows from finished results, so that no model and no plan of
tiles shows in it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli import detection
from addsr_cli.detection import KINDS
from addsr_cli.imageio import Photo
from addsr_cli.imageio.back_projection import REACH, least_change, rows_needed, shrink_rows
from addsr_cli.imageio.photo import FloatArray, Samples, float_planes
from addsr_cli.imageio.resample import Taps, apply_taps, reach, taps

SEEDS = 3  # pictures of a model that samples, whose spread is measured
CELL = 4  # pixels of the result, the side of a cell of the map
WINDOW = 2.0  # pixels of the photo, the deviation of the Gaussian window
TEXTURE = 1.0  # pixels of the photo: what varies under a window this small is texture
FULL = 32.0  # of 255: departure from the photo that is drawn in full colour
INVENTED = (255, 140, 0)  # orange
DRIFT = (40, 110, 255)  # blue
_LEVELS = 255.0
_BAND_PIXELS = 1 << 18  # of the result, in one band of rows
_SMALLEST = 1e-3  # of 255: variation below it is none


@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """What a result owes to its photo.

    ``invented`` is a share, 0 to 1, and ``areas`` the same of the largest faces and lines of text,
    with their rectangles in the photo. ``departure`` is the map (rows, columns) of cells, root mean
    square in 1/255 of what is invented, in doubt, drifted or varies with the seed; ``picture``
    draws it over the result, uint8 (rows, columns, 3). ``doubt`` is texture that the photo shows
    only through its damage, and ``spread`` the standard deviation over seeds (None where there was
    one seed), both in 1/255, root mean square over the picture.
    """

    invented: float
    doubt: float
    areas: tuple[dict[str, Any], ...]
    departure: FloatArray
    picture: NDArray[np.uint8]
    spread: float | None = None

    def photo(self) -> Photo:
        """Return the picture as a photo."""
        return Photo(samples=self.picture)

    def record(self) -> dict[str, Any]:
        """Return the fields of the JSON record; shares in percent."""
        return {
            "invented": round(100 * self.invented, 1),
            "departure": round(float(np.sqrt((self.departure**2).mean())), 2),
            "doubt": round(self.doubt, 2),
            "spread": None if self.spread is None else round(self.spread, 2),
            "areas": list(self.areas),
        }


def seed_spread(first: Samples, others: Iterable[Samples]) -> FloatArray:
    """Return the variance of pictures (H, W, C) of independent seeds, in 1/255 squared, by cell.

    Two of them differ by twice their variance, in the mean square. ``others`` are taken one by one.
    """
    height, width = first.shape[:2]
    total = np.zeros((-(-height // CELL), -(-width // CELL)), np.float32)
    count = 0
    for other in others:
        count += 1
        for rows in _bands(height, width, height):
            difference = (float_planes(first[rows]) - float_planes(other[rows])) * _LEVELS
            own = slice(rows.start // CELL, -(-rows.stop // CELL))
            total[own] += _by_cell(difference**2).mean(axis=2)
    return np.asarray(total / max(1, 2 * count), np.float32)


def measure_trust(
    samples: Samples,
    photo: Photo,
    spread: FloatArray | None = None,
) -> Trust:
    """Return what samples (H, W, 1 or 3) owe to an opaque photo that is no larger than they are.

    ``spread`` is that of ``seed_spread``, where there are results of other seeds.
    """
    energies = _Energies(samples, photo, spread)
    areas = [
        area.record() | {"invented": round(100 * energies.share(energies.cells(area)), 1)}
        for area in detection.detect(photo, KINDS)
    ]
    everything = (slice(None), slice(None))
    return Trust(
        invented=energies.share(everything),
        areas=tuple(areas),
        doubt=float(np.sqrt(energies.doubt.mean())),
        departure=np.sqrt(energies.unconfirmed + energies.drift),
        picture=energies.picture(),
        spread=None if spread is None else float(np.sqrt(spread.mean())),
    )


def worst_trust(trusts: Sequence[Trust | None]) -> Trust | None:
    """Return that with most invention, as of the frames of an animation; None without any."""
    known = [trust for trust in trusts if trust is not None]
    return max(known, key=lambda trust: trust.invented) if known else None


class _Energies:
    """Local energies of the parts of a result, (rows, columns) of cells, in 1/255 squared.

    ``variance`` is that within the window of what the photo tells. ``unconfirmed`` is
    everything drawn in orange: invented, in doubt, or different with another seed.
    """

    def __init__(
        self,
        samples: Samples,
        photo: Photo,
        spread: FloatArray | None = None,
    ) -> None:
        self.samples = samples
        self.photo = photo
        height, width = samples.shape[:2]
        shape = (-(-height // CELL), -(-width // CELL))
        self.invented = np.empty(shape, np.float32)
        self.drift = np.empty(shape, np.float32)
        square = np.empty(shape, np.float32)
        self.mean = np.empty((*shape, samples.shape[2]), np.float32)
        shift = np.empty_like(self.mean)  # the mean of the drift
        for rows in _bands(height, width, photo.height):
            own = slice(rows.start // CELL, -(-rows.stop // CELL))
            measured, drift, invented = self._parts(rows)
            self.invented[own] = _by_cell(invented**2).mean(axis=2)
            self.drift[own] = _by_cell(drift**2).mean(axis=2)
            square[own] = _by_cell(measured**2).mean(axis=2)
            self.mean[own] = _by_cell(measured)
            shift[own] = _by_cell(drift)
        window = self._window(WINDOW)
        damage = float(np.median(_variance(self.drift, shift, window)))
        texture = _smooth(_variance(square, self.mean, self._window(TEXTURE)), window)
        self.doubt = texture * damage / (texture + damage + _SMALLEST**2)
        self.variance = _variance(square, self.mean, window)
        self.invented = _smooth(self.invented, window)
        self.drift = _smooth(self.drift, window)
        self.unconfirmed = self.invented + self.doubt
        if spread is not None:
            self.unconfirmed += _smooth(spread, window)

    def share(self, part: tuple[slice, slice]) -> float:
        """Return the invented share of all variation in a part of the map, 0 to 1."""
        invented = float(self.invented[part].sum(dtype=np.float64))
        total = invented + float(self.variance[part].sum(dtype=np.float64))
        return invented / total if total > _SMALLEST**2 * self.invented[part].size else 0.0

    def cells(self, area: detection.Area) -> tuple[slice, slice]:
        """Return the part of the map that an area of the photo covers, at least one cell."""
        (width, small_width), (height, small_height) = self._sides()
        down, across = height / small_height / CELL, width / small_width / CELL
        top = min(int(area.top * down), self.variance.shape[0] - 1)
        left = min(int(area.left * across), self.variance.shape[1] - 1)
        bottom = int(np.ceil((area.top + area.height) * down))
        right = int(np.ceil((area.left + area.width) * across))
        return slice(max(0, top), max(bottom, top + 1)), slice(max(0, left), max(right, left + 1))

    def picture(self) -> NDArray[np.uint8]:
        """Return the result in grey under the colours of what it invented and where it drifted."""
        energy = self.unconfirmed + self.drift
        amount = np.minimum(1, np.sqrt(energy) / FULL)[..., None]
        share = (self.unconfirmed / np.maximum(energy, _SMALLEST**2))[..., None]
        colour = share * np.array(INVENTED) + (1 - share) * np.array(DRIFT)
        grey = np.clip(self.mean.mean(axis=2, keepdims=True), 0, _LEVELS)
        drawn: NDArray[np.uint8] = np.rint((1 - amount) * grey + amount * colour).astype(np.uint8)
        return drawn

    def _parts(self, rows: slice) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rows of what is not invented, drifted, and invented: (C, rows, width), 1/255."""
        height, width = self.samples.shape[:2]
        size, small = (width, height), self.photo.size
        needed = rows_needed(height, small[1], rows)
        depth = 8 if self.samples.dtype == np.uint8 else 16
        shrunk = shrink_rows(self.samples, small, needed, depth)
        drift = shrunk - float_planes(self.photo.colour[needed])
        seen, down = reach(taps(height, small[1]), needed)
        plain = self._enlarged(seen)  # of all rows that the shrunk ones are computed from
        shrunk -= _resized(plain, taps(width, small[0]), down, is_same=size == small)
        pixels = float_planes(self.samples[rows])
        invented = pixels - plain[:, rows.start - seen.start : rows.stop - seen.start]
        invented -= least_change(shrunk, small, size, rows, needed.start)
        drift = least_change(drift, small, size, rows, needed.start)
        for part in (pixels, drift, invented):
            part *= np.float32(_LEVELS)
        pixels -= invented
        return pixels, drift, invented

    def _enlarged(self, rows: slice) -> FloatArray:
        """Return rows of the plain enlargement, (C, rows, width)."""
        height, width = self.samples.shape[:2]
        seen, down = reach(taps(self.photo.height, height), rows)
        planes = float_planes(self.photo.colour[seen])
        is_same = self.photo.size == (width, height)
        return _resized(planes, taps(self.photo.width, width), down, is_same=is_same)

    def _window(self, deviation: float) -> tuple[float, ...]:
        """Return a deviation in pixels of the photo, across and down, in cells."""
        return tuple(deviation * side / CELL / small for side, small in self._sides())

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return (result, photo) of the width, and of the height."""
        height, width = self.samples.shape[:2]
        return (width, self.photo.width), (height, self.photo.height)


def _bands(height: int, width: int, small_height: int) -> Iterator[slice]:
    """Yield bands of whole cells; each reads as many rows again on both sides, not many more."""
    rows = max(_BAND_PIXELS // width, 2 * REACH * height // small_height)
    rows = max(CELL, rows // CELL * CELL)
    for start in range(0, height, rows):
        yield slice(start, min(height, start + rows))


def _resized(
    planes: FloatArray,
    across: Taps,
    down: Taps,
    *,
    is_same: bool,
) -> FloatArray:
    return planes if is_same else apply_taps(planes, across=across, down=down)


def _by_cell(planes: FloatArray) -> FloatArray:
    """Return means (rows, columns, C) over cells of planes (C, H, W); the last may be smaller."""
    _, height, width = planes.shape
    tops, lefts = np.arange(0, height, CELL), np.arange(0, width, CELL)
    sums = np.add.reduceat(np.add.reduceat(planes, tops, axis=1), lefts, axis=2)
    sums /= np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)
    return sums.transpose(1, 2, 0)


def _variance(
    square: FloatArray,
    mean: FloatArray,
    window: Sequence[float],
) -> FloatArray:
    """Return the variance under a Gaussian window, of means by cell (rows, columns[, C])."""
    local = _smooth(mean, window).reshape(mean.shape)
    variance: FloatArray = np.maximum(_smooth(square, window) - (local**2).mean(axis=2), 0)
    return variance


def _smooth(energy: FloatArray, deviations: Sequence[float]) -> FloatArray:
    """Return Gaussian means; ``deviations`` are across and down, in cells."""
    across, down = deviations
    blurred: Any = cv2.GaussianBlur(
        energy,
        (0, 0),
        sigmaX=across,
        sigmaY=down,
        borderType=cv2.BORDER_REFLECT,
    )
    return np.asarray(blurred, np.float32)
