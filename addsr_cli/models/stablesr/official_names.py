"""Names in the authors' checkpoints -> names in diffusers' networks and in ours.

The checkpoints name Stable Diffusion's networks as the original code does. Nothing here reads
files; keys that a network does not have are left out.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

State = Mapping[str, Tensor]
Rules = Sequence[tuple[str, str]]

UNET = "model.diffusion_model."
ENCODER = "structcond_stage_model."
FIRST_STAGE = "first_stage_model."
LEVELS = 4
HEADS = 4  # of the time-aware encoder's attention, at every width
LAYERS = 2  # residual blocks per level of UNets and encoders; decoders have one more

RESNET: Rules = (
    (r"in_layers\.0\.", "norm1."),
    (r"in_layers\.2\.", "conv1."),
    (r"emb_layers\.1\.", "time_emb_proj."),
    (r"out_layers\.0\.", "norm2."),
    (r"out_layers\.3\.", "conv2."),
    (r"skip_connection\.", "conv_shortcut."),
)
SPADE: Rules = (
    (r"param_free_norm\.", "norm."),
    (r"mlp_shared\.0\.", "shared."),
    (r"mlp_gamma\.", "gamma."),
    (r"mlp_beta\.", "beta."),
)
VAE: Rules = (
    (r"down\.(\d)\.block\.", r"down_blocks.\1.resnets."),
    (r"down\.(\d)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"mid\.block_1\.", "mid_block.resnets.0."),
    (r"mid\.block_2\.", "mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"nin_shortcut\.", "conv_shortcut."),
    (r"norm_out\.", "conv_norm_out."),
)
FUSION: Rules = (
    (r"encode_enc_1\.conv_out\.", "entry.conv_shortcut."),
    (r"encode_enc_1\.", "entry."),
    (r"encode_enc_3\.", "exit."),
)

DENSE = r"^encode_enc_2\.(\d)\.rdb(\d)\.conv(\d)\."


def unet_state(state: State) -> dict[str, Tensor]:
    """Return the stock part of the UNet under the names of ``UNet2DConditionModel``."""
    renamed = {}
    for key, value in _below(state, UNET):
        if ".spade." not in key:
            renamed[_unet_name(key)] = value
    return renamed


def adapter_state(state: State) -> dict[str, Tensor]:
    """Return SPADE layers and time-aware encoder under the names of ``Adapter``."""
    renamed = {}
    for key, value in _below(state, UNET):
        block, spade, rest = key.partition(".spade.")
        if spade:
            renamed[f"spades.{_spade_number(block)}.{_renamed(rest, SPADE)}"] = value
    for key, value in _below(state, ENCODER):
        renamed |= {f"encoder.{name}": part for name, part in _encoder_entry(key, value).items()}
    return renamed


def vae_state(state: State, prefix: str = "") -> dict[str, Tensor]:
    """Return the VAE below ``prefix`` under the names of ``AutoencoderKL``, without fusion."""
    renamed = {}
    for key, value in _below(state, prefix):
        part = key.partition(".")[0]
        if part in ("quant_conv", "post_quant_conv"):
            renamed[key] = value
        elif part in ("encoder", "decoder") and ".fusion_layer_" not in key:
            squeezed = value.flatten(1) if "mid.attn_1." in key and value.ndim > 2 else value
            renamed[_vae_name(key)] = squeezed
    return renamed


def fusion_state(state: State) -> dict[str, Tensor]:
    """Return CFW's fusion blocks under the names of ``FusedDecoder``."""
    renamed = {}
    for key, value in state.items():
        match = re.fullmatch(r"decoder\.fusion_layer_([12])\.(.*)", key)
        if match:
            name = re.sub(DENSE, _dense_layer, _renamed(match[2], FUSION))
            renamed[f"fusions.{int(match[1]) - 1}.{name}"] = value
    return renamed


def _dense_layer(match: re.Match[str]) -> str:
    """Count blocks and layers from 0, as lists do; the checkpoint counts them from 1."""
    return f"dense.{match[1]}.{int(match[2]) - 1}.layers.{int(match[3]) - 1}."


def _below(state: State, prefix: str) -> list[tuple[str, Tensor]]:
    return [
        (key.removeprefix(prefix), value) for key, value in state.items() if key.startswith(prefix)
    ]


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(rf"(?<![^.]){pattern}", replacement, name)
    return name


