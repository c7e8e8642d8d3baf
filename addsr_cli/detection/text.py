"""Lines of text: strokes of one polarity, of similar height, side by side.

Letters stand out from what is around them: an adaptive threshold, once for dark and once for
bright strokes, cuts them out as connected components. What has the shape of a letter is chained to
its neighbour on the right, and a chain of four or more is a line.
"""

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.detection.areas import Area
from addsr_cli.imageio.photo import FloatArray

Values = NDArray[np.float64]
Edges = tuple[int, int, int, int]  # left, top, right, bottom

_LEAST_HEIGHT, _MOST_HEIGHT = 6, 160  # pixels of a letter
_LEAST_CONTRAST = 18.0  # of 255, between a stroke and the mean around it
_WINDOWS = (15, 41)  # pixels of the mean: below that for small letters, and for large ones
_FILL = (0.12, 0.92)  # share of its box that a letter's ink covers
_WIDTH = (0.08, 4.0)  # width of a letter by its height; joined letters are wide
_SIMILAR = 1.6  # of heights of neighbours
_GAP = 1.1  # between neighbours, in heights
_SHIFT = 0.45  # of their middles, in heights
_DISTINCT = 2.2  # contrast of strokes by the deviation of the levels in and around them
_SAME_INK = 0.35  # difference of neighbours' ink, by their contrast
_BASELINE = 0.12  # deviation of the lower edges from a straight line, in heights
_EVEN_STROKES = 0.3  # deviation by the mean
_EVEN_LEVELS = 0.25  # deviation of ink and of background along a line, by the contrast
_LEAST_LETTERS = 4
_MOST_COMPONENTS = 6000  # beyond that it is texture


def find_text(gray: FloatArray) -> list[Area]:
    """Return the lines of text in a grey picture (h, w) in [0, 255], in its pixels."""
    lines = []
    for window in _WINDOWS:
        mean = cv2.blur(gray, (window, window))
        for sign in (1, -1):
            lines += _lines(gray, sign * (mean - gray) > _LEAST_CONTRAST)
    return [
        Area(kind="text", left=left, top=top, width=right - left, height=bottom - top)
        for left, top, right, bottom in _merged(lines)
    ]


@dataclass(frozen=True)
class _Letters:
    """Connected components, all arrays (n,): edges in pixels, levels and deviations of 255.

    ``ink`` and ``back`` are the mean levels within and around the strokes, ``spread`` the
    deviation within each, ``stroke`` half the greatest width of a stroke in pixels.
    """

    left: Values
    top: Values
    right: Values
    bottom: Values
    ink: Values
    back: Values
    spread: Values
    stroke: Values

    @property
    def height(self) -> Values:
        return self.bottom - self.top

    def chosen(self, choice: NDArray[Any]) -> "_Letters":
        """Return some of the letters, by a mask or by positions."""
        return _Letters(*(getattr(self, field.name)[choice] for field in fields(self)))


def _lines(gray: FloatArray, ink: NDArray[np.bool_]) -> list[Edges]:
    """Return (left, top, right, bottom) of the chains of letters."""
    count: int
    labels: NDArray[np.int32]
    stats: NDArray[np.int32]
    components: Any = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    count, labels, stats, _ = components
    shaped = np.flatnonzero(_has_shape(stats))
    shaped = shaped[shaped > 0]
    if not _LEAST_LETTERS <= len(shaped) <= _MOST_COMPONENTS:
        return []
    letters = _measured(gray, labels, stats, shaped, count)
    distinct = (letters.back - letters.ink) ** 2 >= _DISTINCT**2 * letters.spread**2
    letters = letters.chosen(distinct)
    letters = letters.chosen(np.argsort(letters.left))
    group = _chains(letters)
    lines = []
    for number, size in zip(*np.unique(group, return_counts=True), strict=True):
        if size >= _LEAST_LETTERS:
            line = letters.chosen(group == number)
            if _is_line(line):
                lines.append(
                    (
                        int(line.left.min()),
                        int(line.top.min()),
                        int(line.right.max()),
                        int(line.bottom.max()),
                    )
                )
    return lines


