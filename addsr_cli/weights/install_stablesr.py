"""StableSR as an installed model: from the downloaded checkpoints to a bundle."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from addsr_cli.models.seesr.loading import WEIGHTS
from addsr_cli.models.stablesr.sampling_defaults import SAMPLING_DEFAULTS
from addsr_cli.weights import installed, sources
from addsr_cli.weights.components import (
    MODEL_COMPONENTS,
    SD2_BASE,
    SD_TURBO,
    Component,
    licences,
)
from addsr_cli.weights.convert_stablesr import Checkpoints, build_stablesr, differences
from addsr_cli.weights.stablesr_components import SD21_BASE_UNET, SD21_UNET, STABLESR_CFW

HALF_PRECISION = "unet/diffusion_pytorch_model.fp16.safetensors"
# The stock UNets that the authors say they kept, and where they lie in their components
STOCK: dict[str, tuple[Component, str]] = {
    "stablesr": (SD21_BASE_UNET, f"unet/{WEIGHTS}"),
    "stablesr-turbo": (SD_TURBO, HALF_PRECISION),
    "stablesr-768v": (SD21_UNET, f"unet/{WEIGHTS}"),
}
SMALL = "-small"  # suffix of the models that take the stock UNet


def is_stablesr(name: str) -> bool:
    """Whether ``name`` is one of StableSR's models."""
    return name.removesuffix(SMALL) in SAMPLING_DEFAULTS


def convert_stablesr(
    name: str,
    folders: Mapping[str, Path],
    known_digests: Mapping[Path, str],
    dtype: torch.dtype,
    on_message: Callable[[str], None],
) -> Path:
    """Convert downloaded components, whose ``folders`` are given by name, to a bundle.

    Where the stock UNet is on this computer too, ``on_message`` gets whether the checkpoint kept
    it, and the bundle records it.
    """
    model = name.removesuffix(SMALL)
    components = MODEL_COMPONENTS[name]
    main = components[0]
    stock, path = STOCK[model]
    files = Checkpoints(
        main=folders[main.name] / main.files[0].path,
        cfw=folders[STABLESR_CFW.name] / STABLESR_CFW.files[0].path,
        base=folders[SD2_BASE.name],
        unet=folders[stock.name] / path if stock.name in folders else None,
    )
    origins: dict[str, Any] = {
        component.name: sources.origin(component)
        for component in components
        if component.name in folders
    }
    if files.unet is None:
        origins |= _comparison(files.main, stock, path, on_message)
    return build_stablesr(
        files,
        output=installed.model_folder(name),
        name=name,
        licence=licences(components),
        defaults=SAMPLING_DEFAULTS[model],
        source=origins,
        known_digests=known_digests,
        dtype=dtype,
    )


def _comparison(
    checkpoint: Path,
    stock: Component,
    path: str,
    on_message: Callable[[str], None],
) -> dict[str, Any]:
    """Compare the checkpoint's UNet with the stock one, if that has been downloaded."""
    folder = sources.find_cached(stock)
    if folder is None:
        return {}
    differing = differences(checkpoint, folder / path)
    verdict = f"differs in {len(differing)} weights from" if differing else "equals"
    on_message(f"the UNet {verdict} that of {stock.title}")
    return {"stock_unet": {"component": stock.name, "differing_weights": len(differing)}}
