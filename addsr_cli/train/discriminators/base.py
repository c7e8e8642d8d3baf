"""Who judges whether a picture is a photo: the common face of discriminators, and the small one made of convolutions.

A discriminator sees a picture and the canvas it was made from, and answers with logits for many
places, high where the picture looks like a photo. ``features`` is what may be random or frozen,
``judge`` what is trained; the trainer only calls these and never learns which discriminator it has.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

SLOPE = 0.2  # of LeakyReLU
DETAIL_GAIN = (
    4.0  # what a picture adds to its canvas has about a quarter of the picture's contrast at most
)


class Discriminator(nn.Module, ABC):
    """A judge of pictures (B, 3, H, W) in [0, 1]. Only parameters with ``requires_grad`` are trained."""

    @abstractmethod
    def condition(self, canvas: Tensor) -> Tensor:
        """What the canvas (B, 3, H, W) in [0, 1] tells the heads, without gradient; once for real and fake."""

    @abstractmethod
    def features(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """What the heads see of ``image``; a CPU ``generator`` makes it random (augmentation), None leaves it so."""

    @torch.no_grad()
    def observed(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """``features`` without gradient to ``image``, for the discriminator's own update."""
        return self.features(image.detach(), generator)

    @abstractmethod
    def heads_on(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Features and ``condition`` -> logits of each head (B, n)."""

    def judge(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """``heads_on`` in float32, also within autocast: the power iteration of a spectral norm needs the digits."""
        with torch.autocast(condition.device.type, enabled=False):
            return self.heads_on([each.float() for each in features], condition.float())

    def forward(
        self, image: Tensor, condition: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] and ``condition(canvas)`` -> logits of all heads and places (B, N)."""
        return torch.cat(self.judge(self.features(image, generator), condition), dim=1)


class ConvDiscriminator(Discriminator):
    """Patch discriminator on pixels: one tower per scale (1, 1/2, 1/4), each with the canvas beside the picture.

    The first two layers of a tower keep full resolution, so that noise and the finest texture are
    judged before anything is averaged away. A logit stands for about 20 pixels of its scale and one
    for every 4 of them; nothing depends on where a patch lies. There is no norm that would hide how
    strong a texture is.
    """

    def __init__(self, width: int = 16, scales: int = 3) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_tower(width) for _ in range(scales))

    def condition(self, canvas: Tensor) -> Tensor:
        """The canvas itself."""
        return canvas.detach()

    def features(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """The picture itself: its crops are random already, and a shift or hole would part it from its canvas."""
        return [image]

    def heads_on(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Logits of each scale (B, H/4 * W/4), (B, H/8 * W/8), ..."""
        (image,) = features
        seen = torch.cat(
            [2 * image - 1, 2 * condition - 1, DETAIL_GAIN * (image - condition)], dim=1
        )
        seen = seen.contiguous(memory_format=torch.channels_last)  # several times faster on a CPU
        logits = []
        for tower in self.towers:
            logits.append(tower(seen).flatten(1))
            seen = F.avg_pool2d(seen, 2)
        return logits


def _tower(width: int) -> nn.Sequential:
    """Picture, canvas and their difference (B, 9, H, W) -> logits (B, 1, H/4, W/4)."""
    layers = [
        nn.Conv2d(9, width, 3, padding=1),
        nn.Conv2d(width, width, 3, padding=1),
        nn.Conv2d(
            width,
            2 * width,
            4,
            stride=2,
            padding=1,
        ),
        nn.Conv2d(
            2 * width,
            4 * width,
            4,
            stride=2,
            padding=1,
        ),
        nn.Conv2d(4 * width, 1, 3, padding=1),
    ]
    rows = [module for conv in layers for module in (spectral_norm(conv), nn.LeakyReLU(SLOPE))]
    return nn.Sequential(*rows[:-1])
