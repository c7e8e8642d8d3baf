"""From a model's name to a ``Restorer`` in memory."""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import torch

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import digest_of
from addsr_cli.models.bundle import NANO_FILE, RECORD, Bundle
from addsr_cli.models.nano.restorer import is_dense, load_nano
from addsr_cli.models.registry import MODELS, NANO, SEESR_FOOTPRINT, SMALL, ModelSpec
from addsr_cli.models.restorer import Restorer
from addsr_cli.weights import installed
from addsr_cli.weights.components import MADE_OF

ASSETS = Path(__file__).parent / "assets"
SEESR, RANDOM = "seesr", "random"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FULL_TILE, FULL_OVERLAP = 768, 256  # canvas pixels
MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")  # NAME or ORG/REPO


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model found on this machine: what it is, where, why it was taken. ``file`` is a bundle's record, or nano."""

    spec: ModelSpec
    file: Path
    reason: str

    def digest(self) -> str:
        """sha256 of the weights, hexadecimal; of a bundle the one over its recorded digests; of random ones nothing."""
        if self.spec.arch == RANDOM:
            return ""
        if self.spec.arch == SEESR:
            return Bundle.read(self.file.parent).digest
        return digest_of(self.file)


def locate(name: str) -> Located:
    """Find the weights that ``--model`` names: a known model, ``auto``, or the folder of a training run."""
    if name == "auto":
        reason = "the bundled model, since the full one takes minutes a photo without a GPU"
        return Located(
            spec=NANO,
            file=_bundled("nano"),
            reason=reason,
        )
    if name in MODELS:
        return Located(
            spec=MODELS[name],
            file=_bundled(name),
            reason="asked for by name",
        )
    folder = installed.find_installed(name) if MODEL_NAME.fullmatch(name) else None
    if folder:
        return _in(folder, f"installed in {folder}")
    if name in MADE_OF:
        raise ModelUnavailable(
            f"The model {name} is not installed.", f"addsr models pull {name}, or use --model nano."
        )
    found = at(Path(name))
    if found:
        return _in(found, f"from {found}")
    if Path(name).is_dir():
        problem = f"{name} holds no model ({NANO_FILE} or {RECORD})."
        raise ModelUnavailable(problem, "Give the folder of a training run or of a bundle.")
    known = ["auto", *MODELS, *MADE_OF, *installed.installed()]
    close = get_close_matches(name, known, n=1)
    hint = (
        f"Did you mean {close[0]}?"
        if close
        else f"Use {', '.join(dict.fromkeys(known))}, or a model's folder."
    )
    raise ModelUnavailable(f"There is no model called {name!r}.", hint)


def at(folder: Path) -> Path | None:
    """Where a model lies in a folder: in itself or, of a training run, in its ``export``; None when nowhere."""
    places = (folder, folder / "export")
    return next(
        (each for each in places if any((each / file).is_file() for file in (NANO_FILE, RECORD))),
        None,
    )


def _in(folder: Path, reason: str) -> Located:
    """The model of a folder that holds one."""
    nano = folder / NANO_FILE
    if nano.is_file():
        return Located(
            spec=SMALL if is_dense(nano) else NANO,
            file=nano,
            reason=reason,
        )
    return Located(
        spec=_bundle_spec(folder),
        file=folder / RECORD,
        reason=reason,
    )


def random_weights() -> Located:
    """The full model, with random numbers that ``load`` makes up in place of weights: to measure speed and memory."""
    spec = ModelSpec(
        name="random",
        arch=RANDOM,
        title="the full model with random weights",
        licence="random numbers",
        footprint=SEESR_FOOTPRINT,
        reads_text=True,
        shortest=512,
        tile=FULL_TILE,
        overlap=FULL_OVERLAP,
    )
    return Located(
        spec=spec,
        file=Path("random"),
        reason="random weights of the full model",
    )


def load(
    located: Located,
    *,
    device: str,
    dtype: str,
    compiled: bool = False,
) -> Restorer:
    """Bring the weights into memory on ``device`` as ``fp32``, ``bf16`` or ``fp16``; ``compiled`` if wished."""
    if located.spec.arch in (SEESR, RANDOM):
        return _load_seesr(located, device, DTYPES[dtype], compiled=compiled)
    nano = load_nano(located.file)
    nano.net.eval().requires_grad_(False)
    nano.net.to(device=device, dtype=DTYPES[dtype])
    if compiled:
        nano.net.compile()
    return cast("Restorer", nano)


def _load_seesr(
    located: Located,
    device: str,
    dtype: torch.dtype,
    *,
    compiled: bool,
) -> Restorer:
    # imported here, since they pull in diffusers and transformers, which nano does not need
    if located.spec.arch == RANDOM:
        from addsr_cli.models.seesr.random_weights import random_seesr

        seesr = random_seesr(device, dtype)
    else:
        from addsr_cli.models.seesr.loading import load_bundle

        seesr = load_bundle(located.file.parent, device=device, dtype=dtype)
    if compiled:
        seesr.unet.compile()
        seesr.controlnet.compile()
    return cast("Restorer", seesr)


def _bundle_spec(folder: Path) -> ModelSpec:
    record = Bundle.read(folder)
    return ModelSpec(
        name=record.name,
        arch=SEESR,
        title=f"bundle in {folder}",
        licence=record.licence,
        footprint=replace(SEESR_FOOTPRINT, parameters=record.parameters),
        reads_text=True,
        shortest=record.shortest,
        rule=record.rule,
        default_steps=record.default_steps,
        guidance=record.guidance,
        tile=FULL_TILE,
        overlap=FULL_OVERLAP,
    )


def _bundled(name: str) -> Path:
    file = ASSETS / f"{name}.safetensors"
    if not file.is_file():
        raise ModelUnavailable(
            "The bundled model is missing from this installation.", "Reinstall: pip install addsr."
        )
    return file
