"""Checkpoints: one file per step, complete or absent."""

import pickle
from pathlib import Path
from typing import Any

import torch

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.files import atomic_file, remove_partial_files

PATTERN = "step-*.pt"
RENAMED = {  # keys that older versions wrote under another name
    "adversary": "discriminator_step",
    "updater": "optimizer_step",
    "optimisers": "optimizers",
}


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write ``state`` as ``step-NNNNNNN.pt`` and delete all but the newest ``keep`` checkpoints.

    Raises OutputRefused.
    """
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


def find(resume: str, folder: Path) -> Path | None:
    """Return the checkpoint for ``--resume``: the newest in ``folder`` for "latest", or a path.

    "auto" is "latest", or None where there is none. Raises UsageError when there should be one.
    """
    if resume not in ("latest", "auto"):
        path = Path(resume)
        if not path.is_file():
            raise UsageError(
                f"There is no checkpoint {path}.",
                "Use --resume latest or auto, or the path of a step-*.pt file.",
            )
        return path
    checkpoints = sorted(folder.glob(PATTERN))
    if not checkpoints and resume == "auto":
        return None
    if not checkpoints:
        raise UsageError(
            f"There is no checkpoint in {folder} to resume from.",
            "Leave --resume out to start a new run, or use --resume auto.",
        )
    return checkpoints[-1]


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, tensors and plain values only.

    Raises UsageError when it cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        raise UsageError(
            f"{path} is not a usable checkpoint: {exc}", "Resume from an older step-*.pt file."
        ) from exc
    if "objective" in state:
        state["objective"] = _with_current_names(state["objective"])
    return state


def _with_current_names(state: dict[str, Any]) -> dict[str, Any]:
    renamed = {}
    for key, value in state.items():
        nested = key in ("student", *RENAMED, *RENAMED.values()) and isinstance(value, dict)
        renamed[RENAMED.get(key, key)] = _with_current_names(value) if nested else value
    return renamed
