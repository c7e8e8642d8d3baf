"""Any size through tiles, behind the same protocol: noise and latents stay whole, networks see one window at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from addsr_cli.engine.windows import Box, blend, boxes, boxes_with_halo, scaled, stitch
from addsr_cli.models.restorer import Conditioning, Noise, Restorer

OnTile = Callable[[], None]


class Tiled:
    """A ``Restorer`` that runs another one on tiles; ``tile`` and ``overlap`` in latent pixels.

    A network with a ``halo`` is given every tile with its halo, so that the result is that of the
    whole latent whatever the tile, up to float rounding; tiles are then multiples of its stride,
    and ``overlap`` has no meaning. Of other networks tiles overlap and are blended, and their size
    shows a little. Text and image tokens are those of the whole photo for every tile.
    """

    def __init__(
        self,
        restorer: Restorer,
        tile: int,
        overlap: int,
        on_tile: OnTile | None = None,
    ) -> None:
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap {overlap} must be smaller than tile {tile}")
        self.inner = restorer
        self.tile, self.overlap, self.on_tile = tile, overlap, on_tile
        self.schedule, self.factor, self.channels = (
            restorer.schedule,
            restorer.factor,
            restorer.channels,
        )
        self.exact_codec, self.halo = restorer.exact_codec, restorer.halo
        self.describe, self.embed = restorer.describe, restorer.embed

    def boxes(self, height: int, width: int) -> list[Box]:
        """Latent (rows, columns) of every tile of a latent of this size."""
        return boxes(height, width, self.tile, self.overlap)

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Latents of the tiles, blended; posterior noise is drawn for the whole and cut."""
        if self.exact_codec:
            return self.inner.encode(image, noise)
        batch, _, height, width = image.shape
        shape = (batch, self.channels, height // self.factor, width // self.factor)
        draws = None if noise is None else noise(shape)

        def run(box: Box) -> Tensor:
            return self.inner.encode(
                self._pixels(image, box), None if draws is None else _fixed(draws[..., *box])
            )

        return blend(image.new_zeros(shape, dtype=torch.float32), self.boxes(*shape[-2:]), run)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of the tiles, blended."""
        if self.exact_codec:
            return self.inner.decode(z)
        batch, _, height, width = z.shape
        image = z.new_zeros(
            (batch, 3, height * self.factor, width * self.factor), dtype=torch.float32
        )
        return blend(
            image,
            self.boxes(height, width),
            lambda box: self.inner.decode(z[..., *box]),
            self.factor,
        )

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """The tiles' predictions put together, float32: side by side where there is a halo, else blended."""

        def run(box: Box) -> Tensor:
            output = self.inner.denoise(z[..., *box], t, self._pixels(control, box), cond)
            if self.on_tile:
                self.on_tile()
            return output

        if self.halo is not None:
            places = boxes_with_halo(z.shape[-2], z.shape[-1], self.tile, self.halo)
            return stitch(torch.empty_like(z, dtype=torch.float32), places, run)
        return blend(torch.zeros_like(z, dtype=torch.float32), self.boxes(*z.shape[-2:]), run)

    def _pixels(self, image: Tensor, box: Box) -> Tensor:
        rows, columns = (scaled(side, self.factor) for side in box)
        return image[..., rows, columns]


def _fixed(draws: Tensor) -> Noise:
    def noise(shape: Sequence[int]) -> Tensor:
        if tuple(shape) != tuple(draws.shape):
            raise ValueError(f"noise of shape {tuple(draws.shape)} was asked for as {tuple(shape)}")
        return draws

    return noise
