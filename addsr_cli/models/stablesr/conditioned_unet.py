"""StableSR's UNet: Stable Diffusion's, whose residual blocks read the time-aware encoder's maps.

A SPADE layer changes the output of every residual block before its skip connection is added. The
stock UNet stays as it is: forward hooks on the second convolutions apply the layers, so that its
weights keep their names and can be those of another model on the same base.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from addsr_cli.models.stablesr.time_aware_encoder import EncoderConfig, Spade, TimeAwareEncoder


class Adapter(nn.Module):
    """What StableSR trained around the frozen UNet: time-aware encoder and SPADE layers.

    ``spades`` are in the order of ``residual_blocks``.
    """

    def __init__(self, config: EncoderConfig, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = TimeAwareEncoder(config)
        self.spades = nn.ModuleList(Spade(width, config.out_width) for width in widths)


class ConditionedUNet:
    """A stock UNet (diffusers' ``UNet2DConditionModel``) steered by an ``Adapter``."""

    def __init__(self, unet: Any, adapter: Adapter) -> None:  # noqa: ANN401 (no annotated blocks)
        self.unet = unet
        self.adapter = adapter
        self.maps: list[Tensor] = []
        blocks = list(residual_blocks(unet))
        for (level, resnet), spade in zip(blocks, adapter.spades, strict=True):
            resnet.conv2.register_forward_hook(self._hook(level, spade))

    def encode(self, latent: Tensor, t: Tensor) -> list[Tensor]:
        """Return the maps of an LR latent (B, 4, h, w) at timesteps (B,)."""
        maps: list[Tensor] = self.adapter.encoder(latent, t)
        return maps

    def __call__(
        self,
        sample: Tensor,
        t: Tensor,
        text: Tensor,
        maps: Sequence[Tensor],
    ) -> Tensor:
        """Return the network's output (B, 4, h, w) for ``sample`` at ``t`` (B,).

        ``text`` (B, L, C) are text tokens, ``maps`` come from ``encode``.
        """
        self.maps = list(maps)
        try:
            output: Tensor = self.unet(
                sample,
                t,
                encoder_hidden_states=text,
                return_dict=False,
            )[0]
        finally:
            self.maps = []
        return output

    def _hook(self, level: int, spade: nn.Module) -> Any:  # noqa: ANN401 (torch's type of hooks)
        def modulate(_: nn.Module, __: object, hidden: Tensor) -> Tensor:
            modulated: Tensor = spade(hidden, self.maps[level])
            return modulated

        return modulate


def residual_blocks(unet: Any) -> Iterator[tuple[int, ResnetBlock2D]]:  # noqa: ANN401
    """Yield every residual block with its level, 0 at full resolution, in the order of use."""
    lowest = len(unet.down_blocks) - 1
    for level, block in enumerate(unet.down_blocks):
        yield from ((level, resnet) for resnet in block.resnets)
    yield from ((lowest, resnet) for resnet in unet.mid_block.resnets)
    for number, block in enumerate(unet.up_blocks):
        yield from ((lowest - number, resnet) for resnet in block.resnets)


def widths_of(unet: Any) -> list[int]:  # noqa: ANN401 (diffusers' class is not annotated)
    """Return the output channels of every residual block, as ``Adapter`` takes them."""
    return [resnet.out_channels for _, resnet in residual_blocks(unet)]
