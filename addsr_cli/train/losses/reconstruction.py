"""Distances of images (B, 3, H, W) in [0, 1] to HR, one value per sample (B,)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from addsr_cli.similarity import in_float32
from addsr_cli.train.losses.perceptual import VggFeatures


@in_float32
def charbonnier(
    a: Tensor,
    b: Tensor,
    eps: float = 1e-3,
) -> Tensor:
    """Smooth absolute distance, mean over pixels: ``sqrt((a - b)^2 + eps^2)``."""
    return torch.sqrt((a - b) ** 2 + eps**2).flatten(1).mean(1)


class ReconstructionLosses:
    """The distances to HR whose weight is above 0, by name: "l1" (Charbonnier) and "lpips"."""

    def __init__(self, weights: Mapping[str, float], vgg: VggFeatures | None = None) -> None:
        self.names = [name for name, weight in weights.items() if weight > 0]
        self.vgg = vgg

    def __call__(self, image: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Return each loss (B,), unweighted."""
        return {name: self._distance(name, image, hr) for name in self.names}

    def _distance(
        self,
        name: str,
        image: Tensor,
        hr: Tensor,
    ) -> Tensor:
        if name == "l1":
            return charbonnier(image, hr)
        assert self.vgg is not None
        return self.vgg.distance(image, hr)
