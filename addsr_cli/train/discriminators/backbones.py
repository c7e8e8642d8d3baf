"""Frozen networks of the projected discriminator: DINO ViT-S/16 and DINOv2 ViT-S/14.

Weights come under one of two namings: the Hub's (``encoder.layer.0.attention.attention.query``) or
the authors' and timm's (``blocks.0.attn.qkv``), which is turned into the Hub's. The networks
themselves are those of transformers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from transformers import (
    Dinov2Config,
    Dinov2Model,
    PreTrainedConfig,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.pretrained import no_progress_bars

WEIGHTS = "model.safetensors"
HEAD_WIDTH = 64  # channels per attention head in every published DINO and DINOv2
EPS = 1e-6  # of the layer norms
PUBLISHED = "It must hold DINO ViT-S/16 or DINOv2 ViT-S/14 as published on the Hub."
State = Mapping[str, Tensor]

_OUTER = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": "embeddings.position_embeddings",
    **{
        f"patch_embed.proj.{leaf}": f"embeddings.patch_embeddings.projection.{leaf}"
        for leaf in ("weight", "bias")
    },
    **{f"norm.{leaf}": f"layernorm.{leaf}" for leaf in ("weight", "bias")},
}
_SHARED = {
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
_VIT = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(ls\d\.gamma|(.+)\.(weight|bias))")


def load_backbone(folder: Path) -> PreTrainedModel:
    """Load DINO or DINOv2 from a folder with ``model.safetensors``: frozen, float32, eval mode.

    The Hub's naming also needs its ``config.json``. Raises ModelUnavailable.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise ModelUnavailable(f"{folder} holds no {WEIGHTS}.", PUBLISHED)
    state = read_weights(file)
    if "pos_embed" in state:
        return backbone_from(state)
    scaled = any("layer_scale1" in key for key in state)
    kind, config = (Dinov2Model, Dinov2Config) if scaled else (ViTModel, ViTConfig)
    try:
        return _filled(kind, state, config.from_pretrained(folder, local_files_only=True))
    except (OSError, RuntimeError, TypeError, ValueError) as exc:
        raise ModelUnavailable(f"{folder} cannot be loaded: {exc}", PUBLISHED) from exc


def random_backbones() -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a tiny DINO and a tiny DINOv2 with weights from torch's random numbers."""
    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2}
    dino = ViTModel(
        ViTConfig(**sizes, num_hidden_layers=12, intermediate_size=16, image_size=64),
        add_pooling_layer=False,
    )
    dinov2 = Dinov2Model(
        Dinov2Config(**sizes, num_hidden_layers=2, mlp_ratio=1, image_size=56, patch_size=14)
    )
    return dino, dinov2


def backbone_from(state: State, heads: int | None = None) -> PreTrainedModel:
    """Return DINO, or DINOv2 if there are layer scales, from weights in the authors' naming.

    ``heads`` is the number of attention heads (None: one per 64 channels). Raises ModelUnavailable.
    """
    try:
        width, patch = state["patch_embed.proj.weight"].shape[::3]
        sizes = {
            "hidden_size": width,
            "patch_size": patch,
            "image_size": round((state["pos_embed"].shape[1] - 1) ** 0.5) * patch,
            "num_hidden_layers": sum(key.endswith(".norm1.weight") for key in state),
            "num_attention_heads": heads or max(1, width // HEAD_WIDTH),
            "layer_norm_eps": EPS,
        }
        inner = state["blocks.0.mlp.fc1.weight"].shape[0]
        if "blocks.0.ls1.gamma" in state:
            return _filled(
                Dinov2Model, hub_names(state, {}), Dinov2Config(**sizes, mlp_ratio=inner // width)
            )
        return _filled(
            ViTModel, hub_names(state, _VIT), ViTConfig(**sizes, intermediate_size=inner)
        )
    except (KeyError, RuntimeError, ValueError) as exc:
        raise ModelUnavailable(f"These are not the weights of DINO: {exc}.", PUBLISHED) from exc


def hub_names(state: State, inside: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename weights from the authors' naming to the Hub's; ``inside`` renames within blocks."""
    named = {}
    for key, value in state.items():
        block = _BLOCK.fullmatch(key)
        if not block:
            named[_OUTER.get(key, key)] = value
            continue
        number, whole, module, leaf = block.groups()
        prefix = f"encoder.layer.{number}"
        if module == "attn.qkv":
            for part, chunk in zip(
                ("query", "key", "value"),
                value.chunk(3),
                strict=True,
            ):
                named[f"{prefix}.attention.attention.{part}.{leaf}"] = chunk
        elif module is None:
            named[f"{prefix}.{_SHARED[whole]}"] = value
        else:
            named[f"{prefix}.{inside.get(module, _SHARED.get(module, module))}.{leaf}"] = value
    return named


def _filled(
    kind: Any,  # noqa: ANN401 (mypy rejects the library's types)
    state: State,
    config: PreTrainedConfig,
) -> PreTrainedModel:
    """Build a network around weights named as on the Hub, whichever names transformers uses."""
    more = {"add_pooling_layer": False} if kind is ViTModel else {}
    whole = {key: value.float().contiguous() for key, value in state.items()}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # no table of missing weights: they are checked below
    try:
        with no_progress_bars():
            net, report = kind.from_pretrained(
                None,
                config=config,
                state_dict=whole,
                output_loading_info=True,
                **more,
            )
    finally:
        logging.set_verbosity(verbosity)
    absent = sorted(set(report["missing_keys"]) - {"embeddings.mask_token"})
    if absent:
        raise ValueError(f"they lack {', '.join(absent[:3])}")
    return cast("PreTrainedModel", net.eval().requires_grad_(False))
