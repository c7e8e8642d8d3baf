"""AddSR's discriminator: small heads on features of a frozen DINO (Sauer et al. 2023, as in ADD).

Five heads read the tokens after the position embedding and after four blocks. Each compares every
patch with DINOv2's class token of the canvas.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from transformers import PreTrainedModel

from addsr_cli.models.pretrained import normalize_imagenet
from addsr_cli.train.discriminators.backbones import load_backbone
from addsr_cli.train.discriminators.base import SLOPE, Discriminator, Generators
from addsr_cli.train.discriminators.diffaug import augment, draw

BLOCKS = (2, 5, 8, 11)  # of DINO, whose outputs have heads, besides the tokens before the first
NORM_GROUPS = 4
KERNEL_SIZE = 9  # of the residual convolution over tokens
PROJECTED_CHANNELS = 64  # compared with the condition
CROP_PROBABILITY = 0.5
FROZEN = frozenset(("backbone", "condition_encoder"))


class Block(nn.Sequential):
    """Spectral-normed circular convolution over tokens, GroupNorm, LeakyReLU.

    (B, C, N) -> (B, C, N).
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        conv = nn.Conv1d(
            channels,
            channels,
            kernel_size,
            padding=kernel_size // 2,
            padding_mode="circular",
        )
        norm = nn.GroupNorm(NORM_GROUPS, channels)
        super().__init__(spectral_norm(conv), norm, nn.LeakyReLU(SLOPE))


class Head(nn.Module):
    """Tokens (B, C, N) and the condition (B, D) -> one logit per token (B, N)."""

    def __init__(self, channels: int, condition_channels: int) -> None:
        super().__init__()
        self.first = Block(channels, 1)
        self.wide = Block(channels, KERNEL_SIZE)
        self.match = spectral_norm(nn.Conv1d(channels, PROJECTED_CHANNELS, 1))
        self.wanted = nn.Parameter(torch.randn(PROJECTED_CHANNELS, condition_channels))
        self.wanted_bias = nn.Parameter(torch.zeros(PROJECTED_CHANNELS))

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Projection discriminator (Miyato and Koyama 2018) per token, over sqrt(channels)."""
        x = self.first(tokens)
        x = (self.wide(x) + x) / 2**0.5
        weight = self.wanted / condition.shape[1] ** 0.5
        projected = F.linear(condition, weight, self.wanted_bias)
        return torch.einsum("bcn,bc->bn", self.match(x), projected) / PROJECTED_CHANNELS**0.5


class ProjectedDiscriminator(Discriminator):
    """Trained heads on a frozen DINO (of the image), conditioned on DINOv2 (of the canvas).

    ``raw`` leaves out the color normalization before DINOv2, as the official code does. The state
    dict has the heads alone, because the frozen networks have files of their own.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        condition_encoder: PreTrainedModel,
        *,
        raw: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False)
        self.condition_encoder = condition_encoder.eval().requires_grad_(False)
        self.raw = raw
        channels = backbone.config.hidden_size
        condition_channels = condition_encoder.config.hidden_size
        self.heads = nn.ModuleList(
            Head(channels, condition_channels) for _ in range(len(BLOCKS) + 1)
        )
        self.register_state_dict_post_hook(_remove_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_ignore_frozen)  # type: ignore[no-untyped-call]

    @classmethod
    def load(
        cls,
        dino: Path,
        dinov2: Path,
        *,
        raw: bool = False,
    ) -> Self:
        """Return one with new heads, from local folders of the components ``dino`` and ``dinov2``.

        Raises ModelUnavailable.
        """
        return cls(
            load_backbone(dino),
            load_backbone(dinov2),
            raw=raw,
        )

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the heads; the frozen networks stay in eval mode."""
        super().train(mode)
        self.backbone.eval()
        self.condition_encoder.eval()
        return self

    @torch.no_grad()
    def condition(self, canvas: Tensor) -> Tensor:
        """Canvas (B, 3, H, W) in [0, 1] -> DINOv2's class token (B, D), float32."""
        side = self.condition_encoder.config.image_size
        resized = F.interpolate(
            canvas.float(),
            (side, side),
            mode="bilinear",
            align_corners=False,
        )
        inputs = resized if self.raw else normalize_imagenet(resized)
        return self.condition_encoder(inputs).pooler_output.float()

    def features(self, image: Tensor, generators: Generators = None) -> list[Tensor]:
        """Image (B, 3, H, W) in [0, 1] -> five maps (B, C, N): class token plus patch token."""
        inputs = normalize_imagenet(self._augmented(image, generators))
        states = self.backbone(inputs, output_hidden_states=True).hidden_states
        chosen = [states[block + 1] for block in BLOCKS] + [states[0]]
        return [(tokens[:, 1:] + tokens[:, :1]).transpose(1, 2) for tokens in chosen]

    def compute_logits(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Return the logits (B, N) of each head."""
        return [head(tokens, condition) for head, tokens in zip(self.heads, features, strict=True)]

    def _augmented(self, image: Tensor, generators: Generators) -> Tensor:
        """Augment around mid gray, sometimes crop at full size, and resize for the backbone."""
        side = self.backbone.config.image_size
        if not generators:
            return F.interpolate(image, (side, side), mode="area")
        height, width = image.shape[-2:]
        image = augment(2 * image - 1, draw((height, width), generators)) / 2 + 0.5
        views = []
        for each, generator in zip(torch.split(image, 1), generators, strict=True):
            view = each
            if min(height, width) > side and torch.rand((), generator=generator) < CROP_PROBABILITY:
                view = _random_square(each, side, generator)
            views.append(F.interpolate(view, (side, side), mode="area"))
        return torch.cat(views)


def _random_square(image: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return a square of a larger image."""
    height, width = image.shape[-2:]
    top = int(torch.randint(0, height - side + 1, (), generator=generator))
    left = int(torch.randint(0, width - side + 1, (), generator=generator))
    return image[..., top : top + side, left : left + side]


def _remove_frozen(
    module: nn.Module,
    state: dict[str, Tensor],
    prefix: str,
    _: Any,  # noqa: ANN401 (torch's own metadata)
) -> None:
    for key in list(state):
        if key.startswith(prefix) and _is_frozen(key.removeprefix(prefix)):
            del state[key]


def _ignore_frozen(module: nn.Module, keys: Any) -> None:  # noqa: ANN401 (torch's pair of lists)
    keys.missing_keys[:] = [key for key in keys.missing_keys if not _is_frozen(key)]


def _is_frozen(key: str) -> bool:
    return not FROZEN.isdisjoint(key.split("."))
