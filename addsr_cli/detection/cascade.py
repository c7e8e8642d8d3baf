"""A cascade of boosted local binary patterns, evaluated with NumPy.

OpenCV 5 no longer has the class that evaluates such files. A feature compares the sums of the
eight outer cells of a 3 x 3 grid with the middle one, which gives a byte (Zhang et al. 2007); a
weak classifier adds one of two values by whether that byte is in its set; a stage lets a window
pass whose sum reaches its threshold (Viola & Jones 2001).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.imageio.photo import FloatArray

_EPSILON = 1e-5  # thresholds were written with so many digits
# Cells of the grid (row, column), clockwise from the top left, the highest bit first.
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


@dataclass(frozen=True)
class _Stage:
    """``features`` (n,), ``inside`` and ``outside`` (n,) the values, ``sets`` bool (n, 256)."""

    threshold: float
    features: NDArray[np.int64]
    sets: NDArray[np.bool_]
    inside: FloatArray
    outside: FloatArray


class Cascade:
    """A cascade read from an OpenCV file of the kind ``opencv-cascade-classifier``, LBP stumps."""

    def __init__(self, path: Path) -> None:
        root = ElementTree.parse(path).getroot()[0]
        self.side = int(root.findtext("width", ""))
        self.rects = np.array(
            [_numbers(each.findtext("rect", "")) for each in root.iterfind("features/_")], np.int64
        )
        self.stages = [_read_stage(each) for each in root.iterfind("stages/_")]

    def windows(self, gray: NDArray[np.uint8], stride: int) -> NDArray[np.int64]:
        """Return (left, top) of the windows that pass, (n, 2); their side is ``side``."""
        height, width = gray.shape
        if min(height, width) < self.side:
            return np.empty((0, 2), np.int64)
        sums = cv2.integral(gray)  # (height + 1, width + 1)
        lefts = np.arange(0, width - self.side + 1, stride)
        tops = np.arange(0, height - self.side + 1, stride)
        columns = width + 1
        places = (tops[:, None] * columns + lefts).ravel()
        flat: Any = sums.ravel()
        for stage in self.stages:
            score = np.zeros(places.size, np.float32)
            for index, members, inside, outside in zip(
                stage.features, stage.sets, stage.inside, stage.outside, strict=True
            ):
                pattern = _patterns(flat, places, columns, self.rects[index])
                score += np.where(members[pattern], inside, outside)
            places = places[score >= stage.threshold - _EPSILON]
            if not places.size:
                break
        return np.stack([places % columns, places // columns], axis=1)


def _patterns(
    sums: NDArray[np.int32],
    places: NDArray[np.int64],
    columns: int,
    rect: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the byte of a feature at every place; ``rect`` is x, y, width, height of a cell."""
    x, y, width, height = (int(value) for value in rect)
    corners = [
        [sums[places + ((y + row * height) * columns + x + column * width)] for column in range(4)]
        for row in range(4)
    ]

    def cell(row: int, column: int) -> NDArray[np.int32]:
        upper, lower = corners[row], corners[row + 1]
        return lower[column + 1] - lower[column] - upper[column + 1] + upper[column]

    middle = cell(1, 1)
    pattern = np.zeros(places.size, np.uint8)
    for row, column in _RING:
        pattern <<= 1
        pattern |= cell(row, column) >= middle
    return pattern


def _read_stage(element: ElementTree.Element) -> _Stage:
    features, sets, inside, outside = [], [], [], []
    for weak in element.iterfind("weakClassifiers/_"):
        node = _numbers(weak.findtext("internalNodes", ""))
        features.append(node[2])
        words = np.array(node[3:11], np.int64)
        bits = words[:, None] >> np.arange(32) & 1
        sets.append(bits.ravel().astype(bool))
        first, second = (float(value) for value in weak.findtext("leafValues", "").split())
        inside.append(first)
        outside.append(second)
    return _Stage(
        threshold=float(element.findtext("stageThreshold", "")),
        features=np.array(features, np.int64),
        sets=np.array(sets),
        inside=np.array(inside, np.float32),
        outside=np.array(outside, np.float32),
    )


def _numbers(text: str) -> list[int]:
    return [int(value) for value in text.split()]
