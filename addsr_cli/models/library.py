"""Converted models on this machine: one bundle folder each, below the user's data folder or ``ADDSR_HOME``."""

import os
import shutil
from pathlib import Path

from platformdirs import user_data_path

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models.bundle import RECORD, Bundle, digest_of

HOME = "ADDSR_HOME"


def home() -> Path:
    """Where models live; ``ADDSR_HOME`` moves it."""
    chosen = os.environ.get(HOME)
    return (Path(chosen).expanduser() if chosen else user_data_path("addsr")) / "models"


def folder_of(name: str) -> Path:
    """The folder of a model, there or not; ORG/REPO becomes one name. Raises UsageError for what is no name."""
    flat = name.replace("/", "--")
    if not flat.strip(".") or any(sign in flat for sign in ("\\", ":", "\0")) or flat.startswith("-"):
        raise UsageError(f"{name!r} is not the name of a model.", "Use letters, digits, dots and dashes.")
    return home() / flat


def held(name: str) -> Path | None:
    """The folder of an installed model, or None."""
    folder = folder_of(name)
    return folder if (folder / RECORD).is_file() else None


def demanded(name: str) -> Path:
    """The folder of an installed model. Raises ModelUnavailable when there is none."""
    folder = held(name)
    if folder is None:
        raise ModelUnavailable(f"The model {name} is not installed.", "addsr models list shows what is.")
    return folder


def installed() -> dict[str, Path]:
    """All installed models by name, sorted."""
    records = sorted(home().glob(f"*/{RECORD}"))
    return {record.parent.name.replace("--", "/"): record.parent for record in records}


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def problems(folder: Path) -> tuple[str, ...]:
    """What is wrong with a bundle's files: missing, changed, or not in the record; empty when it is intact."""
    found, recorded = [], dict(Bundle.read(folder).files)
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif digest_of(path) != digest:
            found.append(f"{name} has changed since it was installed")
    return tuple(found)


def remove(name: str) -> int:
    """Delete an installed model; returns the bytes freed. Raises ModelUnavailable when there is none."""
    folder = demanded(name)
    freed = size(folder)
    (folder / RECORD).unlink()  # first, so that a removal cut short leaves no model that looks whole
    shutil.rmtree(folder)
    return freed
