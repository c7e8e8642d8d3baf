"""What a shell completes after an option, and as an argument."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

MODEL_SUFFIXES = (".safetensors", ".pth")


def model_choices(incomplete: str) -> list[str]:
    """Complete ``--model``: auto, known names, installed models, folders and model files."""
    names = _starting_with(incomplete, ["auto", *_models()])
    return names + _paths(incomplete, MODEL_SUFFIXES)


def model_names(incomplete: str) -> list[str]:
    """Complete the name of a known or installed model."""
    return _starting_with(incomplete, _models())


def intent_names(incomplete: str) -> list[str]:
    """Complete ``--for``."""
    from addsr_cli.cli.intents import NAMES

    return _starting_with(incomplete, NAMES)


def device_names(incomplete: str) -> list[str]:
    """Complete ``--device``, without asking which devices there are."""
    return _starting_with(incomplete, ["auto", "cpu", "cuda", "mps"])


def file_names(incomplete: str) -> list[str]:
    """Complete an input: folders and files."""
    return _paths(incomplete, ("",))


def _models() -> set[str]:
    from addsr_cli.models.registry import BUNDLED
    from addsr_cli.weights import installed
    from addsr_cli.weights.components import MODEL_COMPONENTS

    return {*BUNDLED, *MODEL_COMPONENTS, *installed.list_installed()}


def _starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Folders and files that begin with ``incomplete``; hidden ones only when asked for."""
    folder, start = os.path.split(incomplete)
    paths = []
    with suppress(OSError):
        for entry in sorted(os.scandir(folder or "."), key=lambda entry: entry.name):
            hidden = entry.name.startswith((".", "_"))
            if not entry.name.startswith(start) or (hidden and not start):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                paths.append(f"{path}/")
            elif entry.name.endswith(suffixes):
                paths.append(path)
    return paths


COMPLETIONS: dict[str, Callable[[str], list[str]]] = {
    "--device": device_names,
    "--for": intent_names,
    "--model": model_choices,
}
