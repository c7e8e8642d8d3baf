"""The interface of discriminators, and the small convolutional one.

A discriminator sees an image and the canvas that it was restored from, and returns logits for many
places, high where the image looks real. ``features`` may be random (augmentation) or frozen;
``compute_logits`` holds what is trained. Every image of a batch is treated alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

SLOPE = 0.2  # of LeakyReLU
Generators = Sequence[torch.Generator] | None
DETAIL_GAIN = 4.0  # what an image adds to its canvas has at most about a quarter of its contrast


class Discriminator(nn.Module, ABC):
    """Images (B, 3, H, W) in [0, 1] -> logits. Parameters with ``requires_grad`` are trained."""

    @abstractmethod
    def condition(self, canvas: Tensor) -> Tensor:
        """Return what the heads receive of the canvas (B, 3, H, W) in [0, 1], without gradient."""

    @abstractmethod
    def features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Return the heads' input; CPU ``generators``, one an image, draw its augmentation."""

    @torch.no_grad()
    def detached_features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Return ``features`` without gradient to ``image``: for the discriminator's own update."""
        return self.features(image.detach(), generators)

    def calibrate(self, images: Sequence[Tensor]) -> None:
        """Measure once what the heads need to know of real images.

        ``images`` are this process's batches of the first step; all processes call it together.
        """

    @abstractmethod
    def compute_logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return the logits (B, n) of each head, from features and ``condition(canvas)``."""

    def logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return ``compute_logits`` in float32, under autocast too.

        The power iteration of the spectral norms needs the precision.
        """
        with torch.autocast(condition.device.type, enabled=False):
            inputs = [feature_map.float() for feature_map in features]
            return self.compute_logits(inputs, condition.float())

    def forward(
        self,
        image: Tensor,
        condition: Tensor,
        generators: Generators = None,
    ) -> Tensor:
        """Return the logits (B, N) of all heads and places."""
        return torch.cat(self.logits(self.features(image, generators), condition), dim=1)


class ConvDiscriminator(Discriminator):
    """Patch discriminator on pixels: one tower per scale (1, 1/2, 1/4).

    The first two layers of a tower keep full resolution, so that noise and the finest texture count
    before anything is averaged away. A logit sees about 20 pixels of its scale and stands for 4x4
    of them. There is no norm that would hide how strong a texture is.
    """

    def __init__(self, width: int = 16, scales: int = 3) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_tower(width) for _ in range(scales))

    def condition(self, canvas: Tensor) -> Tensor:
        """Return the canvas itself."""
        return canvas.detach()

    def features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Return the image itself.

        It is not augmented: crops are random already, and a shift or cutout would not match the
        canvas.
        """
        return [image]

    def compute_logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return the logits of each scale: (B, H/4 * W/4), (B, H/8 * W/8), ..."""
        (image,) = features
        detail = DETAIL_GAIN * (image - condition)
        x = torch.cat([2 * image - 1, 2 * condition - 1, detail], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)  # several times faster on a CPU
        logits = []
        for tower in self.towers:
            logits.append(tower(x).flatten(1))
            x = F.avg_pool2d(x, 2)
        return logits


def _tower(width: int) -> nn.Sequential:
    """Image, canvas and their difference (B, 9, H, W) -> logits (B, 1, H/4, W/4)."""
    convs = [
        nn.Conv2d(9, width, 3, padding=1),
        nn.Conv2d(width, width, 3, padding=1),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
        nn.Conv2d(4 * width, 1, 3, padding=1),
    ]
    layers: list[nn.Module] = []
    for conv in convs:
        layers += [spectral_norm(conv), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])
