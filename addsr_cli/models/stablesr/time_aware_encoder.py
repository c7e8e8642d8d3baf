"""StableSR's time-aware encoder: from the LR latent and the timestep to four feature maps.

It is the down half of a diffusion UNet on stock diffusers blocks (StableSR section 3.2). How much
of the photo the maps show depends on the timestep.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

GROUPS = 32
EPSILON = 1e-5
TIME_GROWTH = 4  # width of the time embedding, over that of its sinusoids


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of the encoder, by default the published ones.

    ``widths`` are those of the levels, each at half the resolution of the one before;
    ``time_width`` is that of the timestep's sinusoids. Every level but the last has attention.
    """

    widths: tuple[int, ...] = (256, 256, 512, 512)
    out_width: int = 256
    time_width: int = 256
    layers: int = 2
    heads: int = 4
    in_channels: int = 4

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "EncoderConfig":
        """Build from ``to_json``, without keys that are unknown here."""
        known = {key: value for key, value in raw.items() if key in cls.__dataclass_fields__}
        return cls(**known | {"widths": tuple(known.get("widths", cls.widths))})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``config.json``."""
        return asdict(self)


class TimeAwareEncoder(nn.Module):
    """LR latent (B, 4, h, w), timesteps (B,) -> maps (B, out_width, h/2^k, w/2^k), k = 0..3."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        time_width = TIME_GROWTH * config.time_width
        self.sinusoids = Timesteps(
            config.time_width,
            flip_sin_to_cos=True,
            downscale_freq_shift=0,
        )
        self.time_embedding = TimestepEmbedding(config.time_width, time_width)
        self.conv_in = nn.Conv2d(config.in_channels, config.widths[0], 3, padding=1)
        levels = []
        before = config.widths[0]
        last = len(config.widths) - 1
        for number, width in enumerate(config.widths):
            level = _Level(before, width, time_width, config, is_last=number == last)
            levels.append(level)
            before = width
        self.levels = nn.ModuleList(levels)
        self.middle = nn.ModuleList(_resnet(before, before, time_width) for _ in range(2))
        self.middle_attention = _attention(before, config.heads)
        self.taps = nn.ModuleList(
            _resnet(width, config.out_width, time_width) for width in config.widths
        )

    def forward(self, latent: Tensor, t: Tensor) -> list[Tensor]:
        """Return one map per level, the largest first."""
        waves = self.sinusoids(t).to(latent.dtype)
        time = self.time_embedding(waves)
        hidden = self.conv_in(latent)
        maps = []
        for level in self.levels:
            tapped, hidden = level(hidden, time)
            maps.append(tapped)
        before, after = self.middle
        maps[-1] = after(self.middle_attention(before(hidden, time)), time)
        return [tap(each, time) for tap, each in zip(self.taps, maps, strict=True)]


class _Level(nn.Module):
    """Residual blocks of one resolution, with attention after each but in the last level."""

    def __init__(
        self,
        before: int,
        width: int,
        time_width: int,
        config: EncoderConfig,
        *,
        is_last: bool,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _resnet(before if number == 0 else width, width, time_width)
            for number in range(config.layers)
        )
        count = 0 if is_last else config.layers
        self.attentions = nn.ModuleList(_attention(width, config.heads) for _ in range(count))
        # by any name but its own default the block holds its convolution once
        self.downsampler = None if is_last else Downsample2D(width, use_conv=True, name="op")

    def forward(self, hidden: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of this level, and what the next one gets."""
        for number, resnet in enumerate(self.resnets):
            hidden = resnet(hidden, time)
            if self.attentions:
                hidden = self.attentions[number](hidden)
        return hidden, hidden if self.downsampler is None else self.downsampler(hidden)


def _resnet(
    before: int,
    width: int,
    time_width: int,
) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=before,
        out_channels=width,
        temb_channels=time_width,
        groups=GROUPS,
        eps=EPSILON,
    )


def _attention(width: int, heads: int) -> Attention:
    return Attention(
        width,
        heads=heads,
        dim_head=width // heads,
        bias=True,
        residual_connection=True,
        norm_num_groups=GROUPS,
        eps=EPSILON,
        _from_deprecated_attn_block=True,
    )


class Spade(nn.Module):
    """Spatially adaptive normalization: scale and shift features by a map of the same size.

    ``norm(h) * (1 + gamma) + beta``, where ``gamma`` and ``beta`` are convolutions of the map (Park
    et al. 2019, eq. 2). Here the norm is a group norm with weights of its own.
    """

    hidden_width = 128

    def __init__(self, width: int, map_width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=EPSILON)
        self.shared = nn.Conv2d(map_width, self.hidden_width, 3, padding=1)
        self.gamma = nn.Conv2d(self.hidden_width, width, 3, padding=1)
        self.beta = nn.Conv2d(self.hidden_width, width, 3, padding=1)

    def forward(self, hidden: Tensor, feature_map: Tensor) -> Tensor:
        """``hidden`` (B, width, h, w), ``feature_map`` (B, map_width, h, w) -> (B, width, h, w)."""
        shared = F.relu(self.shared(feature_map))
        return self.norm(hidden) * (1 + self.gamma(shared)) + self.beta(shared)
