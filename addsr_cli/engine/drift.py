"""How far a result departs from its input, and how it is brought back within a bound.

Drift is what remains when the result is shrunk to the size of the input, by the product's own
``resize``, and the input is subtracted: per pixel and channel, in 1/255. ``hold`` brings it within
a bound by back-projection (Irani & Peleg 1991), here with the exact inverse of the operator: the
excess e of the drift over the bound is removed by the least change that shrinks to e. It runs over
the whole output after the last pass, so that no plan of tiles, no model and no number of passes
shows in it; what it holds in memory is a few bands of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from addsr_cli import imageio
from addsr_cli.imageio import Photo
from addsr_cli.imageio.back_projection import (
    REACH,
    least_change,
    rounding_gain,
    rows_needed,
    shrink_rows,
)
from addsr_cli.imageio.photo import FloatArray, Samples, as_float, float_planes, quantize

SHARE = 0.999  # of the pixels that a bound holds for: the 99.9th percentile
# Clipping to [0, 1] undoes a part of every correction: one is enough for most photos, a few for
# those with clipped whites or blacks. From the second on each goes further than what is missing,
# up to the other side of the band between the bounds, which halves the rounds.
RELAXATION = 2.5
LEAST_PROGRESS = 0.95  # of what is missing, to what a further round must bring it
PATIENCE = 6  # rounds without that
# Of the noise that rounding leaves in the drift: the largest among a thousand is below this.
ROUNDING_DEVIATIONS = 3.3
_LEVELS = 255.0
_BINS_PER_LEVEL = 64
_ROUNDING = 1e-3  # of a bin, from float arithmetic
_BINS = 256 * _BINS_PER_LEVEL
_BAND_PIXELS = 1 << 18  # of the output, in one band of rows


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Departure from the input in 1/255: mean, 99.9th percentile and largest of all samples.

    ``bound`` is what was asked for, None when drift was only measured.
    """

    mean: float
    p999: float
    largest: float
    bound: float | None = None

    @property
    def within_bound(self) -> bool:
        """Whether mean and 99.9th percentile are within the bound; True without one."""
        return self.bound is None or max(self.mean, self.p999) <= self.bound + 1e-6

    def record(self) -> dict[str, float | bool | None]:
        """Return the fields of the JSON record."""
        return {
            "bound": self.bound,
            "mean": round(self.mean, 4),
            "p999": round(self.p999, 4),
            "largest": round(self.largest, 4),
            "within_bound": self.within_bound,
        }


def worst_drift(drifts: Sequence[Drift | None]) -> Drift | None:
    """Return the largest of each figure, as of the frames of an animation; None without any."""
    known = [drift for drift in drifts if drift is not None]
    if not known:
        return None
    return Drift(
        mean=max(drift.mean for drift in known),
        p999=max(drift.p999 for drift in known),
        largest=max(drift.largest for drift in known),
        bound=known[0].bound,
    )


def measure_drift(samples: Samples, photo: Photo) -> Drift:
    """Return the drift of samples (H, W, 1 or 3) of any depth. Alpha is not looked at."""
    return _Drifting(samples, photo, bit_depth=_depth(samples)).drift()


def hold(
    samples: Samples,
    photo: Photo,
    bound: float,
    bit_depth: int,
) -> Drift:
    """Bring the drift of samples (H, W, 1 or 3) within ``bound``, in place; return what it is now.

    Where drift is within the bound it stays as it is. ``samples`` are best uint16 even where the
    file has 8 bits: ``bit_depth`` is that of the file, whose rounding counts. Where no picture
    within [0, 1], or none of that depth, meets the bound, the result is the nearest that was found.
    """
    result = _Drifting(samples, photo, bit_depth=bit_depth)
    touched = result.correct(bound, set(range(len(result.bands))))
    result.measure(touched)
    drift = result.drift(bound)
    nearest, rounds = drift.p999, 0
    while touched and not drift.within_bound and rounds < PATIENCE:
        touched = result.correct(bound, touched, RELAXATION)
        result.measure(touched)
        drift = result.drift(bound)
        has_progress = drift.p999 - bound < LEAST_PROGRESS * (nearest - bound)
        nearest = min(nearest, drift.p999)
        rounds = 0 if has_progress else rounds + 1
    return drift


def follow(
    samples: Samples,
    photo: Photo,
    mask: FloatArray,
    bound: float,
    bit_depth: int,
) -> None:
    """Bring samples (H, W, 1 or 3) to the photo where ``mask`` is 1, in place.

    ``mask`` is (h, w) in [0, 1], of any size: that share of what drift exceeds ``bound``, in 1/255,
    is removed by the least change, twice, since clipping undoes a part of the first.
    """
    if not mask.any():
        return
    result = _Drifting(samples, photo, bit_depth=bit_depth)
    result.share = imageio.resize(mask[:, :, None], photo.size)[:, :, 0]
    for _ in range(2):
        result.correct(bound, set(range(len(result.bands))))


def drift_of_file(source: Path | bytes, photo: Photo) -> Drift | None:
    """Return the drift of a written file against the photo that it was made from.

    It is what a lossy encoder has left of the bound. None where the file holds other channels than
    the photo, as a JPEG of a photo with alpha does.
    """
    written = imageio.read(source)
    if written.has_alpha != photo.has_alpha or written.gray != photo.gray:
        return None
    return measure_drift(written.colour, imageio.fill_transparent(photo))


