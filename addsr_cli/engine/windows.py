"""Windows over a picture: where tiles lie, how they are weighted, and how their results are joined.

A network whose reach is finite gets every tile with a halo, what it can see around the tile, and
only the tile itself is kept: the result equals that of one piece. Other networks get overlapping
tiles, each weighted with a Gaussian that falls almost to nothing at the tile's border, where the
network knows least (StableSR section 3.4). Positions and weights are those of the official SeeSR
and AddSR code, including the half pixel by which its rows are off centre.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WINDOW_VARIANCE = 0.01  # of the Gaussian, in units of the tile side squared

Box = tuple[slice, slice]  # rows, columns
RunTile = Callable[[Box], Tensor]


def offsets(
    length: int,
    tile: int,
    overlap: int,
) -> list[int]:
    """Return where tiles start along one axis; the last one is flush with the end."""
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
    """Return (rows, columns) of every tile over an area of this size."""
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
    """Return every tile, side by side, and the same with ``halo`` more on each side.

    Halos end where the area ends. Windows start at 0 or at a multiple of ``tile`` minus ``halo``,
    so where both are multiples of a network's stride, the starts are too.
    """
    rows = _sides_with_halo(height, tile, halo)
    columns = _sides_with_halo(width, tile, halo)
    return [
        ((row, column), (row_with_halo, column_with_halo))
        for row, row_with_halo in rows
        for column, column_with_halo in columns
    ]


def _sides_with_halo(
    length: int,
    tile: int,
    halo: int,
) -> list[tuple[slice, slice]]:
    sides = []
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        with_halo = slice(max(0, start - halo), min(stop + halo, length))
        sides.append((slice(start, stop), with_halo))
    return sides


def window(height: int, width: int) -> Tensor:
    """Return the Gaussian weights of one tile, float32 (height, width).

    They are about 1 in the middle and 4e-6 at an edge.
    """
    rows = _gaussian(height, height / 2)
    columns = _gaussian(width, (width - 1) / 2)
    return rows[:, None] * columns


def blend(
    area: Tensor,
    tiles: list[Box],
    run: RunTile,
    scale: int = 1,
) -> Tensor:
    """Return the weighted mean of ``run(box)`` over all boxes, computed in place in ``area``.

    ``area`` is (B, C, H, W), float32, filled with zeros; boxes are in units of ``scale`` of its
    pixels.
    """
    weights = area.new_zeros((1, 1, *area.shape[-2:]))
    for box in tiles:
        result = run(box).to(area.device, torch.float32)
        rows, columns = (scaled(side, scale) for side in box)
        weight = window(*result.shape[-2:]).to(area.device)
        area[..., rows, columns] += result * weight
        weights[..., rows, columns] += weight
    return area.div_(weights)


def stitch(
    area: Tensor,
    tiles: list[tuple[Box, Box]],
    run: RunTile,
    scale: int = 1,
    top: int = 0,
) -> Tensor:
    """Fill ``area`` (B, C, H, W) tile by tile; boxes are in units of ``scale`` of its pixels.

    Of the result of ``run`` for a box with its halo, only the part inside the box is kept. ``area``
    begins at row ``top`` of what the boxes lie in, in their units.
    """
    for box, box_with_halo in tiles:
        result = run(box_with_halo)
        rows, columns = (
            scaled(slice(own.start - seen.start, own.stop - seen.start), scale)
            for own, seen in zip(box, box_with_halo, strict=True)
        )
        own_rows = slice(box[0].start - top, box[0].stop - top)
        target_rows, target_columns = (scaled(side, scale) for side in (own_rows, box[1]))
        inside = result[..., rows, columns]
        area[..., target_rows, target_columns] = inside.to(area.device, area.dtype)
    return area


def scaled(side: slice, scale: int) -> slice:
    """Return the slice in units that are ``scale`` times smaller."""
    return slice(side.start * scale, side.stop * scale)


def _gaussian(length: int, centre: float) -> Tensor:
    position = (torch.arange(length, dtype=torch.float32) - centre) / length
    return torch.exp(-(position**2) / (2 * WINDOW_VARIANCE))
