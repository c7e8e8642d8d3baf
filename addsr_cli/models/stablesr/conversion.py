"""From StableSR's checkpoints to a bundle.

Sizes are read off the weights, so that nothing but the checkpoints has to be published. UNet and
VAE were frozen in training: the small route takes them from Stable Diffusion itself, and
``differences`` says whether a full checkpoint agrees.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from addsr_cli.models.bundle_files import (
    HISTORY,
    State,
    cast_state,
    count_weights,
    new_folder,
    vocabulary_files,
    write_history,
)
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.checks import check_fit, refusing
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS
from addsr_cli.models.stablesr.conditioned_unet import Adapter, widths_of
from addsr_cli.models.stablesr.fused_decoder import FusedDecoder, fusion_widths
from addsr_cli.models.stablesr.loading import CONFIG, SCHEDULER, scheduler_config
from addsr_cli.models.stablesr.official_names import (
    HEADS,
    LAYERS,
    adapter_state,
    fusion_state,
    unet_state,
    vae_state,
)
from addsr_cli.models.stablesr.sampling_defaults import StableSRDefaults
from addsr_cli.models.stablesr.time_aware_encoder import EncoderConfig

HEAD_WIDTH = 64  # of the UNet's attention
HINT = "Take the authors' checkpoints as published."


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The files of one model.

    ``main`` is the authors' full checkpoint or, with ``unet`` (a stock UNet), the small file with
    what they trained. ``cfw`` is the checkpoint of the fused decoder, whose VAE is used. ``base``
    holds text_encoder/ and tokenizer/ of Stable Diffusion 2.
    """

    main: Path
    cfw: Path
    base: Path
    unet: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One network of the bundle: configuration and weights, and the file they came from."""

    config: Mapping[str, Any]
    state: State
    file: Path
    name: str = WEIGHTS


def build_stablesr(
    files: Checkpoints,
    *,
    output: Path,
    name: str,
    licence: str,
    defaults: StableSRDefaults,
    source: Mapping[str, Any],
    known_digests: Mapping[Path, str] | None = None,
    dtype: torch.dtype = torch.float16,
    head_width: int = HEAD_WIDTH,
) -> Path:
    """Write a bundle to ``output``, which must not exist and appears only when it is complete.

    All weights become ``dtype``. ``source`` is recorded, with the sha256 of every input, which is
    computed unless it is in ``known_digests``. Raises ModelUnavailable and OutputRefused.
    """
    parts = _read_parts(files, defaults, head_width)
    tokenizer = vocabulary_files(files.base / "tokenizer")
    size = sum(count_weights(part.state) for part in parts.values()) * dtype.itemsize
    record = replace(
        defaults.bundle,
        name=name,
        parameters=sum(count_weights(part.state) for part in parts.values()),
        licence=licence,
    )
    inputs = {"tokenizer": tokenizer, **{key: [part.file] for key, part in parts.items()}}
    with new_folder(output, size) as folder:
        for title, part in parts.items():
            (folder / title).mkdir()
            state = cast_state(part.state, dtype, title)
            save_file(state, folder / title / part.name, metadata={"format": "pt"})
            _write_json(folder / title / CONFIG, part.config)
        for path in tokenizer:
            (folder / "tokenizer").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "tokenizer" / path.name)
        (folder / "scheduler").mkdir()
        _write_json(folder / "scheduler" / SCHEDULER, scheduler_config(defaults.prediction))
        record.write(folder)
        write_history(folder / HISTORY, source, inputs, known_digests or {})
    return output


def differences(checkpoint: Path, unet: Path) -> list[str]:
    """Return the weights of a full checkpoint's UNet that differ from a stock one's, by name.

    Compared in half precision, in which either may be stored. An empty list means that the small
    route gives the same model.
    """
    ours = unet_state(read_weights(checkpoint))
    stock = read_weights(unet)
    names = [key for key in (*ours, *stock) if key not in ours or key not in stock]
    return names + [
        key
        for key, value in ours.items()
        if key in stock and not torch.equal(value.half(), stock[key].half())
    ]


def _read_parts(
    files: Checkpoints,
    defaults: StableSRDefaults,
    head_width: int,
) -> dict[str, _Part]:
    """Read all networks, and check their names and shapes against ours."""
    main = read_weights(files.main)
    cfw = read_weights(files.cfw)
    text_file = files.base / "text_encoder" / TAGGER_WEIGHTS
    with refusing(f"{files.main} is not a checkpoint of StableSR", HINT):
        unet = unet_state(main) if files.unet is None else read_weights(files.unet)
        unet_config = _unet_config(unet, head_width)
        stock = _fitting(UNet2DConditionModel.from_config, unet_config, unet)
        adapter = adapter_state(main)
        encoder = _encoder_config(adapter)
        with torch.device("meta"):
            _check(adapter, Adapter(encoder, widths_of(stock)))
    with refusing(f"{files.cfw} is not the checkpoint of StableSR's decoder", HINT):
        vae = vae_state(cfw)
        vae_config = _vae_config(vae)
        codec = _fitting(AutoencoderKL.from_config, vae_config, vae)
        fusion = fusion_state(cfw)
        with torch.device("meta"):
            _check(fusion, FusedDecoder(fusion_widths(codec)))
    with refusing(f"{text_file.parent} is not the text encoder of Stable Diffusion 2", HINT):
        text_config = json.loads(text_file.with_name(CONFIG).read_text(encoding="utf-8"))
        if text_config["hidden_size"] != unet_config["cross_attention_dim"]:
            raise ValueError("its tokens are not as wide as those that the UNet reads")
    return {
        "unet": _Part(config=unet_config, state=unet, file=files.unet or files.main),
        "adapter": _Part(config=encoder.to_json(), state=adapter, file=files.main),
        "vae": _Part(config=vae_config, state=vae, file=files.cfw),
        "fusion": _Part(config={"weight": defaults.fidelity}, state=fusion, file=files.cfw),
        "text_encoder": _Part(
            config=text_config,
            state=read_weights(text_file),
            file=text_file,
            name=TAGGER_WEIGHTS,
        ),
    }


def _fitting(build: Any, config: Mapping[str, Any], state: State) -> Any:  # noqa: ANN401
    """Return diffusers' network of a configuration, without memory, if the weights are its own."""
    with torch.device("meta"):
        net = build(config)
    _check(state, net)
    return net


