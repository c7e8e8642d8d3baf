"""The UNet of the first nano, on the quarter grid: what ships as ``nano``.

It predicts the clean latent as a residual on the control picture, which enters through a branch of
its own. Every layer normalizes over channels only: statistics over a tile would differ from those
over the photo and show as seams.

Neighbouring pixels are nearly equal, so the folded channels are nearly copies of one another, which
trains slowly. The network therefore reads and writes them in a fixed basis, a DCT of every block
whose coefficients are divided by their deviation in photos.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from addsr_cli.models.nano.layers import (
    BLOCK,
    COLOURS,
    FLAT,
    LATENT,
    TimeEmbedding,
    contrast_gate,
    zero,
)

MEAN_DEVIATION = 4.0  # of a block's mean coefficient in photos, latents of about unit variance
DETAIL_DEVIATION = 0.55  # of a coefficient at frequency 1; falls with the frequency
RESIDUAL_MEAN_DEVIATION = 0.8  # of the mean coefficient of photo minus enlargement


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Size of the network.

    ``channels`` and ``depths`` go from the quarter grid to the coarsest; ``depths`` counts residual
    blocks on the way up (the way down has one per level). ``scaling_factor`` brings latents to
    about unit variance.
    """

    channels: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 1, 1)
    embedding: int = 128
    scaling_factor: float = 2.0

    def __post_init__(self) -> None:
        """Raise ValueError unless levels match."""
        if len(self.channels) != len(self.depths) or min(self.channels) < 1 or min(self.depths) < 1:
            raise ValueError("channels and depths need one positive entry per level")
        if not (math.isfinite(self.scaling_factor) and self.scaling_factor > 0):
            raise ValueError(f"scaling_factor must be a number above 0, not {self.scaling_factor}")

    @property
    def stride(self) -> int:
        """Blocks of the quarter grid per pixel of the coarsest level."""
        return int(2 ** (len(self.channels) - 1))

    @property
    def halo(self) -> int:
        """Receptive field in blocks to every side, rounded up to the stride.

        A 3x3 convolution on level n sees ``2**n`` blocks; a residual block has two of them, the way
        down one such block per level, and input and output layer one convolution each. Shrinking by
        2 sees as far as a cell of the coarsest level reaches. The contrast gate reads 3 blocks of
        the control image, which is less.
        """
        levels = [2**level for level in range(len(self.channels))]
        down = sum(2 * reach for reach in levels[:-1])
        up = sum(2 * reach * depth for reach, depth in zip(levels, self.depths, strict=True))
        return -(-(1 + down + up + 1 + self.stride - 1) // self.stride) * self.stride


def block_dct() -> Tensor:
    """Return the orthonormal 2-D DCT-II of a 4x4 block per colour, as a (48, 48) matrix."""
    # on the CPU even when the network is built on the meta device, where torch would import its
    # compiler, which takes a second
    k = torch.arange(BLOCK, dtype=torch.float32, device="cpu")
    line = torch.cos(math.pi * k[:, None] * (k + 0.5) / BLOCK) * math.sqrt(2 / BLOCK)
    line[0] /= math.sqrt(2)
    return torch.kron(torch.eye(COLOURS, device="cpu"), torch.kron(line, line))


def deviations(mean: float) -> Tensor:
    """Return the expected deviation (48,) of every DCT coefficient.

    ``mean`` for the block mean, else 0.55 / frequency.
    """
    k = torch.arange(BLOCK, dtype=torch.float32, device="cpu")
    frequency = torch.hypot(k[:, None], k[None]).flatten()
    detail = DETAIL_DEVIATION / frequency.clamp(min=1)
    return torch.where(frequency == 0, mean, detail).repeat(COLOURS)


class ResidualBlock(nn.Module):
    """Layer norm over channels, then two 3x3 convolutions, modulated by the timestep in between.

    Starts as the identity.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        zero(self.second)
        zero(self.modulation)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, C, h, w), time (B, E) -> (B, C, h, w)."""
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return x + self.second(F.silu(torch.addcmul(shift, inner, 1 + scale)))


class Stage(nn.ModuleList):
    """Residual blocks in a row."""

    def __init__(
        self,
        width: int,
        depth: int,
        embedding: int,
    ) -> None:
        super().__init__(ResidualBlock(width, embedding) for _ in range(depth))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run the blocks in order."""
        for block in self:
            x = block(x, time)
        return x


class UNet(nn.Module):
    """UNet on the quarter grid: (noisy latent, control latent, t) -> clean latent."""

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths, latent = config.channels, LATENT
        self.config = config
        self.stride = config.stride
        self.time = TimeEmbedding(config.embedding)
        self.control_in = nn.Conv2d(latent, widths[0], 3, padding=1)
        self.noisy_in = nn.Conv2d(latent, widths[0], 1)
        self.down = nn.ModuleList(Stage(w, 1, config.embedding) for w in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.middle = Stage(widths[-1], config.depths[-1], config.embedding)
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            Stage(w, d, config.embedding)
            for w, d in zip(widths[:-1], config.depths[:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], latent, 3, padding=1)
        zero(self.out)
        analysis = block_dct() / deviations(MEAN_DEVIATION)[:, None]
        synthesis = block_dct().T * deviations(RESIDUAL_MEAN_DEVIATION)
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
    ) -> Tensor:
        """z and control (B, 48, h, w), any h and w; t (B,); returns the clean latent (B, 48, h, w).

        ``control`` and the result may have a wider dtype than the weights: only the residual is
        rounded to the dtype of the weights, so that smooth gradients stay smooth in half precision.
        """
        h, w = z.shape[-2:]
        pad = (0, -w % self.stride, 0, -h % self.stride)
        time = self.time(t)
        analysing = torch.einsum("oshw,sc->ochw", self.control_in.weight, self.analysis)
        seen = F.pad(control, pad, "replicate").to(analysing.dtype)
        x = F.conv2d(
            seen,
            analysing,
            self.control_in.bias,
            padding=1,
        )
        x = x + self.noisy_in(F.pad(z, pad, "replicate"))
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            x = stage(x, time)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x, time)
        for stage, grow, skip in zip(
            reversed(self.up),
            reversed(self.grow),
            reversed(skips),
            strict=True,
        ):
            x = stage(F.pixel_shuffle(grow(x), 2) + skip, time)
        assert self.out.bias is not None
        synthesising = torch.einsum("ps,sihw->pihw", self.synthesis, self.out.weight)
        residual = F.conv2d(
            x,
            synthesising,
            torch.mv(self.synthesis, self.out.bias),
            padding=1,
        )
        return (
            control
            + contrast_gate(control, 2 * self.config.scaling_factor * FLAT) * residual[..., :h, :w]
        )
