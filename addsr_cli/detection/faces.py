"""Frontal faces, by a cascade over a pyramid of reduced copies."""

from functools import cache
from importlib.resources import as_file, files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.detection.areas import Area, reduced
from addsr_cli.detection.cascade import Cascade
from addsr_cli.imageio.photo import FloatArray

_FILE = "assets/lbpcascade_frontalface_improved.xml"
_LONGEST = 640  # pixels of the largest copy
_ENLARGED = 320  # a photo below this is enlarged to it: the cascade's window has 45 pixels
_STEP = 1.1  # from one copy to the next smaller
_STRIDE = 2  # pixels between windows
_NEIGHBOURS = 4  # windows that must agree on a face
_OVERLAP = 0.4  # intersection over union from which two windows agree


def find_faces(gray: FloatArray) -> list[Area]:
    """Return the faces in a grey picture (h, w) in [0, 255], in its pixels."""
    copy: Any
    copy, factor = reduced(gray, _LONGEST)
    if max(copy.shape) < _ENLARGED:
        more = _ENLARGED / max(copy.shape)
        copy = cv2.resize(copy, None, fx=more, fy=more, interpolation=cv2.INTER_CUBIC)
        factor *= more
    level: Any = cv2.equalizeHist(np.clip(np.rint(copy), 0, 255).astype(np.uint8))
    cascade = _cascade()
    squares = [np.empty((0, 3))]
    reduction = 1.0
    while min(level.shape) / reduction >= cascade.side:
        size = round(level.shape[1] / reduction), round(level.shape[0] / reduction)
        smaller: Any = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)
        boxes = cascade.windows(smaller, _STRIDE) * reduction
        side = np.full((len(boxes), 1), cascade.side * reduction)
        squares.append(np.hstack([boxes, side]))
        reduction *= _STEP
    return [
        Area(kind="faces", left=left, top=top, width=side, height=side).scaled(1 / factor)
        for left, top, side in _agreed(np.vstack(squares))
    ]


@cache
def _cascade() -> Cascade:
    with as_file(files("addsr_cli.detection").joinpath(_FILE)) as path:
        return Cascade(path)


def _agreed(squares: NDArray[np.float64]) -> list[tuple[float, float, float]]:
    """Return the mean of every cluster of at least ``_NEIGHBOURS`` squares (left, top, side).

    A cluster is what overlaps the square that most others overlap, of those not taken yet.
    """
    agrees = _overlaps(squares) >= _OVERLAP
    free = np.ones(len(squares), bool)
    clusters = []
    while free.any():
        votes = (agrees & free).sum(axis=1) * free
        centre = int(votes.argmax())
        members = agrees[centre] & free
        if votes[centre] < _NEIGHBOURS:
            break
        left, top, side = squares[members].mean(axis=0)
        clusters.append((float(left), float(top), float(side)))
        free &= ~members
    return _without_nested(clusters)


def _without_nested(
    squares: list[tuple[float, float, float]],
) -> list[tuple[float, float, float]]:
    """Leave out squares whose middle is within a stronger one: ``squares`` come strongest first."""
    separate: list[tuple[float, float, float]] = []
    for left, top, side in squares:
        x, y = left + side / 2, top + side / 2
        if not any(a <= x <= a + s and b <= y <= b + s for a, b, s in separate):
            separate.append((left, top, side))
    return separate


def _overlaps(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs, (n, n)."""
    low = squares[:, :2]
    high = low + squares[:, 2:]
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    common = np.clip(shared, 0, None).prod(axis=2)
    area = squares[:, 2] ** 2
    overlap: NDArray[np.float64] = common / (area[:, None] + area[None] - common)
    return overlap