class _Drifting:
    """A result beside its input, in bands of rows of the input."""

    def __init__(
        self,
        samples: Samples,
        photo: Photo,
        *,
        bit_depth: int,
    ) -> None:
        self.samples = samples
        self.photo = photo
        self.bit_depth = bit_depth
        self.size = (samples.shape[1], samples.shape[0])
        self.bands = list(_bands(photo.height, self.size))
        self.counts = np.zeros((len(self.bands), _BINS), np.int64)
        self.sums = np.zeros(len(self.bands))
        self.largest = np.zeros(len(self.bands))
        self.share: FloatArray | None = None  # (h, w) of the photo, what is removed of an excess

    def drift(self, bound: float | None = None) -> Drift:
        """Return the drift of all bands as they were last measured."""
        if not self.counts.any():
            self.measure(set(range(len(self.bands))))
        counts = self.counts.sum(axis=0)
        total = int(counts.sum())
        largest = float(self.largest.max())
        place = int(np.searchsorted(np.cumsum(counts), SHARE * total))
        return Drift(
            mean=float(self.sums.sum()) / total,
            p999=min(largest, (place + 1) / _BINS_PER_LEVEL),
            largest=largest,
            bound=bound,
        )

    def measure(self, numbers: set[int]) -> None:
        """Measure these bands."""
        for number in sorted(numbers):
            self._signed(number)

    def correct(
        self,
        bound: float,
        numbers: set[int],
        relaxation: float = 1.0,
    ) -> set[int]:
        """Measure these bands, remove what exceeds the bound, and return what to measure again.

        A band is changed only when all that read its rows have been measured. ``relaxation``
        multiplies what is removed.
        """
        rounding = _rounding(self.size, self.photo.size, self.bit_depth)
        target = max(0.0, bound - rounding)
        excess: dict[int, FloatArray | None] = {}
        changed: set[int] = set()
        for number in range(len(self.bands) + 1):
            if number < len(self.bands) and number in numbers:
                part = _excess(self._signed(number), bound, target, relaxation)
                if part is not None and self.share is not None:
                    part *= self.share[self.bands[number]]
                excess[number] = part
            neighbours = range(max(0, number - 2), min(len(self.bands), number + 1))
            if number and any(excess.get(other) is not None for other in neighbours):
                self._change(number - 1, excess)
                changed.add(number - 1)
            excess.pop(number - 2, None)
        return {
            other
            for number in changed
            for other in (number - 1, number, number + 1)
            if 0 <= other < len(self.bands)
        }

    def _signed(self, number: int) -> FloatArray:
        """Return the signed drift of a band, (C, rows, width) in 1/255, and count it."""
        band = self.bands[number]
        shrunk = shrink_rows(self.samples, self.photo.size, band, self.bit_depth)
        shrunk -= float_planes(self.photo.colour[band])
        shrunk *= _LEVELS
        size = np.abs(shrunk)
        self.sums[number] = size.sum(dtype=np.float64)
        self.largest[number] = size.max()
        # a bin holds what is above its lower edge, up to its upper one
        places = np.ceil(size * _BINS_PER_LEVEL - _ROUNDING).astype(np.int64) - 1
        np.clip(places, 0, _BINS - 1, out=places)
        self.counts[number] = np.bincount(places.ravel(), minlength=_BINS)
        return shrunk

    def _change(self, number: int, excess: dict[int, FloatArray | None]) -> None:
        """Subtract the least change that shrinks to the excess from the rows of a band."""
        band = self.bands[number]
        height, width = self.samples.shape[:2]
        rows = slice(
            -(-band.start * height // self.photo.height),
            -(-band.stop * height // self.photo.height),
        )
        needed = rows_needed(height, self.photo.height, rows)
        planes = np.zeros(
            (self.samples.shape[2], needed.stop - needed.start, self.photo.width), np.float32
        )
        for other in (number - 1, number, number + 1):
            part = excess.get(other)
            if part is None:
                continue
            start = self.bands[other].start
            own = slice(max(needed.start, start), min(needed.stop, self.bands[other].stop))
            planes[:, own.start - needed.start : own.stop - needed.start] = part[
                :, own.start - start : own.stop - start
            ]
        change = least_change(planes, self.photo.size, (width, height), rows, needed.start)
        change = change.transpose(1, 2, 0)
        change /= -np.float32(_LEVELS)
        change += as_float(self.samples[rows])
        quantize(change, self.samples[rows])


def _excess(
    drift: FloatArray,
    bound: float,
    target: float,
    relaxation: float,
) -> FloatArray | None:
    """Return what exceeds ``target`` where drift exceeds ``bound``; None where nothing does."""
    beyond = np.abs(drift) > bound
    if not beyond.any():
        return None
    excess = drift - np.clip(drift, -target, target)
    return np.where(beyond, excess * np.float32(relaxation), np.float32(0))


def _rounding(
    size: tuple[int, int],
    small_size: tuple[int, int],
    bit_depth: int,
) -> float:
    """Return what rounding adds to the drift of all but a thousandth of the pixels, in 1/255."""
    step = _LEVELS / (2**bit_depth - 1)
    deviation = step / 12**0.5 * rounding_gain(size, small_size)
    return min(step / 2, ROUNDING_DEVIATIONS * deviation)


def _bands(height: int, size: tuple[int, int]) -> Iterator[slice]:
    """Yield bands of rows of the input; each but a single one is at least as high as a filter."""
    output_rows = max(1, _BAND_PIXELS // size[0])
    rows = max(2 * REACH, output_rows * height // size[1])
    for start in range(0, height, rows):
        stop = start + rows
        if height - stop < 2 * REACH:
            yield slice(start, height)
            return
        yield slice(start, stop)


def _depth(samples: Samples) -> int:
    return 8 if samples.dtype == np.uint8 else 16
