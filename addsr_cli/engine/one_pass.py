"""One photo through a network that answers in one pass, row by row of tiles.

Only a row of tiles is in memory at once; what it becomes part of is the caller's.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import imageio
from addsr_cli.canvas import to_tensor
from addsr_cli.engine.checks import InvalidOutput
from addsr_cli.engine.geometry import Box, boxes, cut, scaled
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.progress import ProgressCounter
from addsr_cli.engine.windows import blend, stitch
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import Samples, bands, quantize
from addsr_cli.models.one_pass import OnePassNetwork

Array = NDArray[np.float32]


def enlarge_into(
    target: Samples,
    network: OnePassNetwork,
    photo: Photo,
    plan: Plan,
    progress: ProgressCounter,
    share: float,
) -> None:
    """Fill ``target`` (H, W, 1 or 3) with the enlarged photo; its colours are its own.

    ``share`` is that of the plain enlargement. Raises InvalidOutput and PrecisionLoss.
    """
    image = photo.rgb
    result = enlarge(network, image, plan, progress)
    result = fitted(result, image, (target.shape[1], target.shape[0]), share)
    if target.shape[2] == 1:
        result = result.mean(axis=2, keepdims=True)
    for rows in bands(*target.shape[:2]):
        quantize(result[rows], target[rows])


def enlarge(
    network: OnePassNetwork,
    image: Array,
    plan: Plan,
    progress: ProgressCounter,
) -> Array:
    """Return a picture (h, w, 3) in [0, 1] at the network's scale, clipped to [0, 1].

    Raises InvalidOutput.
    """
    height, width = image.shape[:2]
    result = np.empty((height * network.scale, width * network.scale, 3), np.float32)
    for rows, band in enlarged_bands(network, to_tensor(image), plan, progress):
        result[rows] = band[0].permute(1, 2, 0).numpy()
    if result.min() == result.max() and image.min() != image.max():
        raise InvalidOutput("one flat colour from a picture that has detail")
    return result


def enlarged_bands(
    network: OnePassNetwork,
    picture: Tensor,
    plan: Plan,
    progress: ProgressCounter,
) -> Iterator[tuple[slice, Tensor]]:
    """Enlarge a picture (1, 3, h, w) in [0, 1] band by band, from top to bottom.

    Yields rows of the result and their pixels (1, 3, rows, scale * w), float32 on the CPU, clipped
    to [0, 1]. Tiles lie side by side where the network has a halo, and the result is that of one
    piece. Otherwise they overlap and are blended, and the result is one band. Raises InvalidOutput.
    """
    height, width = picture.shape[-2:]
    scale = network.scale

    def run(box: Box) -> Tensor:
        output = network.enlarge(picture[..., *box])
        if not torch.isfinite(output).all():
            raise InvalidOutput("not finite")
        progress.tile_done()
        return output.clamp(0, 1).cpu()

    def empty_band(rows: int) -> Tensor:
        return torch.zeros(1, 3, rows * scale, width * scale)

    tile = _input_pixels(plan.tile or max(plan.width, plan.height), network)
    if plan.tile is None:
        yield slice(0, height * scale), run((slice(0, height), slice(0, width)))
    elif network.halo is None:
        overlap = min(_input_pixels(plan.overlap, network), tile - network.alignment)
        overlapping = boxes(height, width, tile, overlap)
        yield slice(0, height * scale), blend(empty_band(height), overlapping, run, scale)
    else:
        for rows, tiles in _rows_of_tiles(height, width, tile, network):
            band = empty_band(rows.stop - rows.start)
            yield scaled(rows, scale), stitch(band, tiles, run, scale, rows.start)


def fitted(
    result: Array,
    image: Array,
    size: tuple[int, int],
    share: float,
) -> Array:
    """Return the result resized to ``size``, with a ``share`` of the plain enlargement."""
    if (result.shape[1], result.shape[0]) != size:
        result = imageio.resize(result, size)
    if share:
        result += share * (imageio.resize(image, size) - result)
    return np.clip(result, 0, 1, out=result)


def _rows_of_tiles(
    height: int,
    width: int,
    tile: int,
    network: OnePassNetwork,
) -> Iterator[tuple[slice, list[tuple[Box, Box]]]]:
    """Yield the pixel rows of every row of tiles, and its tiles with their halos."""
    by_rows: dict[int, list[tuple[Box, Box]]] = {}
    whole = (slice(0, height), slice(0, width))
    halo = network.halo or 0
    for own, seen in cut(whole, tile, halo, (height, width), network.alignment):
        by_rows.setdefault(own[0].start, []).append((own, seen))
    for tiles in by_rows.values():
        yield tiles[0][0][0], tiles


def _input_pixels(pixels: int, network: OnePassNetwork) -> int:
    """Return pixels of the output as pixels of the input, a multiple of the alignment."""
    return max(1, pixels // network.scale // network.alignment) * network.alignment
