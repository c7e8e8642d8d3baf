"""The parts of a photo that are looked at: squares, spread evenly over it."""

import numpy as np

from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, as_float

SIDE = 128  # pixels, a multiple of the 8 of a JPEG block
MOST = 25  # squares, 0.4 megapixels
_LEVELS = np.float32(255)


def windows(photo: Photo) -> list[FloatArray]:
    """Return squares (h, w, 3 or 1) of a photo in levels of 255, without its alpha.

    Each starts at a multiple of 8 pixels and has ``SIDE`` pixels a side, or fewer where the photo
    has; together they are the whole of a small photo.
    """
    return [
        as_float(photo.colour[top : top + SIDE, left : left + SIDE]) * _LEVELS
        for top, left in _corners(photo.height, photo.width)
    ]


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    """Return (top, left) of the squares: all, or a lattice of at most ``MOST`` of them."""
    rows, columns = max(1, height // SIDE), max(1, width // SIDE)
    share = min(1.0, (MOST / (rows * columns)) ** 0.5)
    tops = _spread(rows, max(1, int(rows * share)))
    lefts = _spread(columns, max(1, min(MOST // len(tops), columns)))
    return [(top, left) for top in tops for left in lefts]


def _spread(count: int, wanted: int) -> list[int]:
    """Return the starts, in pixels, of ``wanted`` of ``count`` squares that follow one another."""
    places = np.linspace(0, count - 1, wanted) if wanted > 1 else [count // 2]
    return [int(place) * SIDE for place in places]
