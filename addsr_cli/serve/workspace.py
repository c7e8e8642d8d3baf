"""The private folder of a running page: deleted when it ends and, after a kill, by the next one."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from addsr_cli.errors import OutputRefused
from addsr_cli.files import write_error
from addsr_cli.folders import cache_folder

_LOCK = ".lock"


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a new folder that only this user can read, deleted when the block ends.

    Folders that killed processes left behind are deleted first. Raises OutputRefused when none can
    be created.
    """
    parent = cache_folder() / "serve"
    folder = parent / secrets.token_hex(8)
    lock = FileLock(folder.with_suffix(_LOCK))
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(parent)
        lock.acquire()  # before the folder exists, so that nobody takes it for an abandoned one
        folder.mkdir(mode=0o700)
    except OSError as exc:
        raise write_error(folder, exc, "ADDSR_HOME moves this folder.") from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _release(lock)


def require_folder(folder: Path) -> Path:
    """Create a folder for results and return its absolute path. Raises OutputRefused."""
    hint = "Choose another folder with -o."
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise OutputRefused(f"{str(folder)!r} is a file, not a folder.", hint) from exc
    except OSError as exc:
        raise write_error(folder, exc, hint) from exc
    return folder.resolve()


def _remove_abandoned(parent: Path) -> None:
    """Delete folders whose process has ended: the system has released their locks."""
    for folder in list(parent.iterdir()):
        if not folder.is_dir() or folder.is_symlink():
            continue
        lock = FileLock(folder.with_suffix(_LOCK))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        _release(lock)


def _release(lock: FileLock) -> None:
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
