"""The discriminator of the paper: small heads on the features of a frozen DINO (Sauer et al. 2023, ADD's variant).

Five heads read the tokens after the position embedding and after four blocks. Each judges every
patch by how well its own view agrees with what DINOv2 saw in the canvas.
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
from addsr_cli.train.discriminators.base import SLOPE, Discriminator
from addsr_cli.train.discriminators.diffaug import augment, draw

BLOCKS = (2, 5, 8, 11)  # whose outputs are judged, besides the tokens before the first
GROUPS, TAPS, MATCHED = (
    4,
    9,
    64,
)  # norm groups, kernel of the residual convolution, channels compared with the canvas
CROP_ODDS = 0.5
FROZEN = frozenset(("trunk", "eye"))


class Block(nn.Sequential):
    """Spectral-normed circular convolution over the tokens, GroupNorm, LeakyReLU: (B, C, N) -> (B, C, N)."""

    def __init__(self, channels: int, taps: int) -> None:
        conv = nn.Conv1d(
            channels,
            channels,
            taps,
            padding=taps // 2,
            padding_mode="circular",
        )
        super().__init__(spectral_norm(conv), nn.GroupNorm(GROUPS, channels), nn.LeakyReLU(SLOPE))


class Head(nn.Module):
    """Tokens (B, C, N) and the canvas vector (B, D) -> one logit per token (B, N)."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.first = Block(channels, 1)
        self.wide = Block(channels, TAPS)
        self.match = spectral_norm(nn.Conv1d(channels, MATCHED, 1))
        self.wanted = nn.Parameter(torch.randn(MATCHED, conditions))
        self.wanted_bias = nn.Parameter(torch.zeros(MATCHED))

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Projection discriminator (Miyato and Koyama 2018) per token, scaled by 1/sqrt of its channels."""
        x = self.first(tokens)
        x = (self.wide(x) + x) / 2**0.5
        wanted = F.linear(condition, self.wanted / condition.shape[1] ** 0.5, self.wanted_bias)
        return torch.einsum("bcn,bc->bn", self.match(x), wanted) / MATCHED**0.5


class ProjectedDiscriminator(Discriminator):
    """Trained heads, frozen ``trunk`` (DINO, sees the picture) and ``eye`` (DINOv2, sees the canvas).

    ``raw`` leaves out the colour normalisation before the eye, as the official code does. The state
    dict holds the heads alone: the frozen networks have files of their own.
    """

    def __init__(self, trunk: PreTrainedModel, eye: PreTrainedModel, *, raw: bool = False) -> None:
        super().__init__()
        self.trunk = trunk.eval().requires_grad_(False)
        self.eye = eye.eval().requires_grad_(False)
        self.raw = raw
        sizes = trunk.config.hidden_size, eye.config.hidden_size
        self.heads = nn.ModuleList(Head(*sizes) for _ in range(len(BLOCKS) + 1))
        self.register_state_dict_post_hook(_without_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_frozen_is_not_missing)  # type: ignore[no-untyped-call]

    @classmethod
    def load(cls, dino: Path, dinov2: Path, *, raw: bool = False) -> Self:
        """With fresh heads, from local folders of the components ``dino`` and ``dinov2``. Raises ModelUnavailable."""
        return cls(load_backbone(dino), load_backbone(dinov2), raw=raw)

    def train(self, mode: bool = True) -> Self:
        """Only the heads ever train."""
        super().train(mode)
        self.trunk.eval()
        self.eye.eval()
        return self

    @torch.no_grad()
    def condition(self, canvas: Tensor) -> Tensor:
        """Canvas (B, 3, H, W) in [0, 1] -> the class token of DINOv2 (B, D), float32."""
        side = self.eye.config.image_size
        seen = F.interpolate(
            canvas.float(),
            (side, side),
            mode="bilinear",
            align_corners=False,
        )
        return self.eye(seen if self.raw else normalize_imagenet(seen)).pooler_output.float()

    def features(self, image: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Image (B, 3, H, W) in [0, 1] -> five maps (B, C, N): class token added to each patch token."""
        seen = self.trunk(
            normalize_imagenet(self._view(image, generator)), output_hidden_states=True
        ).hidden_states
        picked = [seen[block + 1] for block in BLOCKS] + [seen[0]]
        return [(tokens[:, 1:] + tokens[:, :1]).transpose(1, 2) for tokens in picked]

    def heads_on(self, features: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Logits (B, N) of each head."""
        return [head(tokens, condition) for head, tokens in zip(self.heads, features, strict=True)]

    def _view(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """What the trunk sees: altered around mid grey, sometimes a part at full size, in the trunk's size."""
        side = self.trunk.config.image_size
        if generator:
            image = augment(2 * image - 1, draw(tuple(image.shape), generator)) / 2 + 0.5
            height, width = image.shape[-2:]
            if min(height, width) > side and torch.rand((), generator=generator) < CROP_ODDS:
                y, x = (
                    int(torch.randint(0, room - side + 1, (), generator=generator))
                    for room in (height, width)
                )
                image = image[..., y : y + side, x : x + side]
        return F.interpolate(image, (side, side), mode="area")


def _without_frozen(
    module: nn.Module,
    state: dict[str, Tensor],
    prefix: str,
    _: Any,  # noqa: ANN401 (as torch hands it over)
) -> None:
    for key in [
        key for key in state if key.startswith(prefix) and _frozen(key.removeprefix(prefix))
    ]:
        del state[key]


def _frozen_is_not_missing(module: nn.Module, keys: Any) -> None:  # noqa: ANN401 (torch's own pair of lists)
    keys.missing_keys[:] = [key for key in keys.missing_keys if not _frozen(key)]


def _frozen(key: str) -> bool:
    return not FROZEN.isdisjoint(key.split("."))