def _check(state: State, net: nn.Module) -> None:
    check_fit({key: tuple(value.shape) for key, value in state.items()}, net)


def _widths(state: State, pattern: str) -> list[int]:
    """Return the output channels of numbered convolutions."""
    widths: list[int] = []
    while (key := pattern.format(len(widths))) in state:
        widths.append(state[key].shape[0])
    return widths


def _unet_config(state: State, head_width: int) -> dict[str, Any]:
    """Return diffusers' configuration of a UNet of Stable Diffusion 2."""
    widths = _widths(state, "down_blocks.{}.resnets.0.conv1.weight")
    keys = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    return {
        "_class_name": "UNet2DConditionModel",
        "block_out_channels": widths,
        # diffusers' name for the number of heads
        "attention_head_dim": [width // head_width for width in widths],
        "cross_attention_dim": state[keys].shape[1],
        "use_linear_projection": True,
        "sample_size": 64,
    }


def _vae_config(state: State) -> dict[str, Any]:
    """Return diffusers' configuration of a VAE of Stable Diffusion."""
    widths = _widths(state, "encoder.down_blocks.{}.resnets.0.conv1.weight")
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": LAYERS,
        "latent_channels": state["post_quant_conv.weight"].shape[0],
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
    }


def _encoder_config(state: State) -> EncoderConfig:
    return EncoderConfig(
        widths=tuple(_widths(state, "encoder.levels.{}.resnets.0.conv1.weight")),
        out_width=state["encoder.taps.0.conv1.weight"].shape[0],
        time_width=state["encoder.time_embedding.linear_1.weight"].shape[1],
        layers=LAYERS,
        heads=HEADS,
        in_channels=state["encoder.conv_in.weight"].shape[1],
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
