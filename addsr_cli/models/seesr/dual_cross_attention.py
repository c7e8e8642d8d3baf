"""SeeSR's UNet and ControlNet: Stable Diffusion's, with dual cross-attention.

In stock diffusers networks every text transformer is replaced by a ``TextImageTransformer``: text
tokens first, then image tokens. Files keep the official names, in which the image transformers are
a list ``image_attentions`` beside ``attentions``.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable

IMAGE_TOKENS = "image_encoder_hidden_states"
SITE = re.compile(r"^(.*\.)(image_)?attentions\.(\d+)\.")
KEYS_SHOWN = 3


class TextImageTransformer(nn.Module):
    """Dual cross-attention: the stock transformer on text tokens, then one on image tokens."""

    def __init__(self, text: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.text, self.image = text, image

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = False,
        **more: Any,  # noqa: ANN401 (masks and the like, which the stock block knows)
    ) -> tuple[Tensor]:
        """Run hidden states (B, C, h, w) through both.

        The image tokens are in ``cross_attention_kwargs``.
        """
        others = dict(cross_attention_kwargs or {})
        tokens = others.pop(IMAGE_TOKENS)
        hidden = self.text(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            cross_attention_kwargs=others or None,
            return_dict=False,
            **more,
        )[0]
        image: tuple[Tensor] = self.image(
            hidden,
            encoder_hidden_states=tokens,
            return_dict=False,
        )
        return image


def build_unet(config: Mapping[str, Any], image_width: int) -> nn.Module:
    """Build the UNet of a diffusers ``config``; ``image_width`` is that of the image tokens."""
    return _paired(UNet2DConditionModel.from_config(_known(config)), image_width)


def build_controlnet(config: Mapping[str, Any], image_width: int) -> nn.Module:
    """Build the ControlNet of a diffusers ``config``."""
    return _paired(ControlNetModel.from_config(_known(config)), image_width)


def load_pairs(
    net: nn.Module,
    state: Mapping[str, Tensor],
    what: str,
) -> None:
    """Load officially named weights into a network that was built here, possibly on "meta".

    The network takes over the tensors of ``state``. Raises ModelUnavailable with the names of keys
    that are missing, unexpected or of another shape; keys of ``align`` are ignored.
    """
    ours = {inner_name(key): value for key, value in state.items() if not key.startswith("align.")}
    wanted = net.state_dict()
    wrong = {
        "missing": [key for key in wanted if key not in ours],
        "not expected": [key for key in ours if key not in wanted],
        "of another shape": [
            key for key in wanted if key in ours and ours[key].shape != wanted[key].shape
        ],
    }
    for problem, keys in wrong.items():
        if keys:
            names = ", ".join(outer_name(key) for key in keys[:KEYS_SHOWN])
            more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
            raise ModelUnavailable(
                f"The {what} does not fit: {problem}: {names}{more}.",
                "The files must be those of SeeSR or AddSR.",
            )
    net.load_state_dict(ours, assign=True)


def image_width(state: Mapping[str, Tensor], what: str) -> int:
    """Return the width of the image tokens in officially named weights; 512 in published ones."""
    for key, value in state.items():
        if ".image_attentions." in key and key.endswith("attn2.to_k.weight"):
            return value.shape[1]
    raise ModelUnavailable(
        f"The {what} has no image attention: it is a plain Stable Diffusion one.",
        "The files must be those of SeeSR or AddSR.",
    )


def inner_name(key: str) -> str:
    """Turn an official key into the name in our networks."""
    return SITE.sub(lambda m: f"{m[1]}attentions.{m[3]}.{'image' if m[2] else 'text'}.", key)


def outer_name(key: str) -> str:
    """Invert ``inner_name``."""
    return re.sub(
        r"^(.*\.)attentions\.(\d+)\.(text|image)\.",
        lambda m: f"{m[1]}{'image_' if m[3] == 'image' else ''}attentions.{m[2]}.",
        key,
    )


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the switch of the official classes, about which diffusers would warn."""
    return {key: value for key, value in config.items() if key != "use_image_cross_attention"}


def _paired(net: Any, image_width: int) -> nn.Module:  # noqa: ANN401 (its blocks are not annotated)
    for block in [*net.down_blocks, net.mid_block, *getattr(net, "up_blocks", [])]:
        sites: Any = getattr(block, "attentions", [])
        for number, text in enumerate(sites):
            shape = {key: value for key, value in text.config.items() if not key.startswith("_")}
            image = Transformer2DModel(**shape | {"cross_attention_dim": image_width})
            sites[number] = TextImageTransformer(text, image)
    frozen: nn.Module = net.requires_grad_(False)
    return frozen


def cast(
    state: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: str,
) -> dict[str, Tensor]:
    """Convert weights to their final dtype and device, kernels to channels_last."""
    return {key: _placed(value, dtype, device) for key, value in state.items()}


def _placed(
    value: Tensor,
    dtype: torch.dtype,
    device: str,
) -> Tensor:
    if not value.is_floating_point():
        return value.to(device)
    layout = torch.channels_last if value.ndim == 4 else torch.preserve_format
    return value.to(device, dtype, memory_format=layout)
