"""The canvas: the photo enlarged to the size that the network works at.

It is as large as the output of the pass, or larger where the model wants a minimum side: float32
RGB (B, 3, H, W) in [0, 1], with sides divisible by the model's latent factor. Sampling starts from
its noised latent, it is the first control image, PSR mixes predictions with it, and colours are
matched to it. "Canvas pixels" are its pixels, the unit of tiles and overlaps. Only windows of it
are made, each from the pixels of the photo that it needs.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import imageio
from addsr_cli.imageio import Photo
from addsr_cli.windowed import Windowed


def canvas_size(
    width: int,
    height: int,
    shortest: int = 0,
) -> tuple[int, int]:
    """Return the (width, height) of the canvas for an output of this size, in pixels.

    It is the output's own, or larger where the shorter side would be below ``shortest``; sides are
    then rounded up. The official code rounds down instead, and can end 4 px short of the size it
    wants.
    """
    factor = max(Fraction(1), Fraction(shortest, min(width, height)))
    return math.ceil(width * factor), math.ceil(height * factor)


class Canvas:
    """The canvas of a batch of photos of one size; alpha is not looked at.

    ``size`` (width, height) is that of the picture on it; edges are repeated until both sides are
    divisible by ``factor``, which gives ``shape`` (B, 3, H, W).
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        size: tuple[int, int],
        factor: int,
    ) -> None:
        self.photos = photos
        self.size = size
        width, height = size
        self.shape = (len(photos), 3, height + -height % factor, width + -width % factor)

    def window(self, rows: slice, columns: slice) -> Tensor:
        """Return a window of the canvas, (B, 3, rows, columns)."""
        width, height = self.size
        own_rows = slice(min(rows.start, height - 1), min(rows.stop, height))
        own_columns = slice(min(columns.start, width - 1), min(columns.stop, width))
        planes = [
            torch.from_numpy(imageio.resize_window(photo.colour, self.size, own_rows, own_columns))
            for photo in self.photos
        ]
        window = torch.stack([plane.clamp_(0, 1).expand(3, -1, -1) for plane in planes])
        below = np.minimum(np.arange(rows.start, rows.stop), height - 1) - own_rows.start
        right = np.minimum(np.arange(columns.start, columns.stop), width - 1) - own_columns.start
        if len(below) != window.shape[-2]:
            window = window[..., torch.from_numpy(below), :]
        if len(right) != window.shape[-1]:
            window = window[..., torch.from_numpy(right)]
        return window.contiguous()

    def on(self, device: str) -> Tensor:
        """Return the canvas as a picture whose windows are made on ``device`` when read."""

        def read(rows: slice, columns: slice) -> Tensor:
            return self.window(rows, columns).to(device)

        return Windowed(self.shape, torch.device(device), read).as_tensor()


def to_tensor(rgb: NDArray[np.float32]) -> Tensor:
    """Return the array (H, W, 3) as a tensor (1, 3, H, W) that shares its memory."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]