def _has_shape(stats: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which components (left, top, width, height, area) have the shape of a letter."""
    _, _, width, height, area = stats.T
    fill = area / (width * height)
    shape = width / height
    has_shape: NDArray[np.bool_] = (
        (height >= _LEAST_HEIGHT)
        & (height <= _MOST_HEIGHT)
        & (shape >= _WIDTH[0])
        & (shape <= _WIDTH[1])
        & (fill >= _FILL[0])
        & ((fill <= _FILL[1]) | (shape < 0.5))
    )
    return has_shape


def _measured(
    gray: FloatArray,
    labels: NDArray[np.int32],
    stats: NDArray[np.int32],
    chosen: NDArray[np.int64],
    count: int,
) -> _Letters:
    """Return the chosen components with their levels and strokes."""
    flat, values = labels.ravel(), gray.ravel().astype(np.float64)
    area = stats[chosen, cv2.CC_STAT_AREA].astype(np.float64)
    ink = np.bincount(flat, values, count)[chosen] / area
    ink_square = np.bincount(flat, values**2, count)[chosen] / area
    depth = cv2.distanceTransform((labels > 0).astype(np.uint8), cv2.DIST_L2, 3)
    deepest = np.zeros(count, np.float64)
    inside = np.flatnonzero(flat)
    np.maximum.at(deepest, flat[inside], depth.ravel()[inside].astype(np.float64))
    left, top, width, height, _ = stats[chosen].T.astype(np.int64)
    right, bottom = left + width, top + height
    outside = (labels == 0).astype(np.float32)

    def box_sum(picture: FloatArray) -> Values:
        total = cv2.integral(picture, sdepth=cv2.CV_64F)
        low = np.maximum(top - 1, 0), np.maximum(left - 1, 0)
        high = np.minimum(bottom + 1, gray.shape[0]), np.minimum(right + 1, gray.shape[1])
        summed: Values = (
            total[high[0], high[1]]
            - total[low[0], high[1]]
            - total[high[0], low[1]]
            + total[low[0], low[1]]
        )
        return summed

    margin = np.maximum(box_sum(outside), 1)
    back = box_sum(outside * gray) / margin
    back_square = box_sum(outside * gray * gray) / margin
    variance = (ink_square - ink**2) + (back_square - back**2)
    return _Letters(
        left=left.astype(np.float64),
        top=top.astype(np.float64),
        right=right.astype(np.float64),
        bottom=bottom.astype(np.float64),
        ink=ink,
        back=back,
        spread=np.sqrt(np.maximum(variance, 0)),
        stroke=deepest[chosen],
    )


def _chains(letters: _Letters) -> NDArray[np.int64]:
    """Return the number of the chain of every letter; letters come from left to right."""
    left, right, height = letters.left, letters.right, letters.height
    middle = (letters.top + letters.bottom) / 2
    contrast = np.abs(letters.back - letters.ink)
    group = np.arange(len(left))
    for index in range(len(left)):
        stop = int(np.searchsorted(left, right[index] + _GAP * _SIMILAR * height[index]))
        others = slice(index + 1, stop)
        taller = np.maximum(height[others], height[index])
        fits = (
            (taller <= _SIMILAR * np.minimum(height[others], height[index]))
            & (left[others] - right[index] <= _GAP * taller)
            & (left[others] > left[index] + 0.5 * (right[index] - left[index]))
            & (np.abs(middle[others] - middle[index]) <= _SHIFT * taller)
            & (np.abs(letters.ink[others] - letters.ink[index]) <= _SAME_INK * contrast[index])
        )
        for other in np.flatnonzero(fits)[:1] + index + 1:
            group[group == group[other]] = group[index]
    return group


def _is_line(line: _Letters) -> bool:
    """Whether a chain is longer than high, as dense and as even as text."""
    height = float(np.median(line.height))
    length = line.right.max() - line.left.min()
    covered = (line.right - line.left).sum() / length
    contrast = float(np.abs(line.back - line.ink).mean())
    bottom = np.abs(line.bottom - _straight(line.left, line.bottom))
    return bool(
        length >= 1.5 * height
        and covered >= 0.45
        and np.median(bottom) <= _BASELINE * height
        and line.stroke.std() <= _EVEN_STROKES * line.stroke.mean()
        and line.ink.std() <= _EVEN_LEVELS * contrast
        and line.back.std() <= _EVEN_LEVELS * contrast
    )


def _straight(x: Values, y: Values) -> Values:
    """Return the least-squares line through the points, at ``x``."""
    slope, level = np.polyfit(x, y, 1)
    straight: Values = slope * x + level
    return straight


def _merged(lines: list[Edges]) -> list[Edges]:
    """Return lines of which none overlaps another by more than half of the smaller."""
    separate: list[Edges] = []
    for line in sorted(lines, key=_area, reverse=True):
        for index, other in enumerate(separate):
            shared = (
                max(line[0], other[0]),
                max(line[1], other[1]),
                min(line[2], other[2]),
                min(line[3], other[3]),
            )
            if _area(shared) > 0.5 * min(_area(line), _area(other)):
                separate[index] = (
                    min(line[0], other[0]),
                    min(line[1], other[1]),
                    max(line[2], other[2]),
                    max(line[3], other[3]),
                )
                break
        else:
            separate.append(line)
    return separate


def _area(box: Edges) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])
