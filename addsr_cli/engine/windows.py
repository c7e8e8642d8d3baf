"""Windows over a picture: where tiles lie, what they weigh, and how their results become one.

A network that sees only so far is given each tile with what it can see around it, and only the tile
is kept: the result is that of one piece. Of a network that sees everything, tiles overlap. Each is
weighted with a Gaussian that falls almost to nothing at the tile's border, so what a tile knows
least about counts least (StableSR section 3.4). Places and weights of these are those of the
official SeeSR and AddSR code, the half pixel by which its rows are off centre included.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WINDOW_VARIANCE = 0.01  # of the Gaussian, in units of the tile side squared

Box = tuple[slice, slice]  # rows, columns


def offsets(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles start along one axis: steps of ``tile - overlap``, the last one flush with the end."""
    if length <= tile:
        return [0]
    last = length - tile
    return [*range(0, last, tile - overlap), last]


def boxes(
    height: int,
    width: int,
    tile: int,
    overlap: int,
) -> list[Box]:
    """(rows, columns) of every tile over an area of this size."""
    return [
        (slice(y, min(y + tile, height)), slice(x, min(x + tile, width)))
        for y in offsets(height, tile, overlap)
        for x in offsets(width, tile, overlap)
    ]


def boxes_with_halo(
    height: int,
    width: int,
    tile: int,
    halo: int,
) -> list[tuple[Box, Box]]:
    """Every tile, side by side, and the tile with ``halo`` more on each side as far as the area goes.

    All begin at multiples of ``tile`` minus ``halo``, or at 0: where both are multiples of a
    network's stride, so are the beginnings.
    """

    def sides(length: int) -> list[tuple[slice, slice]]:
        starts = range(0, length, tile)
        inner = [slice(start, min(start + tile, length)) for start in starts]
        return [
            (side, slice(max(0, side.start - halo), min(side.stop + halo, length)))
            for side in inner
        ]

    return [
        ((y, x), (around_y, around_x))
        for y, around_y in sides(height)
        for x, around_x in sides(width)
    ]


def window(height: int, width: int) -> Tensor:
    """Gaussian weights of one tile, float32 (height, width), about 1 in the middle and 4e-6 at an edge."""
    return _bell(height, height / 2)[:, None] * _bell(width, (width - 1) / 2)


def blend(
    area: Tensor,
    places: list[Box],
    run: Callable[[Box], Tensor],
    scale: int = 1,
) -> Tensor:
    """Weighted mean of ``run(box)`` over all boxes, in place in ``area`` (B, C, H, W), float32, zero at the start.

    Boxes are given in units of ``scale`` pixels of ``area``.
    """
    weights = area.new_zeros((1, 1, *area.shape[-2:]))
    for box in places:
        part = run(box).to(area.device, torch.float32)
        rows, columns = (scaled(side, scale) for side in box)
        weight = window(*part.shape[-2:]).to(area.device)
        area[..., rows, columns] += part * weight
        weights[..., rows, columns] += weight
    return area.div_(weights)


def stitch(area: Tensor, places: list[tuple[Box, Box]], run: Callable[[Box], Tensor]) -> Tensor:
    """Fill ``area`` (B, C, H, W): of ``run(box with halo)``, every tile keeps the part inside its own box."""
    for box, around in places:
        part = run(around)
        rows, columns = (
            slice(own.start - seen.start, own.stop - seen.start)
            for own, seen in zip(box, around, strict=True)
        )
        area[..., *box] = part[..., rows, columns].to(area.device, area.dtype)
    return area


def scaled(side: slice, scale: int) -> slice:
    """A slice in units ``scale`` times smaller."""
    return slice(side.start * scale, side.stop * scale)


def _bell(length: int, centre: float) -> Tensor:
    position = (torch.arange(length, dtype=torch.float32) - centre) / length
    return torch.exp(-(position**2) / (2 * WINDOW_VARIANCE))
