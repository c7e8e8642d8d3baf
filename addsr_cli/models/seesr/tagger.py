"""RAM, the tagger of SeeSR and AddSR: it reads a photo into tags and into representation tokens.

A Swin-L looks at the photo in 384x384; its 144 patch features and their mean become 145 tokens,
which condition the restoring network. A two-layer head in which every known tag asks the tokens
about itself yields the tags of the prompt. DAPE is RAM with low-rank corrections that make it read
degraded photos as if they were clean; ``merge`` adds them to the weights once, so that nothing of
LoRA is left at run time.

Weights are stored under the names of the official RAM checkpoint (``visual_encoder.*`` with fused
qkv, ``image_proj.*``, ``label_embed``, ``wordvec_proj.*``, ``tagging_head.*``, ``fc.*``),
"canonical" below: transformers has renamed the insides of its Swin before, and stored files must
outlive that.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
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
    and doubles with each. ``tokens`` is the width of the representation tokens. A tag is kept when
    its probability is above its threshold; 1.0 therefore switches it off.
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
        """Check that the parts match."""
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
        """What ``from_json`` reads back, also after a trip through JSON text."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "TaggerConfig":
        """Configuration from JSON, where tuples became lists."""
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
    """What RAM sees of the photo: image (B, 3, H, W) in [0, 1] -> ImageNet-normalised float32 (B, 3, size, size).

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
    """What RAM sees of a refined picture between steps: as ``first_view``, but bicubic; overshoot is kept."""
    return normalize_imagenet(
        F.interpolate(
            image.float(),
            (size, size),
            mode="bicubic",
            align_corners=False,
        )
    )


class HeadLayer(nn.Module):
    """Tags (B, T, W) ask the tokens (B, N, C), then think on their own; post-norm as in BERT, no self-attention."""

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
        answer = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.attended_norm(x + self.attended(answer))
        return self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))


class Tagger(nn.Module):
    """Swin, projection to tokens, tag head. Computes in float32, also where autocast is on: rounding changes tags."""

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
        """A normalised view (B, 3, 384, 384) -> representation tokens (B, 145, 512): the mean token, then 12x12."""
        with self._in_float32():
            seen = self.swin(pixels.to(self.label_embed))
            return self.image_proj(
                torch.cat([seen.pooler_output[:, None], seen.last_hidden_state], dim=1)
            )

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
        """Logits (B, T) -> per sample the tags above their thresholds, in the order of the list, joined by ", "."""
        kept = logits.float().sigmoid() > logits.new_tensor(
            self.config.thresholds, dtype=torch.float32
        )
        names = self.config.tags
        return [
            ", ".join(tag for tag, keep in zip(names, row, strict=True) if keep)
            for row in kept.tolist()
        ]

    def read(self, image: Tensor) -> tuple[Tensor, list[str]]:
        """A photo (B, 3, H, W) in [0, 1] -> tokens (B, 145, 512) and one tag string per sample."""
        tokens = self.tokens(first_view(image, self.config.image_size))
        return tokens, self.tags(self.logits(tokens))

    def encode_image(self, image: Tensor) -> Tensor:
        """A refined picture (B, 3, H, W), about [0, 1] -> tokens (B, 145, 512), without asking for tags."""
        return self.tokens(psr_view(image, self.config.image_size))


def build_tagger(config: TaggerConfig) -> Tagger:
    """A tagger with fresh weights, which knows nothing yet."""
    return Tagger(config).eval().requires_grad_(False)


def load_tagger(
    config: TaggerConfig, state: State, *, device: str | torch.device = "cpu"
) -> Tagger:
    """A tagger in float32 around canonical weights (from ``merge``), shared where they agree; keys checked strictly."""
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
    """A tagger whose parameters take no memory; buffers are real, for no file would fill them afterwards."""
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
_ROOMS = (
    (
        re.compile(r"swin\.(?:encoder\.(layers\.\d+\.(?:blocks\.\d+\.)?))?(.+)"),
        "visual_encoder.",
        _SWIN,
    ),
    (re.compile(r"head\.(\d+\.)(.+)"), "tagging_head.encoder.layer.", _HEAD),
)
_ADAPTED = re.compile(r"(.+\.(?:attn\.qkv|crossattention\.self\.(?:query|key)))\.weight")


def ram_name(name: str) -> tuple[str, int, int]:
    """A parameter of ``Tagger`` -> its canonical name, and which part of how many along that tensor's rows it is."""
    stem, _, leaf = name.rpartition(".")
    for pattern, prefix, table in _ROOMS:
        if found := pattern.fullmatch(stem):
            where, inner = found.groups("")
            if inner not in table:
                reason = f"The installed transformers calls a weight of Swin {name}, which addsr cannot place."
                raise ModelUnavailable(
                    reason, "Install the transformers that constraints.txt names."
                )
            part = (
                ("qkv".index(inner.rpartition(".")[2][0]), 3)
                if table[inner] == "attn.qkv"
                else (0, 1)
            )
            return f"{prefix}{where}{table[inner]}.{leaf}", *part
    return name, 0, 1


