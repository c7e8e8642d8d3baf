"""``Tiled``: a ``Restorer`` that runs another one tile by tile; noise and latents stay whole."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from addsr_cli.engine.windows import Box, blend, boxes, boxes_with_halo, scaled, stitch
from addsr_cli.models.restorer import Conditioning, Noise, Restorer

OnTile = Callable[[], None]


class Tiled:
    """Runs another ``Restorer`` on tiles; ``tile`` and ``overlap`` are in latent pixels.

    A network with a ``halo`` gets every tile with its halo, so the result equals that of the whole
    latent up to float rounding, whatever the tile; tiles must then be multiples of its stride, and
    ``overlap`` is ignored. Tiles of other networks overlap and are blended, and their size shows
    slightly. Text and image tokens are those of the whole photo for every tile. ``on_tile`` is
    called after every tile of ``denoise``.
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
        self.tile = tile
        self.overlap = overlap
        self.on_tile = on_tile
        self.schedule = restorer.schedule
        self.factor = restorer.factor
        self.channels = restorer.channels
        self.exact_codec = restorer.exact_codec
        self.halo = restorer.halo
        self.latent_control = restorer.latent_control
        self.describe = restorer.describe
        self.embed = restorer.embed

    def boxes(self, height: int, width: int) -> list[Box]:
        """Return (rows, columns) of every overlapping tile of a latent of this size."""
        return boxes(height, width, self.tile, self.overlap)

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the tiles' latents, blended; posterior noise is drawn once for the whole."""
        if self.exact_codec:
            return self.inner.encode(image, noise)
        batch, _, image_height, image_width = image.shape
        height = image_height // self.factor
        width = image_width // self.factor
        shape = (batch, self.channels, height, width)
        draws = None if noise is None else noise(shape)

        def encode_tile(box: Box) -> Tensor:
            tile_noise = None if draws is None else _fixed_noise(draws[..., *box])
            return self.inner.encode(self._pixels(image, box), tile_noise)

        latent = image.new_zeros(shape, dtype=torch.float32)
        return blend(latent, self.boxes(height, width), encode_tile)

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Return the images of the tiles, blended. The canvas is cut as the latent is."""
        if self.exact_codec:
            return self.inner.decode(z, canvas, cond)
        batch, _, height, width = z.shape
        shape = (batch, 3, height * self.factor, width * self.factor)

        def decode_tile(box: Box) -> Tensor:
            seen = None if canvas is None else self._pixels(canvas, box)
            return self.inner.decode(z[..., *box], seen, cond)

        image = z.new_zeros(shape, dtype=torch.float32)
        return blend(
            image,
            self.boxes(height, width),
            decode_tile,
            self.factor,
        )

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Return the tiles' predictions, float32: stitched where there is a halo, else blended."""
        height, width = z.shape[-2:]

        def denoise_tile(box: Box) -> Tensor:
            output = self.inner.denoise(
                z[..., *box],
                t,
                control[..., *box] if self.latent_control else self._pixels(control, box),
                cond,
            )
            if self.on_tile:
                self.on_tile()
            return output

        if self.halo is not None:
            tiles = boxes_with_halo(height, width, self.tile, self.halo)
            return stitch(torch.empty_like(z, dtype=torch.float32), tiles, denoise_tile)
        prediction = torch.zeros_like(z, dtype=torch.float32)
        return blend(prediction, self.boxes(height, width), denoise_tile)

    def _pixels(self, image: Tensor, box: Box) -> Tensor:
        """Return the image's pixels under a box of the latent."""
        rows, columns = (scaled(side, self.factor) for side in box)
        return image[..., rows, columns]


def _fixed_noise(draws: Tensor) -> Noise:
    """Return a source of noise that returns ``draws``, and refuses any other shape."""

    def noise(shape: Sequence[int]) -> Tensor:
        if tuple(shape) != tuple(draws.shape):
            raise ValueError(f"noise of shape {tuple(draws.shape)} was requested as {tuple(shape)}")
        return draws

    return noise
