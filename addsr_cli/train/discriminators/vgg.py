"""What a pretrained VGG16 sees in the pictures of a step: for LPIPS and for a discriminator on the same features."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from addsr_cli.perceptual import LPIPS, STAGES
from addsr_cli.train.discriminators.base import SLOPE, Discriminator

JUDGED = (
    4  # stages that the discriminator looks at; the last sees too much at once to judge texture
)
WIDTHS = (32, 64, 64, 64)  # of its heads
FAINTEST = 1e-3  # least scale of a feature: a stage may see nothing at all in the first photos
REMEMBERED = 2  # pictures: the student's and the original


class VggFeatures:
    """LPIPS with VGG16, which remembers the pictures of the present step: several losses look at the same ones."""

    def __init__(self, lpips: LPIPS) -> None:
        self.lpips = lpips
        self.recent: list[tuple[Tensor, list[Tensor]]] = []

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Features of five stages of an image (B, 3, H, W) in [0, 1], with gradients to it if it has them."""
        for seen, features in self.recent:
            if seen is image:
                return features
        features = self.lpips.features(image)
        self.recent = [*self.recent[1 - REMEMBERED :], (image, features)]
        return features

    def distance(self, picture: Tensor, hr: Tensor) -> Tensor:
        """LPIPS (B,) with gradients to ``picture``."""
        return self.lpips.between(self(picture), self(hr))

    def forget(self) -> None:
        """Let go of the last step's pictures."""
        self.recent.clear()


class VggDiscriminator(Discriminator):
    """Small heads on the first four stages of a frozen VGG16, one logit for every place of each.

    A projected discriminator (Sauer et al. 2021), as AddSR's is on DINO. Features are divided by
    what they measure on average in the first photos seen; spectral norm keeps the heads smooth.
    """

    scales: Tensor

    def __init__(self, vgg: VggFeatures) -> None:
        super().__init__()
        self.vgg = vgg
        stages = STAGES["vgg"][:JUDGED]
        self.heads = nn.ModuleList(_head(*sizes) for sizes in zip(stages, WIDTHS, strict=True))
        for number, channels in enumerate(stages):
            self.register_buffer(f"scale_{number}", torch.zeros(channels))

    def condition(self, canvas: Tensor) -> Tensor:
        """Nothing: LPIPS holds the picture to its original, the heads judge whether it looks like a photo."""
        return canvas.new_zeros(len(canvas), 0)

    def features(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Four stages of VGG16 (B, C, h, w); nothing is random."""
        return self.vgg(image)[:JUDGED]

    def observed(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """The same without gradient, from what the losses of the student have seen of the picture anyway."""
        return [each.detach() for each in self.features(image, generator)]

    def heads_on(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Logits of each stage (B, h * w)."""
        logits = []
        for number, (head, seen) in enumerate(zip(self.heads, features, strict=True)):
            logits.append(head(seen / self._scale(number, seen)).flatten(1))
        return logits

    def _scale(self, number: int, seen: Tensor) -> Tensor:
        scale = self.get_buffer(f"scale_{number}")
        if not scale.any():
            power = _over_processes(seen.detach().square().mean((0, 2, 3))).sqrt()
            scale.copy_((power + 0.01 * power.mean()).clamp(min=FAINTEST))
        return scale[:, None, None]


def _over_processes(values: Tensor) -> Tensor:
    """Their mean over all processes, which train one discriminator and see different photos."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
        values = values / dist.get_world_size()
    return values


def _head(channels: int, width: int) -> nn.Sequential:
    sizes = ((channels, width, 1), (width, width, 3), (width, width, 3))
    layers: list[nn.Module] = []
    for before, after, side in sizes:
        layers += [
            spectral_norm(nn.Conv2d(before, after, side, padding=side // 2)),
            nn.LeakyReLU(SLOPE),
        ]
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
