"""Converted models on this machine: one folder each in the user's data folder or ``ADDSR_HOME``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import remove_folder, remove_partial_folders, temporary_folder
from addsr_cli.folders import data_folder
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.weights.progress import ProgressCallback, sha256_with_progress


def models_folder() -> Path:
    """Return the folder of all models; ``ADDSR_HOME`` moves it."""
    return data_folder() / "models"


def model_folder(name: str) -> Path:
    """Return the folder of a model, whether it exists or not; ORG/REPO becomes one name.

    Raises UsageError for an invalid name.
    """
    flat = name.replace("/", "--")
    if not flat or any(sign in flat for sign in ("\\", ":", "\0")) or flat.startswith(("-", ".")):
        raise UsageError(
            f"{name!r} is not the name of a model.", "Use letters, digits, dots and dashes."
        )
    return models_folder() / flat


def find_installed(name: str) -> Path | None:
    """Return the folder of an installed model, or None."""
    folder = model_folder(name)
    return folder if (folder / RECORD).is_file() else None


def require_installed(name: str) -> Path:
    """Return the folder of an installed model. Raises ModelUnavailable when there is none."""
    folder = find_installed(name)
    if folder is None:
        raise ModelUnavailable(
            f"The model {name} is not installed.", "Run addsr models list to see which are."
        )
    return folder


def list_installed() -> dict[str, Path]:
    """Return the folders of all installed models by name, sorted; skips unfinished ones."""
    folders = {}
    for record in sorted(models_folder().glob(f"*/{RECORD}")):
        folder = record.parent
        if not folder.name.startswith("."):
            folders[folder.name.replace("--", "/")] = folder
    return folders


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find_problems(folder: Path, on_progress: ProgressCallback | None = None) -> tuple[str, ...]:
    """Return the files of a bundle that are missing or differ from its record, as sentences."""
    problems = []
    for name, digest in dict(Bundle.read(folder).files).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256_with_progress(path, name, on_progress) != digest:
            problems.append(f"{name} has changed since it was installed")
    return tuple(problems)


def remove(name: str) -> int:
    """Delete an installed model; returns the bytes freed.

    Raises ModelUnavailable when there is none.
    """
    folder = require_installed(name)
    freed = folder_size(folder)
    remove_folder(folder)
    return freed


@contextmanager
def installation_folder(name: str, on_wait: Callable[[], None]) -> Iterator[Path]:
    """Yield a temporary folder for installing a model, locked against other processes.

    What killed processes left behind is deleted first. ``on_wait`` is called before waiting for
    another process. Raises OSError.
    """
    folder = model_folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        remove_partial_folders(folder)
        with temporary_folder(folder) as scratch:
            yield scratch
    finally:
        lock.release()
