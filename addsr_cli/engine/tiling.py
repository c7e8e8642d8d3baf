"""``Tiled``: a ``Restorer`` that runs another one tile by tile; noise and latents stay whole."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from addsr_cli.engine.geometry import Box, boxes, cut, scaled_box
from addsr_cli.engine.windows import blend, blended_rows, stitch
from addsr_cli.models.restorer import Conditioning, Noise, Restorer, RestorerWrapper
from addsr_cli.windowed import Windowed

LARGEST_VIEW = 2048  # pixels a side of a windowed picture's reduced copy, which ``embed`` reads
OnTile = Callable[[], None]


class Tiled(RestorerWrapper):
    """Runs another ``Restorer`` on tiles; ``tile`` and ``overlap`` are in latent pixels.

    A network with a ``halo`` gets every tile with its halo, so the result equals that of the whole
    latent up to float rounding, whatever the tile; tiles must then be multiples of ``multiple``,
    which the network's stride divides, and ``overlap`` is ignored. Tiles of other networks overlap
    and are blended, and their size shows slightly. Text and image tokens are those of the whole
    photo for every tile. ``on_tile`` is called after every tile of ``denoise``. ``wanted`` holds
    for every step the part of the latent that counts; the rest of a prediction stays zero.

    With ``whole_codec`` only ``denoise`` is tiled.

    The canvas may be ``Windowed``. Then pictures that are decoded for the next step are kept as
    8-bit integers, and only windows of them become floats.
    """

    def __init__(
        self,
        restorer: Restorer,
        tile: int,
        overlap: int,
        on_tile: OnTile | None = None,
        *,
        wanted: Sequence[Box] | None = None,
        multiple: int = 1,
        whole_codec: bool = False,
    ) -> None:
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap {overlap} must be smaller than tile {tile}")
        super().__init__(restorer)
        self.tile = tile
        self.overlap = overlap
        self.on_tile = on_tile
        self.multiple = multiple
        self.wanted = None if wanted is None else iter(wanted)
        self.exact_codec = restorer.exact_codec or whole_codec

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

        latent = torch.empty(shape, device=image.device)
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
        if isinstance(canvas, Windowed):
            return self._decode_to_integers(z, canvas.as_tensor(), cond, shape)
        image = z.new_empty(shape, dtype=torch.float32)
        for rows, band in self.decoded_rows(z, canvas, cond):
            image[..., rows, :] = band
        return image

    def decoded_rows(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield the decoded image in bands of rows, from the top: (rows, (B, 3, rows, W))."""
        batch, _, height, width = z.shape

        def decode_tile(box: Box) -> Tensor:
            seen = None if canvas is None else self._pixels(canvas, box)
            return self.inner.decode(z[..., *box], seen, cond)

        shape = (batch, 3, height * self.factor, width * self.factor)
        yield from blended_rows(
            shape,
            z.device,
            self.boxes(height, width),
            decode_tile,
            self.factor,
        )

    def _decode_to_integers(
        self,
        z: Tensor,
        canvas: Tensor,
        cond: Conditioning | None,
        shape: tuple[int, ...],
    ) -> Tensor:
        stored = torch.empty(shape, dtype=torch.uint8)
        for rows, band in self.decoded_rows(z, canvas, cond):
            stored[..., rows, :] = band.clamp(0, 1).mul_(255).round_().to("cpu", torch.uint8)

        def read(rows: slice, columns: slice) -> Tensor:
            return stored[..., rows, columns].to(z.device).float().div_(255)

        return Windowed(shape, z.device, read).as_tensor()

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` with the tokens of the image; a windowed one is reduced first."""
        if isinstance(image, Windowed):
            image = _reduced(image)
        return self.inner.embed(image, cond)

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

        prediction = torch.zeros_like(z, dtype=torch.float32)
        if self.halo is not None:
            area = (slice(0, height), slice(0, width)) if self.wanted is None else next(self.wanted)
            tiles = cut(area, self.tile, self.halo, (height, width), self.multiple)
            return stitch(prediction, tiles, denoise_tile)
        return blend(prediction, self.boxes(height, width), denoise_tile)

    def _pixels(self, image: Tensor, box: Box) -> Tensor:
        """Return the image's pixels under a box of the latent."""
        return image[..., *scaled_box(box, self.factor)]


def _reduced(image: Windowed) -> Tensor:
    """Return the picture averaged over squares, so that no side is above ``LARGEST_VIEW``."""
    height, width = image.shape[-2:]
    side = -(-max(height, width) // LARGEST_VIEW)
    rows = side * max(1, 256 // side)
    strips = [
        F.avg_pool2d(image[..., top : min(top + rows, height), 0:width], side, ceil_mode=True)
        for top in range(0, height, rows)
    ]
    return torch.cat(strips, dim=-2)


def _fixed_noise(draws: Tensor) -> Noise:
    """Return a source of noise that returns ``draws``, and refuses any other shape."""

    def noise(shape: Sequence[int]) -> Tensor:
        if tuple(shape) != tuple(draws.shape):
            raise ValueError(f"noise of shape {tuple(draws.shape)} was requested as {tuple(shape)}")
        return draws

    return noise
