"""Weights of the tagger: from the names of the official checkpoints to the network, and merging.

``merge`` builds one state from RAM's checkpoint and DAPE's low-rank corrections; ``load_tagger``
builds the network around such a state. See ``tagger`` for the canonical names.
"""

import re
from collections.abc import Mapping
from functools import cache

import torch
from accelerate import init_empty_weights
from torch import Tensor

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.seesr.tagger import CONVERT, RAM_TAGS, State, Tagger, TaggerConfig

LORA_ALPHA, LORA_RANK = 1, 8  # of DAPE's training
TAKE_RAM, TAKE_DAPE = "Take ram_swin_large_14m.pth.", "Take DAPE.pth of SeeSR."


def load_tagger(
    config: TaggerConfig,
    state: State,
    *,
    device: str | torch.device = "cpu",
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


def merge(
    ram: State,
    dape: State | None,
    config: TaggerConfig | None = None,
) -> dict[str, Tensor]:
    """Convert official weights to canonical float32 weights, only those that ``Tagger`` needs.

    ``ram`` is ``checkpoint["model"]`` of ram_swin_large_14m.pth, ``dape`` the content of DAPE.pth
    (None: RAM as published), ``config`` the expected sizes (None: the published ones). Raises
    ModelUnavailable.
    """
    shapes = canonical_shapes(
        config
        or TaggerConfig(
            tags=("",) * RAM_TAGS,
            thresholds=(1.0,) * RAM_TAGS,
        )
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
    _check(
        "The RAM checkpoint",
        renamed,
        shapes,
        TAKE_RAM,
    )
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
    _check(
        "The DAPE checkpoint",
        dape,
        low_rank,
        TAKE_DAPE,
    )
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
