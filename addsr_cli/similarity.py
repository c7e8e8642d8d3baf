"""Similarity of pictures, float (B, 3, H, W) in [0, 1]: one value per sample (B,).

Computed in float32 or wider.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

P = ParamSpec("P")

SSIM_WINDOW = 7
RING = 0.0625  # width of a ring of frequencies, in cycles per pixel
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # Wang et al. 2004, eq. 13, for a data range of 1


def in_float32(measure: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorate a measure to compute in float32 or wider, whatever its inputs and autocast.

    Such measures subtract squares of nearly equal numbers, which bf16 cannot represent.
    """

    @wraps(measure)
    def widened(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        device = next(each.device.type for each in args if isinstance(each, Tensor))
        with torch.autocast(device, enabled=False):
            return measure(*map(_widened, args), **kwargs)

    return widened


def _widened(value: Any) -> Any:  # noqa: ANN401 (tensors get wider, anything else stays)
    return (
        value.to(torch.promote_types(value.dtype, torch.float32))
        if isinstance(value, Tensor)
        else value
    )


@in_float32
def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity: uniform 7x7 windows inside the picture, sample covariance."""
    correction = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mu_a, mu_b, aa, bb, ab = _window_means(torch.stack([a, b, a * a, b * b, a * b]))
    var_a = correction * (aa - mu_a * mu_a)
    var_b = correction * (bb - mu_b * mu_b)
    covariance = correction * (ab - mu_a * mu_b)
    luminance = (2 * mu_a * mu_b + SSIM_C1) / (mu_a**2 + mu_b**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (luminance * structure).flatten(1).mean(1)


@in_float32
def log_spectrum(picture: Tensor, floor: float = 1e-9) -> Tensor:
    """Log of the mean power (B, 6) in six rings of frequency from 1/8 to 1/2 cycle per pixel.

    Of the mean of the colours, less its own mean, under a Hann window; ``floor`` is added to the
    power.
    """
    height, width = picture.shape[-2:]
    grey = picture.mean(1)
    grey = grey - grey.mean((-2, -1), keepdim=True)
    line, column = (
        torch.hann_window(
            n,
            periodic=False,
            dtype=picture.dtype,
            device=picture.device,
        )
        for n in (width, height)
    )
    power = torch.fft.fft2(grey * column[:, None] * line).abs().square().flatten(1)
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width))
    radius = torch.hypot(rows[:, None], columns[None]).flatten()
    lows = torch.arange(2 * RING, 0.5, RING, dtype=torch.float64)[:, None]
    rings = ((radius >= lows) & (radius < lows + RING)).to(picture)
    return torch.log(power @ (rings / rings.sum(1, keepdim=True)).T + floor)


def _window_means(x: Tensor) -> Tensor:
    """Mean over each 7x7 window.

    Two depthwise convolutions are twenty times faster on a CPU than pooling.
    """
    height, width = x.shape[-2:]
    planes = x.reshape(1, -1, height, width)
    count = planes.shape[1]
    column = planes.new_full((count, 1, SSIM_WINDOW, 1), 1 / SSIM_WINDOW)
    means = F.conv2d(
        F.conv2d(planes, column, groups=count),
        column.transpose(2, 3),
        groups=count,
    )
    return means.reshape(*x.shape[:-2], *means.shape[-2:])
