"""Converted models on this machine: one bundle folder each, below the user's data folder or ``ADDSR_HOME``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import remove_folder, remove_partial_folders, temporary_folder
from addsr_cli.folders import data_folder
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress


def home() -> Path:
    """Where models live; ``ADDSR_HOME`` moves it."""
    return data_folder() / "models"


def folder_of(name: str) -> Path:
    """The folder of a model, there or not; ORG/REPO becomes one name. Raises UsageError for what is no name."""
    flat = name.replace("/", "--")
    if not flat or any(sign in flat for sign in ("\\", ":", "\0")) or flat.startswith(("-", ".")):
        raise UsageError(
            f"{name!r} is not the name of a model.", "Use letters, digits, dots and dashes."
        )
    return home() / flat


def find_installed(name: str) -> Path | None:
    """The folder of an installed model, or None."""
    folder = folder_of(name)
    return folder if (folder / RECORD).is_file() else None


def demanded(name: str) -> Path:
    """The folder of an installed model. Raises ModelUnavailable when there is none."""
    folder = find_installed(name)
    if folder is None:
        raise ModelUnavailable(
            f"The model {name} is not installed.", "addsr models list shows what is."
        )
    return folder


def installed() -> dict[str, Path]:
    """All installed models by name, sorted; hidden folders are what is being made, or left of that."""
    records = sorted(
        path for path in home().glob(f"*/{RECORD}") if not path.parent.name.startswith(".")
    )
    return {record.parent.name.replace("--", "/"): record.parent for record in records}


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def problems(folder: Path, report: ProgressCallback | None = None) -> tuple[str, ...]:
    """What is wrong with a bundle's files: missing, or changed since they were recorded; empty when it is intact."""
    found, recorded = [], dict(Bundle.read(folder).files)
    for name, digest in recorded.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif sha256_with_progress(path, name, report) != digest:
            found.append(f"{name} has changed since it was installed")
    return tuple(found)


def remove(name: str) -> int:
    """Delete an installed model; returns the bytes freed. Raises ModelUnavailable when there is none."""
    folder = demanded(name)
    freed = size(folder)
    remove_folder(folder)
    return freed


@contextmanager
def making(name: str, wait: Callable[[], None]) -> Iterator[Path]:
    """Hold a model's name against other processes while it is made; gives the beginning of names for work in progress.

    Folders with such names, ending in PART, are hidden; what a killed process left of them goes
    first. ``wait`` is called before waiting for another process. Raises OSError.
    """
    place = folder_of(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / f".{place.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire()
    try:
        remove_partial_folders(place)
        with temporary_folder(place) as scratch:
            yield scratch
    finally:
        lock.release()