@cache
def canonical_shapes(config: TaggerConfig) -> Mapping[str, tuple[int, ...]]:
    """Every canonical key with its shape; they are read off a whole network, which takes as long as loading one."""
    shapes = {}
    for name, parameter in _empty(config).named_parameters():
        key, _, parts = ram_name(name)
        shapes[key] = (len(parameter) * parts, *parameter.shape[1:])
    return shapes


def merge(ram: State, dape: State | None, config: TaggerConfig | None = None) -> dict[str, Tensor]:
    """Official weights -> canonical float32 weights, only those that ``Tagger`` needs.

    ``ram`` is ``checkpoint["model"]`` of ram_swin_large_14m.pth, ``dape`` the content of DAPE.pth
    (None: RAM as it is), ``config`` the sizes to insist on (None: the published ones). Raises
    ``ModelUnavailable``.
    """
    shapes = canonical_shapes(
        config or TaggerConfig(tags=("",) * RAM_TAGS, thresholds=(1.0,) * RAM_TAGS)
    )
    given = {key.replace("vision_multi", "tagging_head"): value for key, value in ram.items()}
    if (
        "label_embed" in given
        and (labels := tuple(given["label_embed"].shape)) != shapes["label_embed"]
    ):
        reason = f"This is not RAM but RAM++ or another tagger: label_embed is {labels}, not {shapes['label_embed']}."
        raise ModelUnavailable(reason, TAKE_RAM)
    _check("The RAM checkpoint", given, shapes, TAKE_RAM)
    merged = {key: given[key].float().contiguous() for key in shapes}
    return merged if dape is None else _adapted(merged, dape)


def _adapted(merged: dict[str, Tensor], dape: State) -> dict[str, Tensor]:
    """``merged`` with DAPE's corrections: W + B A / 8 for Swin's q and v and for the head's query and key."""
    layout, low_rank = {}, {}
    for stem in [found[1] for found in map(_ADAPTED.fullmatch, merged) if found]:
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
        weight.view(parts, rows, columns)[::2] += (
            b @ a * (LORA_ALPHA / LORA_RANK)
        )  # every second of q, k, v
    return adapted


def _check_idle(rest: State) -> None:
    """Refuse corrections to anything that is not kept.

    The official module shares the head's weights with its tag_encoder and merges both corrections
    into them. In DAPE those of tag_encoder and text_decoder never received a gradient: their B is
    zero, so that they can be left out.
    """
    idle = re.compile(r"(tag_encoder|text_decoder)\..*lora_[AB]")
    strange = [
        k
        for k, value in rest.items()
        if not idle.fullmatch(k) or (k.endswith("B") and bool(value.any()))
    ]
    if strange:
        raise ModelUnavailable(
            f"The DAPE checkpoint corrects more than the tagger: {_few(strange)}.", TAKE_DAPE
        )


def _check(
    what: str,
    state: State,
    shapes: Mapping[str, tuple[int, ...]],
    hint: str,
) -> None:
    """Refuse ``state`` unless it has every key in its shape."""
    if missing := [key for key in shapes if key not in state]:
        raise ModelUnavailable(
            f"{what} lacks {len(missing)} of {len(shapes)} keys: {_few(missing)}.", hint
        )
    if wrong := [key for key, shape in shapes.items() if tuple(state[key].shape) != shape]:
        sizes = _few([f"{key} is {tuple(state[key].shape)}, not {shapes[key]}" for key in wrong])
        raise ModelUnavailable(f"{what} does not fit: {sizes}.", hint)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
