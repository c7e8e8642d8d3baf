"""Load a bundle's files into networks, and write them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.checks import check_numbers
from addsr_cli.models.pretrained import no_progress_bars
from addsr_cli.models.seesr.architecture import PARTS
from addsr_cli.models.seesr.dual_cross_attention import (
    build_controlnet,
    build_unet,
    cast,
    image_width,
    load_pairs,
)
from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.models.seesr.tagger import Tagger, TaggerConfig
from addsr_cli.models.seesr.tagger_weights import load_tagger
from addsr_cli.models.seesr.text_encoder import TextEncoder

WEIGHTS = "diffusion_pytorch_model.safetensors"
TAGGER_WEIGHTS = "model.safetensors"
NETWORKS = ("unet", "controlnet", "vae", "text_encoder", "tagger")


def load_bundle(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SeeSR:
    """Load all networks of a bundle in ``dtype``, the tagger in float32.

    Raises ModelUnavailable, with the network that is missing, damaged or wrong.
    """
    record = Bundle.read(folder)
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise ModelUnavailable(f"{folder} lacks {', '.join(missing)}.", "Import the model again.")
    try:
        seesr = SeeSR(
            unet=_pairs(
                folder / "unet",
                build_unet,
                "UNet",
                device,
                dtype,
            ),
            controlnet=_pairs(
                folder / "controlnet",
                build_controlnet,
                "ControlNet",
                device,
                dtype,
            ),
            vae=_ready(AutoencoderKL.from_pretrained(folder / "vae", **_local(dtype)), device),
            text=load_text(folder, device, dtype),
            tagger=_tagger(folder / "tagger", device),
            prompt_defaults=record.prompt_defaults,
            scheduler=record.scheduler,
        )
        networks = (seesr.unet, seesr.controlnet, seesr.vae, seesr.text.model, seesr.tagger)
        for part, network in zip(NETWORKS, networks, strict=True):
            _check_numbers(part, network)
        return seesr
    except (OSError, KeyError, TypeError, ValueError, RecursionError, SafetensorError) as exc:
        raise ModelUnavailable(
            f"{folder} cannot be loaded: {exc}.", "Import the model again."
        ) from exc


def save_tagger(
    state: Mapping[str, Tensor],
    config: TaggerConfig,
    folder: Path,
) -> None:
    """Write a merged tagger (see ``tagger.merge``) and its tag list."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous() for key, value in state.items()},
        folder / TAGGER_WEIGHTS,
        {"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(config.to_json(), indent=1), encoding="utf-8")


def _pairs(
    folder: Path,
    build: Callable[..., nn.Module],
    what: str,
    device: str,
    dtype: torch.dtype,
) -> nn.Module:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state = load_file(folder / WEIGHTS)
    with torch.device("meta"):
        net: nn.Module = build(config, image_width(state, what))
    load_pairs(net, cast(state, dtype, device), what)
    return net.eval()


def load_text(
    folder: Path,
    device: str,
    dtype: torch.dtype,
) -> TextEncoder:
    """Load a bundle's ``text_encoder`` and ``tokenizer``."""
    with no_progress_bars():
        model = CLIPTextModel.from_pretrained(folder / "text_encoder", **_local(dtype))
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return TextEncoder(tokenizer=tokenizer, model=_ready(model, device))


def _tagger(folder: Path, device: str) -> Tagger:
    """Load the tagger in float32 always: in bf16 a fifth of all photos get other tags."""
    config = TaggerConfig.from_json(
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    )
    return load_tagger(
        config,
        load_file(folder / TAGGER_WEIGHTS),
        device=device,
    )


def _local(dtype: torch.dtype) -> dict[str, Any]:
    return {"torch_dtype": dtype, "local_files_only": True, "use_safetensors": True}


def _check_numbers(part: str, network: Any) -> None:  # noqa: ANN401 (libraries' models)
    """Run ``check_numbers`` on the device of the weights, which is fast on a GPU."""
    try:
        check_numbers(dict(network.named_parameters()))
    except ValueError as exc:
        raise ValueError(f"{part}: {exc}") from exc


def _ready(model: Any, device: str) -> Any:  # noqa: ANN401 (libraries' models, whose annotations differ)
    return model.eval().requires_grad_(False).to(device)
