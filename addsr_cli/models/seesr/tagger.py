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

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import compress
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.pretrained import normalize_imagenet

RAM_TAGS = 4585  # in ram_tag_list.txt
LORA_ALPHA, LORA_RANK = 1, 8  # of DAPE's training
TAKE_RAM, TAKE_DAPE = "Take ram_swin_large_14m.pth.", "Take DAPE.pth of SeeSR."
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


def load_tagger(
    config: TaggerConfig, state: State, *, device: str | torch.device = "cpu"
) -> Tagger:
    """Build a float32 tagger around canonical weights (see ``merge``).

    Tensors are shared where dtype and device agree. Raises ModelUnavailable for missing or unknown
    keys.
    """
    shapes = canonical_shapes(config)
    _check("The tagger file", state, shapes, CONVERT)
    if unknown := [key for key in state if key not in shapes]:
        raise ModelUnavailable(f"The tagger file holds unknown keys: {_few(unknown)}.", CONVERT)
    tagger = _empty(config)
    places = {name: ram_name(name) for name, _ in tagger.named_parameters()}
    own = {name: state[key].chunk(parts)[part] for name, (key, part, parts) in places.items()}
    computed = {
        key: value for key, value in tagger.state_dict().items() if key not in own
    }  # Swin's, if it stores any
    tagger.load_state_dict(own | computed, strict=True, assign=True)
    return tagger.to(device, torch.float32).eval().requires_grad_(False)


def _empty(config: TaggerConfig) -> Tagger:
    """Build a tagger whose parameters take no memory; buffers do, since no file has them."""
    with init_empty_weights(include_buffers=False):
        return Tagger(config)


# transformers' names within Swin, as the installed version and as older ones have them -> RAM's.
_SWIN = {
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.norm": "patch_embed.norm",
    **{"layernorm": "norm", "layernorm_before": "norm1", "layernorm_after": "norm2"},
    **{
        f"attention.{x}": "attn.qkv"
        for x in ("q_proj", "k_proj", "v_proj", "self.query", "self.key", "self.value")
    },
    **dict.fromkeys(("attention.relative_position_bias", "attention.self"), "attn"),
    **dict.fromkeys(("attention.o_proj", "attention.output.dense"), "attn.proj"),
    **dict.fromkeys(("mlp.fc1", "intermediate.dense"), "mlp.fc1"),
    **dict.fromkeys(("mlp.fc2", "output.dense"), "mlp.fc2"),
    **{name: name for name in ("downsample.norm", "downsample.reduction")},
}
_HEAD = {
    **{name: f"crossattention.self.{name}" for name in ("query", "key", "value")},
    **{
        "attended": "crossattention.output.dense",
        "attended_norm": "crossattention.output.LayerNorm",
    },
    **{"widen": "intermediate.dense", "narrow": "output.dense", "narrow_norm": "output.LayerNorm"},
}
_RENAMES = (  # pattern of our name, prefix of the canonical one, names within
    (
        re.compile(r"swin\.(?:encoder\.(layers\.\d+\.(?:blocks\.\d+\.)?))?(.+)"),
        "visual_encoder.",
        _SWIN,
    ),
    (re.compile(r"head\.(\d+\.)(.+)"), "tagging_head.encoder.layer.", _HEAD),
)
_ADAPTED = re.compile(r"(.+\.(?:attn\.qkv|crossattention\.self\.(?:query|key)))\.weight")


def ram_name(name: str) -> tuple[str, int, int]:
    """Return the canonical name of a parameter of ``Tagger``, and its part of that tensor's rows.

    The part is (index, count): query, key and value are one tensor in canonical weights.
    """
    stem, _, leaf = name.rpartition(".")
    for pattern, prefix, table in _RENAMES:
        if match := pattern.fullmatch(stem):
            where, inner = match.groups("")
            if inner not in table:
                reason = (
                    f"The installed transformers names a weight of Swin {name}, unknown to addsr."
                )
                raise ModelUnavailable(
                    reason, "Install the transformers that constraints.txt names."
                )
            part = (0, 1)
            if table[inner] == "attn.qkv":
                letter = inner.rpartition(".")[2][0]
                part = ("qkv".index(letter), 3)
            return f"{prefix}{where}{table[inner]}.{leaf}", *part
    return name, 0, 1


