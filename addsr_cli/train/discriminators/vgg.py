"""A projected discriminator on features of VGG16."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from addsr_cli.perceptual import STAGES
from addsr_cli.train.discriminators.base import SLOPE, Discriminator
from addsr_cli.train.losses.perceptual import VggFeatures

STAGE_COUNT = 4  # of VGG16's five; the last sees too large a region to compare texture
HEAD_WIDTHS = (32, 64, 64, 64)
MIN_SCALE = 1e-3  # a stage may be all zero on the first photos


class VggDiscriminator(Discriminator):
    """Small heads on the first four stages of a frozen VGG16, with one logit for every place.

    A projected discriminator (Sauer et al. 2021), as AddSR's is on DINO. Features are divided by
    their root mean square on the first photos; spectral norm keeps the heads smooth.
    """

    def __init__(self, vgg: VggFeatures) -> None:
        super().__init__()
        self.vgg = vgg
        stages = STAGES["vgg"][:STAGE_COUNT]
        self.heads = nn.ModuleList(_head(*sizes) for sizes in zip(stages, HEAD_WIDTHS, strict=True))
        for number, channels in enumerate(stages):
            self.register_buffer(f"scale_{number}", torch.zeros(channels))

    def condition(self, canvas: Tensor) -> Tensor:
        """Return nothing: the heads assess realism only; LPIPS compares the image with HR."""
        return canvas.new_zeros(len(canvas), 0)

    def features(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return four stages of VGG16 (B, C, h, w), without augmentation."""
        return self.vgg(image)[:STAGE_COUNT]

    def detached_features(
        self, image: Tensor, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Return the same without gradient, from the pass that the student's losses share."""
        return [feature_map.detach() for feature_map in self.features(image, generator)]

    def compute_logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return the logits of each stage (B, h * w)."""
        logits = []
        for number, (head, feature_map) in enumerate(zip(self.heads, features, strict=True)):
            scaled = feature_map / self._scale(number, feature_map)
            logits.append(head(scaled).flatten(1))
        return logits

    def _scale(self, number: int, feature_map: Tensor) -> Tensor:
        """Return the scale (C, 1, 1) of a stage; measure it on first use."""
        scale = self.get_buffer(f"scale_{number}")
        if not scale.any():
            power = _mean_over_processes(feature_map.detach().square().mean((0, 2, 3)))
            rms = power.sqrt()
            scale.copy_((rms + 0.01 * rms.mean()).clamp(min=MIN_SCALE))
        return scale[:, None, None]


def _mean_over_processes(values: Tensor) -> Tensor:
    """Average over all processes, which train one discriminator and see different photos."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
        values = values / dist.get_world_size()
    return values


def _head(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, side in ((channels, width, 1), (width, width, 3), (width, width, 3)):
        conv = nn.Conv2d(before, after, side, padding=side // 2)
        layers += [spectral_norm(conv), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