def _unet_name(key: str) -> str:
    key = re.sub(
        r"^time_embed\.([02])\.", lambda m: f"time_embedding.linear_{int(m[1]) // 2 + 1}.", key
    )
    key = re.sub(r"^input_blocks\.0\.0\.", "conv_in.", key)
    key = re.sub(r"^input_blocks\.(\d+)\.(\d)\.", _down_block, key)
    key = re.sub(r"^middle_block\.(\d)\.", _middle_block, key)
    key = re.sub(r"^output_blocks\.(\d+)\.(\d)\.", _up_block, key)
    key = re.sub(r"^out\.0\.", "conv_norm_out.", key)
    key = re.sub(r"^out\.2\.", "conv_out.", key)
    return _renamed(key, RESNET).replace("samplers.0.op.", "samplers.0.conv.")


def _down_block(match: re.Match[str]) -> str:
    level, layer = divmod(int(match[1]) - 1, LAYERS + 1)
    if layer == LAYERS:
        return f"down_blocks.{level}.downsamplers.0."
    kind = "attentions" if match[2] == "1" else "resnets"
    return f"down_blocks.{level}.{kind}.{layer}."


def _middle_block(match: re.Match[str]) -> str:
    return ("mid_block.resnets.0.", "mid_block.attentions.0.", "mid_block.resnets.1.")[
        int(match[1])
    ]


def _up_block(match: re.Match[str]) -> str:
    block, layer = divmod(int(match[1]), LAYERS + 1)
    part = int(match[2])
    if part == 0:
        return f"up_blocks.{block}.resnets.{layer}."
    # The first block has no attention, so that its upsampler takes the place of that.
    if part == 1 and block > 0:
        return f"up_blocks.{block}.attentions.{layer}."
    return f"up_blocks.{block}.upsamplers.0."


def _spade_number(block: str) -> int:
    """Return the place of a residual block, named officially, among all of the UNet."""
    part, number = block.split(".")[:2]
    if part == "middle_block":
        return LEVELS * LAYERS + int(number) // 2
    if part == "output_blocks":
        return LEVELS * LAYERS + 2 + int(number)
    level, layer = divmod(int(number) - 1, LAYERS + 1)
    return level * LAYERS + layer


def _encoder_entry(key: str, value: Tensor) -> dict[str, Tensor]:
    """Return one entry of the time-aware encoder, or three of joined queries, keys and values."""
    key = re.sub(
        r"^time_embed\.([02])\.", lambda m: f"time_embedding.linear_{int(m[1]) // 2 + 1}.", key
    )
    key = re.sub(r"^input_blocks\.0\.0\.", "conv_in.", key)
    key = re.sub(r"^input_blocks\.(\d+)\.(\d)\.", _encoder_block, key)
    key = re.sub(r"^middle_block\.1\.", "middle_attention.", key)
    key = re.sub(r"^middle_block\.([02])\.", lambda m: f"middle.{int(m[1]) // 2}.", key)
    key = re.sub(r"^fea_tran\.", "taps.", key)
    key = _renamed(key, RESNET).replace("downsampler.op.", "downsampler.conv.")
    if "attention" not in key:
        return {key: value}
    value = value.squeeze(-1) if value.ndim > 2 else value
    if ".qkv." in key:
        return _split_heads(key, value)
    key = re.sub(r"\.norm\.", ".group_norm.", key)
    return {key.replace(".proj_out.", ".to_out.0."): value}


def _encoder_block(match: re.Match[str]) -> str:
    level, layer = divmod(int(match[1]) - 1, LAYERS + 1)
    if layer == LAYERS:
        return f"levels.{level}.downsampler."
    kind = "attentions" if match[2] == "1" else "resnets"
    return f"levels.{level}.{kind}.{layer}."


def _split_heads(key: str, value: Tensor) -> dict[str, Tensor]:
    """Split joined projections, whose rows are queries, keys, values of each head in turn."""
    by_head = value.reshape(HEADS, 3, -1, *value.shape[1:])
    return {
        key.replace(".qkv.", f".to_{letter}."): by_head[:, number].flatten(0, 1)
        for number, letter in enumerate("qkv")
    }


def _vae_name(key: str) -> str:
    part, _, name = key.partition(".")
    name = re.sub(
        r"^up\.(\d)\.block\.", lambda m: f"up_blocks.{LEVELS - 1 - int(m[1])}.resnets.", name
    )
    name = re.sub(
        r"^up\.(\d)\.upsample\.",
        lambda m: f"up_blocks.{LEVELS - 1 - int(m[1])}.upsamplers.0.",
        name,
    )
    return f"{part}.{_renamed(name, VAE)}"
