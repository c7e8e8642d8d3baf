"""Distances between pictures, float32 (B, 3, H, W) in [0, 1] -> one value per sample (B,)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from addsr_cli.errors import UsageError

SSIM_WINDOW = 7
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # Wang et al. 2004, eq. 13, for a data range of 1


def charbonnier(a: Tensor, b: Tensor, eps: float = 1e-3) -> Tensor:
    """Smooth absolute distance, mean over pixels: ``sqrt((a - b)^2 + eps^2)``."""
    return torch.sqrt((a - b) ** 2 + eps**2).flatten(1).mean(1)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity with a uniform 7x7 window, sample covariance, windows inside the picture only."""
    correction = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mu_a, mu_b, aa, bb, ab = _window_means(torch.stack([a, b, a * a, b * b, a * b]))
    var_a = correction * (aa - mu_a * mu_a)
    var_b = correction * (bb - mu_b * mu_b)
    covariance = correction * (ab - mu_a * mu_b)
    luminance = (2 * mu_a * mu_b + SSIM_C1) / (mu_a**2 + mu_b**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (luminance * structure).flatten(1).mean(1)


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
        assert self.lpips is not None
        return self.lpips(picture * 2 - 1, hr * 2 - 1).flatten()


def _lpips() -> nn.Module:
    try:
        from lpips import LPIPS
    except ImportError as exc:
        raise UsageError("--anchor-lpips needs the package lpips.", "pip install lpips torchvision") from exc
    network: nn.Module = LPIPS(net="vgg", verbose=False).eval().requires_grad_(False)
    return network


def _window_means(x: Tensor) -> Tensor:
    """Mean over each 7x7 window, as two depthwise convolutions: twenty times faster on a CPU than pooling."""
    height, width = x.shape[-2:]
    planes = x.reshape(1, -1, height, width)
    count = planes.shape[1]
    column = planes.new_full((count, 1, SSIM_WINDOW, 1), 1 / SSIM_WINDOW)
    means = F.conv2d(F.conv2d(planes, column, groups=count), column.transpose(2, 3), groups=count)
    return means.reshape(*x.shape[:-2], *means.shape[-2:])
