"""One photo through a network that answers in one pass, row by row of tiles.

Only a row of tiles is in memory at once, unless tiles have to be blended.
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
from addsr_cli.imageio.resample import apply_taps, reach, taps
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
    height, width = target.shape[:2]
    native = _Rows(enlarged_bands(network, to_tensor(photo.rgb), plan, progress))
    size = (photo.width * network.scale, photo.height * network.scale)
    across = None if size[0] == width else taps(size[0], width)
    for rows in bands(height, width):
        seen, down = reach(taps(size[1], height), rows)
        result = apply_taps(
            native.take(seen),
            across=across,
            down=None if size[1] == height else down,
        )
        if share:
            plain = imageio.resize_window(photo.colour, (width, height), rows, slice(0, width))
            result = result + share * (plain - result)
        if target.shape[2] == 1:
            result = result.mean(axis=0, keepdims=True)
        quantize(np.clip(result, 0, 1).transpose(1, 2, 0), target[rows])
    if native.is_flat and photo.colour.min() != photo.colour.max():
        raise InvalidOutput("one flat colour from a picture that has detail")


class _Rows:
    """Rows of an enlarged picture, which arrive in bands; those above what is taken are dropped."""

    def __init__(self, arriving: Iterator[tuple[slice, Tensor]]) -> None:
        self._arriving = arriving
        self._buffer = np.empty((3, 0, 0), np.float32)
        self._top = 0
        self._range = (np.inf, -np.inf)

    def take(self, rows: slice) -> Array:
        """Return rows as planes (3, rows, W) in [0, 1]; ``rows`` never start further up."""
        self._buffer = self._buffer[:, rows.start - self._top :]
        self._top = rows.start
        while self._top + self._buffer.shape[1] < rows.stop:
            _, band = next(self._arriving)
            planes: Array = band[0].numpy()
            self._range = min(self._range[0], planes.min()), max(self._range[1], planes.max())
            self._buffer = (
                np.concatenate([self._buffer, planes], 1) if self._buffer.size else planes
            )
        return self._buffer[:, : rows.stop - rows.start]

    @property
    def is_flat(self) -> bool:
        """Whether everything that has arrived has one value."""
        return self._range[0] == self._range[1]


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
