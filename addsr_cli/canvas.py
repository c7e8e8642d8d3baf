"""The canvas: the photo enlarged to the size that the network works at.

It is as large as the output of the pass, or larger where the model wants a minimum side: float32
RGB (B, 3, H, W) in [0, 1], with sides divisible by the model's latent factor. Sampling starts from
its noised latent, it is the first control image, PSR mixes predictions with it, and colours are
matched to it. "Canvas pixels" are its pixels, the unit of tiles and overlaps.
"""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import imageio


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


def make_canvas(
    rgb: NDArray[np.float32],
    size: tuple[int, int],
    factor: int,
) -> Tensor:
    """Return the photo (h, w, 3) resized to ``size`` (width, height), as a tensor (1, 3, H, W).

    Edges are repeated until both sides are divisible by ``factor``.
    """
    width, height = size
    planes = np.empty((3, height, width), np.float32)
    for channel in range(3):
        resized = imageio.resize(rgb[:, :, channel], size)
        np.clip(resized, 0, 1, out=planes[channel])
    canvas = torch.from_numpy(planes)[None]
    right = -width % factor
    bottom = -height % factor
    if not right and not bottom:
        return canvas
    return F.pad(
        canvas,
        (0, right, 0, bottom),
        mode="replicate",
    )


def to_tensor(rgb: NDArray[np.float32]) -> Tensor:
    """Return the array (H, W, 3) as a tensor (1, 3, H, W) that shares its memory."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]
