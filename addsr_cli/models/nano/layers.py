"""Layers of the bundled networks: block size, timestep embedding, and the gate for flat areas."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

BLOCK = 4  # pixels folded per side; also the largest factor that the networks were trained for
COLOURS = 3
LATENT = COLOURS * BLOCK**2
FREQUENCIES = 32  # of the sinusoidal timestep features
# Contrast of a neighbourhood, in [0, 1], at which the gate passes half of the correction
FLAT = 2 / 255
NEIGHBOURHOOD = 5  # blocks per side
GATE_REACH = 3  # blocks that the gate reads on each side: of the neighbourhood, and of the mean


def zero(layer: nn.Module) -> None:
    """Initialize a layer to zero, so that its residual branch starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Convolution(nn.Conv2d):
    """A 3x3 convolution with a border of 1 zero around its input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, border: int = 1) -> Tensor:
        """(B, in, h, w) -> (B, out, h, w); without the ``border`` of rows, 0, two rows less."""
        return F.conv2d(x, self.weight, self.bias, padding=(border, 1))


class PreciseConvolution(Convolution):
    """A last layer, which runs in float32: half precision is too coarse."""

    def forward(self, x: Tensor, border: int = 1) -> Tensor:
        """(B, in, h, w) -> (B, out, h, w), float32."""
        return convolve_in_float32(self, x, border)


def convolve_in_float32(
    layer: nn.Conv2d,
    x: Tensor,
    border: int = 1,
) -> Tensor:
    """Run a 3x3 layer in float32, with a border of 1 column and ``border`` rows."""
    with torch.autocast(x.device.type, enabled=False):
        bias = layer.bias.float() if layer.bias is not None else None
        return F.conv2d(x.float(), layer.weight.float(), bias, padding=(border, 1))


class TimeEmbedding(nn.Module):
    """Timestep (B,) -> features (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * FREQUENCIES, width)
        self.outer = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """Embed t: sines and cosines at 32 geometrically spaced rates, then two linear layers."""
        rates = torch.exp(
            -math.log(10_000) * torch.arange(FREQUENCIES, device=t.device) / FREQUENCIES
        )
        angles = t.float()[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.inner.weight.dtype)
        return F.silu(self.outer(F.silu(self.inner(waves))))


def contrast_gate(control: Tensor, flat: float) -> Tensor:
    """Return how far a control latent (B, 48, h, w) is from flat: (B, 1, h, w), 0 to 1.

    ``r^2 / (r^2 + flat^2)`` of the largest difference r within 5x5 blocks of one colour, then a
    mean over 3x3 blocks to avoid jumps. The difference of equal numbers is 0 at every precision, so
    a constant picture stays exactly as it is.
    """
    reach = NEIGHBOURHOOD // 2
    pixels = control.reshape(
        len(control),
        COLOURS,
        BLOCK**2,
        *control.shape[-2:],
    )
    extremes = torch.cat([pixels.amax(2), -pixels.amin(2)], dim=1)
    highest, lowest = F.max_pool2d(
        extremes,
        NEIGHBOURHOOD,
        stride=1,
        padding=reach,
    ).chunk(2, dim=1)
    contrast = (highest + lowest).amax(1, keepdim=True).square()
    return F.avg_pool2d(
        contrast / (contrast + flat**2),
        3,
        stride=1,
        padding=1,
        count_include_pad=False,
    )
