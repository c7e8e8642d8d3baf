"""RAM, the tagger of SeeSR and AddSR: it turns a photo into tags and representation tokens.

A Swin-L reads the photo at 384x384; its 144 patch features and their mean become 145 tokens, which
condition UNet and ControlNet. A two-layer head, in which every known tag attends to the tokens,
yields the tags of the prompt. DAPE is RAM with low-rank corrections that make it read degraded
photos as if they were clean; ``merge`` adds them to the weights once, so that there is no LoRA at
run time.

Weights are stored under the names of the official RAM checkpoint (``visual_encoder.*`` with fused
qkv, ``image_proj.*``, ``label_embed``, ``wordvec_proj.*``, ``tagging_head.*``, ``fc.*``),
"canonical" below: transformers has renamed the insides of its Swin before, and stored files must
outlive that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.pretrained import normalize_imagenet

RAM_TAGS = 4585  # in ram_tag_list.txt
CONVERT = "Convert the official checkpoints again."
State = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """Sizes (defaults: RAM Swin-L) and vocabulary.

    ``depths`` and ``num_heads`` go through Swin's stages, ``embed_dim`` is the width of the first
    and doubles with every stage. ``tokens`` is the width of the representation tokens. A photo has
    a tag when its probability is above the threshold; 1.0 therefore switches a tag off.
    """

    tags: tuple[str, ...]
    thresholds: tuple[float, ...]
    embed_dim: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (6, 12, 24, 48)
    window: int = 12
    image_size: int = 384
    patch: int = 4
    tokens: int = 512
    head_hidden: int = 768
    head_intermediate: int = 3072
    head_layers: int = 2
    head_heads: int = 4

    def __post_init__(self) -> None:
        """Raise ValueError unless the sizes match."""
        if not self.tags or len(self.tags) != len(self.thresholds):
            raise ValueError(
                f"{len(self.tags)} tags need as many thresholds, not {len(self.thresholds)}"
            )
        if len(self.depths) != len(self.num_heads):
            raise ValueError("depths and num_heads need one entry per stage")
        if self.head_hidden % self.head_heads or any(
            self.embed_dim * 2**i % n for i, n in enumerate(self.num_heads)
        ):
            raise ValueError("widths must be divisible by their number of attention heads")

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold; the inverse of ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "TaggerConfig":
        """Build a configuration from JSON, in which tuples are lists. Raises ModelUnavailable."""
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in raw.items()
        }
        try:
            return cls(**values)
        except (TypeError, ValueError) as exc:
            raise ModelUnavailable(
                f"The tagger's configuration makes no sense: {exc}.", CONVERT
            ) from exc


def first_view(image: Tensor, size: int = 384) -> Tensor:
    """Resize and normalize a photo for RAM: (B, 3, H, W) in [0, 1] -> (B, 3, size, size).

    Bilinear without antialiasing, as in the torchvision of the official code; it shows in photos
    above ``size``.
    """
    return normalize_imagenet(
        F.interpolate(
            image.float(),
            (size, size),
            mode="bilinear",
            align_corners=False,
        )
    )


def psr_view(image: Tensor, size: int = 384) -> Tensor:
    """Resize and normalize a refined picture: as ``first_view`` but bicubic and not clamped."""
    return normalize_imagenet(
        F.interpolate(
            image.float(),
            (size, size),
            mode="bicubic",
            align_corners=False,
        )
    )


class HeadLayer(nn.Module):
    """Cross-attention of tags (B, T, W) to tokens (B, N, C), then an MLP; post-norm as in BERT."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        width, inner = config.head_hidden, config.head_intermediate
        self.heads = config.head_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(config.tokens, width)
        self.value = nn.Linear(config.tokens, width)
        self.attended = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.narrow_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x (B, T, W), tokens (B, N, C) -> (B, T, W)."""
        projected = self.query(x), self.key(tokens), self.value(tokens)
        q, k, v = (y.reshape(*y.shape[:2], self.heads, -1).transpose(1, 2) for y in projected)
        attention = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.attended_norm(x + self.attended(attention))
        return self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))


class Tagger(nn.Module):
    """Swin, projection to tokens, tag head; float32 even under autocast: rounding changes tags."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        swin: dict[str, Any] = {
            "embed_dim": config.embed_dim,
            "image_size": config.image_size,
            "drop_path_rate": 0.0,
        }
        swin |= {
            "depths": list(config.depths),
            "num_heads": list(config.num_heads),
            "layer_norm_eps": 1e-5,
        }
        self.swin = SwinModel(
            SwinConfig(
                **swin,
                patch_size=config.patch,
                window_size=config.window,
            )
        )
        self.image_proj = nn.Linear(config.embed_dim * 2 ** (len(config.depths) - 1), config.tokens)
        self.label_embed = nn.Parameter(torch.randn(len(config.tags), config.tokens))
        self.wordvec_proj = nn.Linear(config.tokens, config.head_hidden)
        self.head = nn.ModuleList(HeadLayer(config) for _ in range(config.head_layers))
        self.fc = nn.Linear(config.head_hidden, 1)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Normalized view (B, 3, 384, 384) -> tokens (B, 145, 512): their mean, then 12x12."""
        with self._in_float32():
            output = self.swin(pixels.to(self.label_embed))
            mean = output.pooler_output[:, None]
            return self.image_proj(torch.cat([mean, output.last_hidden_state], dim=1))

    def logits(self, tokens: Tensor) -> Tensor:
        """Representation tokens (B, 145, 512) -> one logit per known tag (B, T)."""
        with self._in_float32():
            tokens = tokens.to(self.label_embed)
            x = F.relu(self.wordvec_proj(self.label_embed)).expand(len(tokens), -1, -1)
            for layer in self.head:
                x = layer(x, tokens)
            return self.fc(x)[..., 0]

    def _in_float32(self) -> torch.autocast:
        return torch.autocast(self.label_embed.device.type, enabled=False)

    def tags(self, logits: Tensor) -> list[str]:
        """Logits (B, T) -> per sample the tags above their thresholds, joined by ", "."""
        thresholds = logits.new_tensor(self.config.thresholds, dtype=torch.float32)
        present = logits.float().sigmoid() > thresholds
        return [", ".join(compress(self.config.tags, row)) for row in present.tolist()]

    def read(self, image: Tensor) -> tuple[Tensor, list[str]]:
        """Photo (B, 3, H, W) in [0, 1] -> tokens (B, 145, 512) and one tag string per sample."""
        tokens = self.tokens(first_view(image, self.config.image_size))
        return tokens, self.tags(self.logits(tokens))

    def encode_image(self, image: Tensor) -> Tensor:
        """Refined picture (B, 3, H, W), about [0, 1] -> tokens (B, 145, 512), without tags."""
        return self.tokens(psr_view(image, self.config.image_size))


def build_tagger(config: TaggerConfig) -> Tagger:
    """Return a tagger with new weights."""
    return Tagger(config).eval().requires_grad_(False)
