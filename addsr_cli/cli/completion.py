"""What a shell completes after an option."""

import os
from collections.abc import Callable
from contextlib import suppress

MODEL_SUFFIXES = (".safetensors", ".pth")


def model_names(incomplete: str) -> list[str]:
    """Complete ``--model``: known names, installed models, folders and model files."""
    from addsr_cli.models.registry import BUNDLED
    from addsr_cli.weights import installed
    from addsr_cli.weights.components import MODEL_COMPONENTS

    names = {"auto", *BUNDLED, *MODEL_COMPONENTS, *installed.list_installed()}
    completions = sorted(name for name in names if name.startswith(incomplete))
    return completions + _paths(incomplete, MODEL_SUFFIXES)


def file_names(incomplete: str) -> list[str]:
    """Complete an input: folders and files."""
    return _paths(incomplete, ("",))


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


COMPLETIONS: dict[str, Callable[[str], list[str]]] = {"--model": model_names}
