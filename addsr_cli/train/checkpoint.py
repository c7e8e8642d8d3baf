"""Checkpoints that are whole or not there: one file each, written aside and moved into place."""

import pickle
from pathlib import Path
from typing import Any

import torch

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.files import atomic_file, remove_partial_files

PATTERN = "step-*.pt"


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write ``state`` as ``step-NNNNNNN.pt`` and drop all but the newest ``keep``."""
    path = folder / f"step-{step:07d}.pt"
    remove_partial_files(folder)
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            torch.save({"step": step, **state}, file)
    except (OSError, RuntimeError) as exc:  # torch reports a full disk as RuntimeError
        raise OutputRefused(
            f"The checkpoint {path} could not be written: {exc}",
            "Free some space, then --resume latest.",
        ) from exc
    for old in sorted(folder.glob(PATTERN))[:-keep]:
        old.unlink()
    return path


def find(resume: str, folder: Path) -> Path:
    """The checkpoint that ``--resume`` means: ``latest`` in ``folder``, or a path."""
    if resume != "latest":
        path = Path(resume)
        if not path.is_file():
            raise UsageError(
                f"There is no checkpoint {path}.",
                "Use --resume latest, or the path of a step-*.pt file.",
            )
        return path
    found = sorted(folder.glob(PATTERN))
    if not found:
        raise UsageError(
            f"There is no checkpoint in {folder} to resume from.",
            "Leave --resume out to start afresh.",
        )
    return found[-1]


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; only tensors and plain values are accepted."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        raise UsageError(
            f"{path} is not a usable checkpoint: {exc}", "Resume from an older step-*.pt file."
        ) from exc
