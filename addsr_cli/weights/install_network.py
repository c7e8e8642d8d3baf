"""A network that answers in one pass as an installed model: one safetensors file and a record."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.files import require_free_space
from addsr_cli.models import single_pass
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.registry import BUNDLED
from addsr_cli.models.single_pass.reading import read_network, read_state
from addsr_cli.weights import installed
from addsr_cli.weights.components import MODEL_COMPONENTS

FREE_SPACE = "Free some space, or set ADDSR_HOME to another folder."


def check_name(name: str) -> None:
    """Raise OutputRefused for a name that a model has already, UsageError for an invalid one."""
    if name == "auto" or name in BUNDLED or name in MODEL_COMPONENTS:
        raise OutputRefused(
            f"{name} is the name of another model.", "Choose a name with --as NAME."
        )
    if installed.find_installed(name):
        raise OutputRefused(
            f"{name} is installed already.",
            f"Remove it first: addsr models rm {name}, or choose a name with --as NAME.",
        )


def convert_network(
    file: Path,
    name: str,
    licence: str,
    scratch: Path,
) -> Path:
    """Convert a checkpoint to the model ``name``, by way of ``scratch``; returns its folder.

    The weights stay as they are, under the names that they have in the file, so that other programs
    can read them too; trainers' wrappers are left out. Raises ModelUnavailable when the file holds
    no such network.
    """
    network = read_network(file)
    state = read_state(file)
    bundle = scratch / "bundle"
    bundle.mkdir()
    require_free_space(bundle, file.stat().st_size, f"{name} needs", FREE_SPACE)
    save_file(
        {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()},
        bundle / single_pass.ARCHITECTURE.single_file,
        metadata={"format": "pt", "origin": file.name},
    )
    record = Bundle(
        name=name,
        parameters=network.parameters,
        arch=single_pass.ARCHITECTURE.name,
        licence=licence,
        default_steps=1,
        shortest_side=0,
        scale=network.scale,
    )
    record.write(bundle)
    output = installed.model_folder(name)
    bundle.rename(output)
    return output


def import_network(file: Path, name: str) -> Path:
    """Install the network in a user's file as ``name``; returns its folder.

    Raises ModelUnavailable when the file holds no network that addsr or spandrel knows.
    """
    check_name(name)
    if not file.is_file():
        raise ModelUnavailable(f"{file} does not exist.", "Check the path.")
    with installed.installation_folder(name, lambda: None) as scratch:
        return convert_network(file, name, "unknown", scratch)
