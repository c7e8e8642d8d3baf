"""Load a StableSR bundle's files into networks, and write what is not in diffusers' layout.

A bundle has the folders of Stable Diffusion (``unet``, ``vae``, ``text_encoder``, ``tokenizer``,
``scheduler``), all stock, and two of StableSR: ``adapter`` (time-aware encoder and SPADE layers)
and ``fusion`` (CFW's blocks).
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.checks import check_fit, check_numbers, refusing, stored_shapes
from addsr_cli.models.seesr.dual_cross_attention import cast
from addsr_cli.models.seesr.loading import WEIGHTS, load_text
from addsr_cli.models.seesr.stable_diffusion import StableDiffusion
from addsr_cli.models.stablesr.architecture import PARTS
from addsr_cli.models.stablesr.conditioned_unet import Adapter, ConditionedUNet, widths_of
from addsr_cli.models.stablesr.fused_decoder import FusedDecoder, fusion_widths
from addsr_cli.models.stablesr.restorer import StableSR
from addsr_cli.models.stablesr.time_aware_encoder import EncoderConfig
from addsr_cli.schedule import Prediction

CONFIG = "config.json"
SCHEDULER = "scheduler_config.json"
PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}
HINT = "Import the model again."
BORROWED_FIDELITY = 0.5  # of other models: StableSR's, also where StableSR-768v lends the decoder


def load_bundle(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> StableSR:
    """Load all networks of a bundle in ``dtype``.

    Raises ModelUnavailable, with the network that is missing, damaged or wrong.
    """
    record = Bundle.read(folder)
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise ModelUnavailable(f"{folder} lacks {', '.join(missing)}.", HINT)

    def network(part: str, build: Callable[[dict[str, Any]], nn.Module]) -> Any:  # noqa: ANN401
        with refusing(f"{folder / part} cannot be loaded", HINT):
            return _network(folder / part, build, device, dtype)

    unet = network("unet", UNet2DConditionModel.from_config)
    vae = network("vae", AutoencoderKL.from_config)
    adapter = network(
        "adapter",
        lambda config: Adapter(EncoderConfig.from_json(config), widths_of(unet)),
    )
    fused = network("fusion", lambda _: FusedDecoder(fusion_widths(vae)))
    with refusing(f"{folder} cannot be loaded", HINT):
        text = load_text(folder, device, dtype)
        scheduler = _read(folder / "scheduler" / SCHEDULER)
        return StableSR(
            unet=ConditionedUNet(unet, adapter),
            vae=vae,
            fused=fused,
            text=text,
            prediction=PREDICTIONS[scheduler["prediction_type"]],
            fidelity=float(_read(folder / "fusion" / CONFIG)["weight"]),
            prompt_defaults=record.prompt_defaults,
        )


def attach_fusion(
    network: StableDiffusion,
    folder: Path,
    device: str,
    dtype: torch.dtype,
) -> None:
    """Give a loaded model the fused decoder of the StableSR bundle in ``folder``.

    The fusion blocks were trained with the VAE of Stable Diffusion 2, which the bundle has: where
    the model's is another, the user is told. Raises ModelUnavailable where the blocks do not fit.
    """
    with refusing(f"{folder / 'fusion'} does not fit this model's VAE", "Use its own decoder."):
        network.fused = _network(
            folder / "fusion",
            lambda _: FusedDecoder(fusion_widths(network.vae)),
            device,
            dtype,
        )
        network.fidelity = BORROWED_FIDELITY
        trained_with = load_file(folder / "vae" / WEIGHTS)
    own = network.vae.state_dict()
    equal = own.keys() == trained_with.keys() and all(
        torch.equal(value.cpu().to(dtype), trained_with[key].to(dtype))
        for key, value in own.items()
    )
    if not equal:
        network.notes += ("the decoder cfw was trained with another VAE than this model's",)


def scheduler_config(prediction: Prediction) -> dict[str, object]:
    """Return diffusers' description of StableSR's sampler, ``scheduler_config.json``."""
    [name] = [key for key, value in PREDICTIONS.items() if value == prediction]
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "variance_type": "fixed_small",
        "clip_sample": False,
        "prediction_type": name,
        "timestep_spacing": "linspace",
        "steps_offset": 0,
    }


def _network(
    folder: Path,
    build: Callable[[dict[str, Any]], nn.Module],
    device: str,
    dtype: torch.dtype,
) -> Any:  # noqa: ANN401 (what ``build`` builds)
    """Build one network and give it its weights; the file's header is compared first."""
    file = folder / WEIGHTS
    with torch.device("meta"):
        net = build(_read(folder / CONFIG))
    shapes, _ = stored_shapes(file)
    check_fit(shapes, net)
    state = cast(load_file(file), dtype, device)
    check_numbers(state)
    net.load_state_dict(state, assign=True)
    return net.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dict(content)
