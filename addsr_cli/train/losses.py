"""Distances between pictures, float32 (B, 3, H, W) in [0, 1] -> one value per sample (B,)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from addsr_cli.errors import UsageError
from addsr_cli.similarity import log_spectrum, ssim


def charbonnier(a: Tensor, b: Tensor, eps: float = 1e-3) -> Tensor:
    """Smooth absolute distance, mean over pixels: ``sqrt((a - b)^2 + eps^2)``."""
    return torch.sqrt((a - b) ** 2 + eps**2).flatten(1).mean(1)


def spectrum(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the log power spectra from a quarter of Nyquist up (after Durall et al. 2020).

    Power below that of rounding to 8 bits does not count.
    """
    height, width = a.shape[-2:]
    window = (3 / 8) ** 2 * height * width  # sum of the squared Hann window
    rounding = window / (12 * 255**2)
    of_a, of_b = log_spectrum(torch.cat([a, b]), rounding).chunk(2)
    return (of_a - of_b).abs().mean(1)


class Anchors:
    """Distances to HR that hold a student to the truth, each (B,), for the names whose weight is above 0."""

    def __init__(self, weights: Mapping[str, float], device: torch.device) -> None:
        self.names = [name for name, weight in weights.items() if weight > 0]
        self.lpips = _lpips().to(device) if "lpips" in self.names else None

    def __call__(self, picture: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W) in [0, 1] -> loss by name."""
        return {name: self._distance(name, picture, hr) for name in self.names}

    def _distance(self, name: str, picture: Tensor, hr: Tensor) -> Tensor:
        if name == "l1":
            return charbonnier(picture, hr)
        if name == "l2":
            return (picture - hr).square().flatten(1).mean(1)
        if name == "ssim":
            return 1 - ssim(picture, hr)
        if name == "spectrum":
            return spectrum(picture, hr)
        assert self.lpips is not None
        return self.lpips(picture * 2 - 1, hr * 2 - 1).flatten()


def _lpips() -> nn.Module:
    try:
        from lpips import LPIPS
    except ImportError as exc:
        raise UsageError("--anchor-lpips needs the package lpips.", "pip install lpips torchvision") from exc
    network: nn.Module = LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)
    return network
