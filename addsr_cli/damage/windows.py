"""The parts of a photo that are looked at: squares, spread evenly over it."""

import numpy as np

from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, as_float

GRID = 8  # pixels of a JPEG block
SIDE = 128  # pixels
MOST = 25  # squares, 0.4 megapixels
_LEVELS = np.float32(255)


def windows(photo: Photo) -> list[FloatArray]:
    """Return squares (h, w, 3 or 1) of a photo in levels of 255, without its alpha.

    Each starts at a multiple of 8 pixels and has ``SIDE`` pixels a side, or fewer where the photo
    has; together they are a small photo but for at most 7 pixels at its right and bottom edges.
    """
    return [
        as_float(photo.colour[top : top + SIDE, left : left + SIDE]) * _LEVELS
        for top, left in _corners(photo.height, photo.width)
    ]


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    """Return (top, left) of the squares: enough to cover all, or a lattice of at most ``MOST``."""
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    share = min(1.0, (MOST / (rows * columns)) ** 0.5)
    tops = _starts(height, max(1, int(rows * share)))
    lefts = _starts(width, max(1, min(MOST // len(tops), columns)))
    return [(top, left) for top in tops for left in lefts]


def _starts(length: int, count: int) -> list[int]:
    """Return the starts of ``count`` squares spread over a length, all in pixels."""
    room = max(0, length - SIDE)
    places = np.linspace(0, room, count) if count > 1 else [room / 2]
    return [int(place) // GRID * GRID for place in places]
