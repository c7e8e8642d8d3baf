"""A network that answers in one pass as an installed model: one safetensors file and a record."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from addsr_cli.models.bundle import Bundle
from addsr_cli.models.bundle_files import new_folder
from addsr_cli.models.single_pass.architecture import ARCHITECTURE
from addsr_cli.models.single_pass.reading import read_network, read_state


def convert_network(
    file: Path,
    *,
    name: str,
    licence: str,
    output: Path,
) -> None:
    """Convert a checkpoint to the model ``name`` in the folder ``output``, which must not exist.

    The weights stay as they are, under the names that they have in the file, so that other programs
    can read them too; trainers' wrappers are left out. Raises ModelUnavailable when the file holds
    no such network, and OutputRefused.
    """
    network = read_network(file)
    state = read_state(file)
    record = Bundle(
        name=name,
        parameters=network.parameters,
        arch=ARCHITECTURE.name,
        licence=licence,
        default_steps=1,
        shortest_side=0,
        scale=network.scale,
    )
    with new_folder(output, file.stat().st_size) as folder:
        save_file(
            {
                key: value.clone(memory_format=torch.contiguous_format)
                for key, value in state.items()
            },
            folder / ARCHITECTURE.single_file,
            metadata={"format": "pt", "origin": file.name},
        )
        record.write(folder)
