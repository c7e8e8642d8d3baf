"""How tiles are weighted, and how their results are joined.

A network whose reach is finite gets every tile with a halo, what it can see around the tile, and
only the tile itself is kept: the result equals that of one piece. Other networks get overlapping
tiles, each weighted with a Gaussian that falls almost to nothing at the tile's border, where the
network knows least (StableSR section 3.4). Positions and weights are those of the official SeeSR
and AddSR code, including the half pixel by which its rows are off centre.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from addsr_cli.engine.geometry import Box, scaled, scaled_box, within

WINDOW_VARIANCE = 0.01  # of the Gaussian, in units of the tile side squared

RunTile = Callable[[Box], Tensor]


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
    """Return the weighted mean of ``run(box)`` over all boxes, written into ``area``.

    ``area`` is (B, C, H, W), float32; boxes, in rows from the top as ``boxes`` lists them, are in
    units of ``scale`` of its pixels.
    """
    for rows, band in blended_rows(area.shape, area.device, tiles, run, scale):
        area[..., rows, :] = band
    return area


def blended_rows(
    shape: Sequence[int],
    device: torch.device,
    tiles: list[Box],
    run: RunTile,
    scale: int = 1,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the weighted mean of ``run(box)`` over all boxes in bands of rows, from the top.

    A band is yielded once no later tile reaches into it, so that never more than a row of tiles is
    held. ``shape`` is that of the whole, (B, C, H, W).
    """
    batch, channels, height, width = shape
    sums = torch.zeros(batch, channels, 0, width, device=device)
    weights = torch.zeros(1, 1, 0, width, device=device)
    top = 0
    for start, row in groupby(tiles, key=lambda box: box[0].start):
        done = start * scale - top
        if done:
            yield slice(top, top + done), sums[..., :done, :] / weights[..., :done, :]
            sums = sums[..., done:, :]
            weights = weights[..., done:, :]
            top += done
        for box in row:
            result = run(box).to(device, torch.float32)
            rows, columns = (scaled(side, scale) for side in box)
            missing = rows.stop - top - sums.shape[-2]
            if missing > 0:
                sums = F.pad(sums, (0, 0, 0, missing))
                weights = F.pad(weights, (0, 0, 0, missing))
            weight = window(*result.shape[-2:]).to(device)
            sums[..., : rows.stop - top, columns] += result * weight
            weights[..., : rows.stop - top, columns] += weight
    yield slice(top, height), sums / weights


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
        own = result[..., *scaled_box(within(box, box_with_halo), scale)]
        rows, columns = scaled_box((slice(box[0].start - top, box[0].stop - top), box[1]), scale)
        area[..., rows, columns] = own.to(area.device, area.dtype)
    return area


def _gaussian(length: int, centre: float) -> Tensor:
    position = (torch.arange(length, dtype=torch.float32) - centre) / length
    return torch.exp(-(position**2) / (2 * WINDOW_VARIANCE))
