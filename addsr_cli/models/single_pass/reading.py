"""From a file of weights to the network that they belong to.

ESRGAN and compact networks are built here; spandrel recognises the others. A pickle is read by
torch with ``weights_only``, so that nothing in it runs.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.checks import check_fit, check_numbers, refusing
from addsr_cli.models.single_pass.compact import Compact, compact_for
from addsr_cli.models.single_pass.esrgan import Esrgan, esrgan_for, with_own_names
from addsr_cli.models.single_pass.foreign import foreign_network
from addsr_cli.models.single_pass.network import Enlarger

# Entries under which trainers store the weights, best first: those of a moving average
ENTRIES = ("params_ema", "params-ema", "params", "model_state_dict", "state_dict", "model", "net")
PREFIXES = ("module.", "netG.")


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file, without the prefixes of trainers. Raises ModelUnavailable."""
    state = read_weights(path, ENTRIES)
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def read_network(path: Path) -> Enlarger:
    """Return the network in a file: float32, on the CPU, frozen. Raises ModelUnavailable."""
    state = read_state(path)
    with refusing(f"{path} holds unusable weights", "Take the authors' own file."):
        check_numbers({key: value for key, value in state.items() if value.is_floating_point()})
        known = _known_network(state)
    return known or foreign_network(state, path)


def _known_network(state: Mapping[str, Tensor]) -> Enlarger | None:
    """Return the network if addsr knows it itself. Raises ValueError for incomplete weights."""
    named = with_own_names(state)
    if named is not None:
        with torch.device("meta"):
            esrgan = esrgan_for(_shapes(named))
        _load(esrgan, named)
        return Enlarger(
            net=esrgan,
            kind="ESRGAN",
            scale=2 ** len(esrgan.ups) // esrgan.unshuffle,
            channels=esrgan.last.out_channels,
            multiple=esrgan.unshuffle,
            alignment=esrgan.unshuffle,
            halo=esrgan.halo,
        )
    with torch.device("meta"):
        compact = compact_for(_shapes(state))
    if compact is None:
        return None
    _load(compact, state)
    return Enlarger(
        net=compact,
        kind="compact",
        scale=compact.scale,
        channels=compact.channels,
        halo=compact.halo,
    )


def _load(net: Esrgan | Compact, state: Mapping[str, Tensor]) -> None:
    """Give a network on the meta device its weights, once their shapes fit."""
    check_fit(_shapes(state), net)
    net.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's annotations
    net.eval().requires_grad_(False)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}
