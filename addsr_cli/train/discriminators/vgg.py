"""A projected discriminator on features of VGG16."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from addsr_cli.perceptual import STAGES
from addsr_cli.train.discriminators.base import SLOPE, Discriminator, Generators
from addsr_cli.train.losses.perceptual import VggFeatures

STAGE_COUNT = 4  # of VGG16's five; the last sees too large a region to compare texture
HEAD_WIDTHS = (32, 64, 64, 64)
MIN_SCALE = 1e-3  # a stage may be all zero on the first photos


class VggDiscriminator(Discriminator):
    """Small heads on the first four stages of a frozen VGG16, with one logit for every place.

    A projected discriminator (Sauer et al. 2021), as AddSR's is on DINO. Features are divided by
    their root mean square on the first photos (``calibrate``); spectral norm keeps the heads
    smooth.
    """

    def __init__(self, vgg: VggFeatures) -> None:
        super().__init__()
        self.vgg = vgg
        stages = STAGES["vgg"][:STAGE_COUNT]
        self.heads = nn.ModuleList(_head(*sizes) for sizes in zip(stages, HEAD_WIDTHS, strict=True))
        for number, channels in enumerate(stages):
            self.register_buffer(f"scale_{number}", torch.zeros(channels))  # until calibrated

    def condition(self, canvas: Tensor) -> Tensor:
        """Return nothing: the heads assess realism only; LPIPS compares the image with HR."""
        return canvas.new_zeros(len(canvas), 0)

    def features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Return four stages of VGG16 (B, C, h, w), without augmentation."""
        return self.vgg(image)[:STAGE_COUNT]

    def detached_features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Return the same without gradient, from the pass that the student's losses share."""
        return [feature_map.detach() for feature_map in self.features(image, generators)]

    @torch.no_grad()
    def calibrate(self, images: Sequence[Tensor]) -> None:
        """Set the scales to the root mean square over the images of all processes."""
        if self.get_buffer("scale_0").any():
            return
        power = [torch.zeros_like(self.get_buffer(f"scale_{k}")) for k in range(STAGE_COUNT)]
        for image in images:
            for total, feature_map in zip(power, self.features(image), strict=True):
                total += feature_map.float().square().mean((2, 3)).sum(0)
        sums = torch.cat([*power, power[0].new_tensor([sum(len(image) for image in images)])])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
        means = torch.split(sums[:-1] / sums[-1], [len(total) for total in power])
        for number, mean in enumerate(means):
            rms = mean.sqrt()
            scale = (rms + 0.01 * rms.mean()).clamp(min=MIN_SCALE)
            self.get_buffer(f"scale_{number}").copy_(scale)

    def compute_logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return the logits of each stage (B, h * w)."""
        logits = []
        for number, (head, feature_map) in enumerate(zip(self.heads, features, strict=True)):
            scale = self.get_buffer(f"scale_{number}")
            logits.append(head(feature_map / scale[:, None, None]).flatten(1))
        return logits


def _head(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, side in ((channels, width, 1), (width, width, 3), (width, width, 3)):
        conv = nn.Conv2d(before, after, side, padding=side // 2)
        layers += [spectral_norm(conv), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
