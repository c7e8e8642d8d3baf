"""The full model with random weights: as large and as slow as AddSR.

It shows speed and memory on a machine before anything is downloaded. Nothing is written to disk.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from addsr_cli.models.seesr.dual_cross_attention import build_controlnet, build_unet
from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.models.seesr.tagger import RAM_TAGS, TaggerConfig
from addsr_cli.models.seesr.tagger_weights import canonical_shapes, load_tagger
from addsr_cli.models.seesr.text_encoder import TextEncoder

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-"
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"


def _full_unet() -> dict[str, Any]:
    return {
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    }


def _full_vae() -> dict[str, Any]:
    return {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "norm_num_groups": 32,
    }


def _full_text() -> dict[str, Any]:
    return {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
    }


def _full_tagger() -> TaggerConfig:
    return TaggerConfig(
        tags=tuple(f"tag{k}" for k in range(RAM_TAGS)),
        thresholds=(0.68,) * RAM_TAGS,
    )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Configurations of all networks, by default those of SD2-base, SeeSR and RAM Swin-L."""

    unet: Mapping[str, Any] = field(default_factory=_full_unet)
    vae: Mapping[str, Any] = field(default_factory=_full_vae)
    text: Mapping[str, Any] = field(default_factory=_full_text)
    tagger: TaggerConfig = field(default_factory=_full_tagger)


def random_seesr(
    device: str,
    dtype: torch.dtype,
    sizes: Sizes | None = None,
) -> SeeSR:
    """Build all networks on ``device``; calls for the same device give the same weights."""
    sizes = sizes or Sizes()
    fill = _RandomFill(device, dtype)
    levels = len(sizes.vae["block_out_channels"])
    blocks = {
        "down_block_types": (DOWN,) * levels,
        "up_block_types": (UP,) * levels,
        "latent_channels": 4,
    }
    with init_empty_weights(include_buffers=False):
        unet = build_unet(sizes.unet, sizes.tagger.tokens)
        controlnet = build_controlnet(sizes.unet, sizes.tagger.tokens)
        vae = AutoencoderKL(**sizes.vae, **blocks)
        text = CLIPTextModel(CLIPTextConfig(hidden_act="gelu", **sizes.text))
    return SeeSR(
        unet=fill.network(unet),
        controlnet=fill.network(controlnet),
        vae=fill.network(vae),
        text=TextEncoder(tokenizer=_tokenizer(), model=fill.network(text)),
        tagger=load_tagger(sizes.tagger, random_tagger_weights(sizes.tagger, fill), device=device),
    )


def random_tagger_weights(
    config: TaggerConfig,
    fill: "_RandomFill | None" = None,
) -> dict[str, Tensor]:
    """Return weights of a tagger as its files hold them, in ``fill``'s type or float32."""
    fill = fill or _RandomFill("cpu", torch.float32)
    return {key: fill.tensor(shape) for key, shape in canonical_shapes(config).items()}


class _RandomFill:
    """Random weights: norms 1, biases 0, kernels so small that activations stay finite."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator(device).manual_seed(0)

    def network(self, net: Any) -> nn.Module:  # noqa: ANN401 (libraries' models, whose annotations differ)
        """Fill ``net``, which was built without memory."""
        state = {key: self.tensor(tuple(value.shape), key) for key, value in net.named_parameters()}
        network: nn.Module = net
        network.load_state_dict(
            state | dict(network.named_buffers()),
            strict=False,
            assign=True,
        )
        return network.to(self.device).eval().requires_grad_(False)

    def tensor(self, shape: tuple[int, ...], key: str = "weight") -> Tensor:
        """Return one tensor of weights."""
        if len(shape) == 1:
            value = 1.0 if key.endswith("weight") else 0.0
            return torch.full(
                shape,
                value,
                device=self.device,
                dtype=self.dtype,
            )
        fan_in = int(np.prod(shape[1:]))
        kernel = torch.randn(
            shape,
            device=self.device,
            dtype=self.dtype,
            generator=self.generator,
        )
        return kernel.mul_(0.5 * fan_in**-0.5)


def _tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer with an alphabet and no merges."""
    tokens = ["!", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    vocabulary = {token: k for k, token in enumerate(tokens)} | {
        "<|startoftext|>": 49406,
        "<|endoftext|>": 49407,
    }
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    settings = special | {
        "pad_token": "!",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
