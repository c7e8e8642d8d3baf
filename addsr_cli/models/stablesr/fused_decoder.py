"""Controllable feature wrapping (CFW): Stable Diffusion's decoder with features of the canvas.

At two resolutions the decoder's features get those that the VAE's encoder computes of the canvas,
fused by trained blocks and weighted by ``w``: 0 is the plain decoder, 1 stays nearest to the photo
(StableSR section 3.3).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from addsr_cli.models.nano.restorer import RESIDUAL_SCALE, DenseBlock

GROUPS = 32
EPSILON = 1e-6
DENSE_GROUPS = 2
DENSE_BLOCKS = 3
GROWTH = 32
# Levels of the encoder whose features are fused: half and a quarter of the resolution
LEVELS = (1, 2)


class Fusion(nn.Module):
    """Features of canvas and decoder, both (B, width, h, w) -> their correction, the same size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = _resnet(2 * width, width)
        self.dense = nn.ModuleList(
            nn.Sequential(*(DenseBlock(width, GROWTH) for _ in range(DENSE_BLOCKS)))
            for _ in range(DENSE_GROUPS)
        )
        self.exit = _resnet(width, width)

    def forward(self, canvas: Tensor, hidden: Tensor) -> Tensor:
        """Run the block; its dense groups are those of ESRGAN."""
        mixed = self.entry(torch.cat([canvas, hidden], dim=1), None)
        for group in self.dense:
            mixed = torch.add(mixed, group(mixed), alpha=RESIDUAL_SCALE)
        corrected: Tensor = self.exit(mixed, None)
        return corrected


class FusedDecoder(nn.Module):
    """The two fusion blocks of a VAE (diffusers' ``AutoencoderKL``), and how they are used."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(Fusion(width) for width in widths)

    def decode(
        self,
        vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
        latent: Tensor,
        canvas: Tensor,
        weight: float,
    ) -> Tensor:
        """Return the picture (B, 3, 8h, 8w) of a latent (B, 4, h, w) that is not scaled.

        ``canvas`` (B, 3, 8h, 8w) and the result are in [-1, 1], the latter not clamped.
        """
        features = self._features(vae.encoder, canvas)
        decoder = vae.decoder
        hidden = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latent)))
        lowest = len(decoder.up_blocks) - 1
        for number, block in enumerate(decoder.up_blocks):
            for resnet in block.resnets:
                hidden = resnet(hidden, None)
            level = lowest - number
            if level in features:
                fusion = self.fusions[LEVELS.index(level)]
                hidden = torch.add(hidden, fusion(features.pop(level), hidden), alpha=weight)
            for upsampler in block.upsamplers or ():
                hidden = upsampler(hidden)
        picture: Tensor = decoder.conv_out(F.silu(decoder.conv_norm_out(hidden)))
        return picture

    def _features(self, encoder: Any, canvas: Tensor) -> dict[int, Tensor]:  # noqa: ANN401
        """Return the canvas's features by level, before each downsampler."""
        features = {}
        hidden = encoder.conv_in(canvas)
        for level, block in enumerate(encoder.down_blocks):
            for resnet in block.resnets:
                hidden = resnet(hidden, None)
            if level in LEVELS:
                features[level] = hidden
            if level == max(LEVELS):
                break
            for downsampler in block.downsamplers or ():
                hidden = downsampler(hidden)
        return features


def fusion_widths(vae: Any) -> list[int]:  # noqa: ANN401 (diffusers' AutoencoderKL)
    """Return the channels of the fused features of a VAE."""
    return [vae.config.block_out_channels[level] for level in LEVELS]


def _resnet(before: int, width: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=before,
        out_channels=width,
        temb_channels=None,  # type: ignore[arg-type]  # which diffusers allows
        groups=GROUPS,
        eps=EPSILON,
    )