@cache
def canonical_shapes(config: TaggerConfig) -> Mapping[str, tuple[int, ...]]:
    """Return every canonical key with its shape; takes as long as building a whole network."""
    shapes = {}
    for name, parameter in _empty(config).named_parameters():
        key, _, parts = ram_name(name)
        shapes[key] = (len(parameter) * parts, *parameter.shape[1:])
    return shapes


def merge(ram: State, dape: State | None, config: TaggerConfig | None = None) -> dict[str, Tensor]:
    """Convert official weights to canonical float32 weights, only those that ``Tagger`` needs.

    ``ram`` is ``checkpoint["model"]`` of ram_swin_large_14m.pth, ``dape`` the content of DAPE.pth
    (None: RAM as published), ``config`` the expected sizes (None: the published ones). Raises
    ModelUnavailable.
    """
    shapes = canonical_shapes(
        config or TaggerConfig(tags=("",) * RAM_TAGS, thresholds=(1.0,) * RAM_TAGS)
    )
    renamed = {key.replace("vision_multi", "tagging_head"): value for key, value in ram.items()}
    if "label_embed" in renamed:
        labels = tuple(renamed["label_embed"].shape)
        expected = shapes["label_embed"]
        if labels != expected:
            raise ModelUnavailable(
                "This is not RAM but RAM++ or another tagger: "
                f"label_embed is {labels}, not {expected}.",
                TAKE_RAM,
            )
    _check("The RAM checkpoint", renamed, shapes, TAKE_RAM)
    merged = {key: renamed[key].float().contiguous() for key in shapes}
    return merged if dape is None else _adapted(merged, dape)


def _adapted(merged: dict[str, Tensor], dape: State) -> dict[str, Tensor]:
    """Add DAPE's corrections: W + B A / 8 for Swin's q and v and for the head's query and key."""
    layout = {}
    low_rank = {}
    for match in filter(None, map(_ADAPTED.fullmatch, merged)):
        stem = match[1]
        rows, columns = merged[f"{stem}.weight"].shape
        parts, changed = (3, 2) if stem.endswith("qkv") else (1, 1)
        layout[stem] = parts, changed, rows // parts, columns
        low_rank[f"{stem}.lora_A"] = (LORA_RANK * changed, columns)
        low_rank[f"{stem}.lora_B"] = (rows // parts * changed, LORA_RANK)
    _check("The DAPE checkpoint", dape, low_rank, TAKE_DAPE)
    _check_idle({key: value for key, value in dape.items() if key not in low_rank})
    adapted = dict(merged)
    for stem, (parts, changed, rows, columns) in layout.items():
        a = dape[f"{stem}.lora_A"].float().reshape(changed, LORA_RANK, columns)
        b = dape[f"{stem}.lora_B"].float().reshape(changed, rows, LORA_RANK)
        weight = adapted[f"{stem}.weight"] = merged[f"{stem}.weight"].clone()
        # q and v of q, k, v
        weight.view(parts, rows, columns)[::2] += b @ a * (LORA_ALPHA / LORA_RANK)
    return adapted


def _check_idle(rest: State) -> None:
    """Raise ModelUnavailable for corrections to modules that ``Tagger`` lacks.

    The official module shares the head's weights with its tag_encoder and merges both corrections
    into them. In DAPE those of tag_encoder and text_decoder never received a gradient: their B is
    zero, so that they can be ignored.
    """
    idle = re.compile(r"(tag_encoder|text_decoder)\..*lora_[AB]")
    active = [
        key
        for key, value in rest.items()
        if not idle.fullmatch(key) or (key.endswith("B") and bool(value.any()))
    ]
    if active:
        raise ModelUnavailable(
            f"The DAPE checkpoint corrects more than the tagger: {_few(active)}.", TAKE_DAPE
        )


def _check(
    what: str,
    state: State,
    shapes: Mapping[str, tuple[int, ...]],
    hint: str,
) -> None:
    """Raise ModelUnavailable unless ``state`` has every key in its shape."""
    if missing := [key for key in shapes if key not in state]:
        raise ModelUnavailable(
            f"{what} lacks {len(missing)} of {len(shapes)} keys: {_few(missing)}.", hint
        )
    if wrong := [key for key, shape in shapes.items() if tuple(state[key].shape) != shape]:
        sizes = _few([f"{key} is {tuple(state[key].shape)}, not {shapes[key]}" for key in wrong])
        raise ModelUnavailable(f"{what} does not fit: {sizes}.", hint)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
