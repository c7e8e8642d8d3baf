"""One photo through a network that answers in one pass, tile by tile."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addsr_cli import imageio
from addsr_cli.canvas import to_tensor
from addsr_cli.engine.checks import InvalidOutput
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.progress import ProgressCounter
from addsr_cli.engine.windows import Box, blend, boxes, boxes_with_halo, stitch
from addsr_cli.models.one_pass import OnePassNetwork

Array = NDArray[np.float32]


def enlarge(
    network: OnePassNetwork,
    image: Array,
    plan: Plan,
    progress: ProgressCounter,
) -> Array:
    """Return a picture (h, w, 3) in [0, 1] at the network's scale, clipped to [0, 1].

    Tiles lie side by side where the network has a halo, and the result is that of one piece.
    Otherwise they overlap and are blended. Raises InvalidOutput.
    """
    height, width = image.shape[:2]
    scale = network.scale
    picture = to_tensor(image)
    result = np.zeros((height * scale, width * scale, 3), np.float32)
    area = torch.from_numpy(result).permute(2, 0, 1)[None]  # shares its memory

    def run(box: Box) -> Tensor:
        output = network.enlarge(picture[..., *box])
        if not torch.isfinite(output).all():
            raise InvalidOutput("not finite")
        progress.tile_done()
        return output.clamp(0, 1)

    tile = _input_pixels(plan.tile or max(plan.width, plan.height), network)
    if plan.tile is None:
        area.copy_(run((slice(0, height), slice(0, width))))
    elif network.halo is None:
        overlap = min(_input_pixels(plan.overlap, network), tile - network.alignment)
        blend(area, boxes(height, width, tile, overlap), run, scale)
    else:
        stitch(area, boxes_with_halo(height, width, tile, network.halo), run, scale)
    if result.min() == result.max() and image.min() != image.max():
        raise InvalidOutput("one flat colour from a picture that has detail")
    return result


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


def _input_pixels(pixels: int, network: OnePassNetwork) -> int:
    """Return pixels of the output as pixels of the input, a multiple of the alignment."""
    return max(1, pixels // network.scale // network.alignment) * network.alignment
