"""Any size through windows of one size: overlapping tiles whose predictions are blended, behind the same protocol.

Noise and latents stay whole; only the network sees tiles. Each tile's prediction is weighted with a Gaussian that
falls almost to nothing at the tile's border, so what a tile knows least about counts least (StableSR section 3.4;
the weights are those of the official SeeSR and AddSR code).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from addsr_cli.models.restorer import Condition, Restorer

WINDOW_VARIANCE = 0.01  # of the Gaussian, in units of the tile side squared

OnTile = Callable[[], None]


def offsets(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles start along one axis: steps of ``tile - overlap``, the last one flush with the end."""
    if length <= tile:
        return [0]
    last = length - tile
    return [*range(0, last, tile - overlap), last]


def window(length: int) -> Tensor:
    """Gaussian weights over one side of a tile, float32 (length,), largest 1 in the middle."""
    position = (torch.arange(length, dtype=torch.float32) - (length - 1) / 2) / length
    return torch.exp(-(position**2) / (2 * WINDOW_VARIANCE))


class Tiled:
    """A ``Restorer`` that runs another one on tiles; ``tile`` and ``overlap`` in latent pixels."""

    def __init__(self, restorer: Restorer, tile: int, overlap: int, on_tile: OnTile | None = None) -> None:
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap {overlap} must be smaller than tile {tile}")
        self.inner = restorer
        self.tile, self.overlap, self.on_tile = tile, overlap, on_tile
        self.schedule, self.factor, self.channels = restorer.schedule, restorer.factor, restorer.channels
        self.encode, self.decode = restorer.encode, restorer.decode
        self.describe, self.embed = restorer.describe, restorer.embed

    def boxes(self, height: int, width: int) -> list[tuple[slice, slice]]:
        """Latent (rows, columns) of every tile of a latent of this size."""
        return [
            (slice(y, min(y + self.tile, height)), slice(x, min(x + self.tile, width)))
            for y in offsets(height, self.tile, self.overlap)
            for x in offsets(width, self.tile, self.overlap)
        ]

    def denoise(self, z: Tensor, t: Tensor, control: Tensor, cond: Condition) -> Tensor:
        """Weighted mean of the tiles' predictions, float32."""
        height, width = z.shape[-2:]
        total = torch.zeros_like(z, dtype=torch.float32)
        weights = z.new_zeros((1, 1, height, width), dtype=torch.float32)
        for rows, columns in self.boxes(height, width):
            picture = control[..., self._pixels(rows), self._pixels(columns)]
            output = self.inner.denoise(z[..., rows, columns], t, picture, cond).float()
            weight = (window(output.shape[-2])[:, None] * window(output.shape[-1])).to(output.device)
            total[..., rows, columns] += output * weight
            weights[..., rows, columns] += weight
            if self.on_tile:
                self.on_tile()
        return total.div_(weights)

    def _pixels(self, latent: slice) -> slice:
        return slice(latent.start * self.factor, latent.stop * self.factor)
