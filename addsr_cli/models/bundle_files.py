"""Writing a bundle's files: weights in one precision, vocabulary, history, all or nothing."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.files import atomic_folder, require_free_space, sha256_of, write_error
from addsr_cli.models.checkpoint_reader import AUTHORS_FILE
from addsr_cli.version import __version__

HISTORY = "import.json"
VOCABULARY = ("vocab.json", "merges.txt")
State = Mapping[str, Tensor]


def vocabulary_files(folder: Path) -> list[Path]:
    """Return the files of a tokenizer. Raises ModelUnavailable where one is missing."""
    missing = [name for name in VOCABULARY if not (folder / name).is_file()]
    if missing:
        raise ModelUnavailable(
            f"{folder} lacks {' and '.join(missing)}.", "Take tokenizer/ of SD2-base."
        )
    return sorted(path for path in folder.iterdir() if path.is_file())


def count_weights(state: State) -> int:
    """Return the number of floating-point weights."""
    return sum(value.numel() for value in state.values() if value.is_floating_point())


def cast_state(state: State, dtype: torch.dtype, title: str) -> dict[str, Tensor]:
    """Return the weights in ``dtype``. Raises ModelUnavailable if one is not finite there."""
    cast = {}
    for key, value in state.items():
        converted = value.to(dtype) if value.is_floating_point() else value
        cast[key] = converted.contiguous()
    broken = [key for key, value in cast.items() if not bool(value.isfinite().all())]
    if broken:
        raise ModelUnavailable(
            f"The {title} has weights that are not numbers in {dtype}: {', '.join(broken[:3])}.",
            f"Convert to float32; if that fails too, the file is damaged. {AUTHORS_FILE}",
        )
    return cast


def write_history(
    path: Path,
    source: Mapping[str, Any],
    inputs: Mapping[str, list[Path]],
    known_digests: Mapping[Path, str],
) -> None:
    """Record what the bundle was made of, by which version, when."""
    digests = {}
    for part, files in inputs.items():
        for file in files:
            digests[f"{part}/{file.name}"] = known_digests.get(file) or sha256_of(file)
    history = {
        "source": dict(source),
        "inputs": digests,
        "date": str(datetime.now(UTC).date()),
        "addsr": __version__,
    }
    path.write_text(json.dumps(history, indent=1), encoding="utf-8")


@contextmanager
def new_folder(output: Path, size: int) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``output``. Raises OutputRefused."""
    if output.exists():
        raise OutputRefused(f"{output} exists already.", "Remove it, or choose another name.")
    try:
        with atomic_folder(output) as folder:
            require_free_space(
                output.parent,
                size,
                f"{output} needs",
                "Free some space, or choose a folder on another disk.",
            )
            yield folder
    except (OSError, SafetensorError) as exc:
        raise write_error(output, exc, "Free some space, or choose another folder.") from exc
