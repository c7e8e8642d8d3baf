"""A user's file with a network that answers in one pass as an installed model."""

from pathlib import Path

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.models.registry import BUNDLED
from addsr_cli.models.single_pass.conversion import convert_network
from addsr_cli.weights import installed
from addsr_cli.weights.components import MODEL_COMPONENTS


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


def import_network(file: Path, name: str) -> Path:
    """Install the network in a user's file as ``name``; returns its folder.

    Raises ModelUnavailable when the file holds no network that addsr or spandrel knows.
    """
    check_name(name)
    if not file.is_file():
        raise ModelUnavailable(f"{file} does not exist.", "Check the path.")
    output = installed.model_folder(name)
    with installed.installation_folder(name, lambda: None):
        convert_network(file, name=name, licence="unknown", output=output)
    return output
