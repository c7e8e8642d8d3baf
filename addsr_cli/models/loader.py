"""From a model's name to a ``Restorer`` in memory."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.nano import load_nano
from addsr_cli.models.registry import MODELS, NANO, PLANNED, ModelSpec
from addsr_cli.models.restorer import Restorer

ASSETS = Path(__file__).parent / "assets"
NANO_FILE = "nano.safetensors"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model found on this machine: what it is, where, and why it was taken."""

    spec: ModelSpec
    file: Path
    reason: str

    def digest(self) -> str:
        """sha256 of the weights, hexadecimal."""
        return sha256(self.file.read_bytes()).hexdigest()


def locate(name: str) -> Located:
    """Find the weights that ``--model`` names: a known model, ``auto``, or the folder of a training run."""
    if name == "auto":
        reason = "the bundled model; addsr, the full one, is not part of this version yet"
        return Located(spec=NANO, file=_bundled(), reason=reason)
    if name in MODELS:
        return Located(spec=MODELS[name], file=_bundled(), reason="asked for by name")
    if name in PLANNED:
        raise ModelUnavailable(f"The model {name} is not part of this version yet.", "Use --model nano, or auto.")
    folder = Path(name)
    for file in (folder / NANO_FILE, folder / "export" / NANO_FILE):
        if file.is_file():
            return Located(spec=NANO, file=file, reason=f"from {file.parent}")
    if folder.is_dir():
        raise ModelUnavailable(f"{name} holds no model ({NANO_FILE}).", "Give the folder of a training run.")
    known = ", ".join(["auto", *MODELS])
    raise ModelUnavailable(f"There is no model called {name!r}.", f"Use {known}, or a folder that holds a model.")


def load(located: Located, *, device: str, dtype: str, compiled: bool = False) -> Restorer:
    """Bring the weights into memory on ``device`` as ``fp32``, ``bf16`` or ``fp16``; ``compiled`` if wished."""
    nano = load_nano(located.file)
    nano.net.eval().requires_grad_(False)
    nano.net.to(device=device, dtype=DTYPES[dtype])
    if compiled:
        nano.net.compile()
    return cast("Restorer", nano)


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _bundled() -> Path:
    file = ASSETS / NANO_FILE
    if not file.is_file():
        raise ModelUnavailable("The bundled model is missing from this installation.", "Reinstall: pip install addsr.")
    return file
