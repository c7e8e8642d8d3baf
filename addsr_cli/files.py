"""Atomic writes of files and folders, digests of files, and the test for a full disk.

Whatever is unfinished lies beside its target under a hidden name that ends in ``.part``, so that a
later run can tell what a killed process left behind.
"""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1, sha256
from pathlib import Path

from addsr_cli.errors import NoSpace, OutputRefused

if sys.platform != "win32":
    import fcntl

PART = ".part"
_TEMPORARY_FILE = re.compile(r"\.addsr-[0-9a-f]{16}\.part")
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_HARD_LINKS = {
    errno.EPERM,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EMLINK,
    errno.EXDEV,
}
_TIME_TO_LOCK = 60.0  # seconds in which the writer of a new, empty file may not have locked it yet
_CHUNK = 1 << 20  # bytes


@contextmanager
def atomic_file(
    target: Path,
    *,
    overwrite: bool = True,
    set_mode: Callable[[int], None] | None = None,
) -> Iterator[Path]:
    """Yield the path of a temporary file that becomes ``target`` when the block succeeds.

    The file is flushed to disk before it is renamed, and deleted if the block raises; missing
    parent folders are created. Its permissions follow the umask, or are what ``set_mode`` makes of
    the open descriptor; until then only its owner can read it. Raises OSError, and
    FileExistsError if ``target`` exists and is not to be overwritten.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".addsr-{secrets.token_hex(8)}{PART}")
    try:
        with _locked_new_file(temporary, 0o600 if set_mode else 0o666) as mode:
            yield temporary
            with temporary.open("rb+") as file:
                if set_mode:
                    set_mode(file.fileno())
                else:
                    with suppress(OSError):  # a file system without permissions
                        temporary.chmod(mode)  # safetensors puts a private file in its place
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, target)  # noqa: PTH105 (tests make this call fail)
            else:
                _claim_name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step, over an older one. Raises OSError."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Give a file a second name, or copy it where hard links are not possible. Raises OSError.

    ``target`` is replaced in one step if it exists.
    """
    target = Path(target)
    temporary = target.with_name(f".addsr-{secrets.token_hex(8)}{PART}")
    try:
        os.link(source, temporary)
    except OSError:
        with atomic_file(target) as copy:
            shutil.copyfile(source, copy)
        return
    try:
        os.replace(temporary, target)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)  # a rename to the same file leaves both names


def remove_partial_files(folder: Path) -> None:
    """Delete temporary files of `atomic_file` in ``folder`` whose process was killed.

    A living process holds a lock on its file, which therefore stays. Other files and links are
    never touched. Does nothing where the folder is missing or cannot be read.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            named = _TEMPORARY_FILE.fullmatch(entry.name)
            if named and entry.is_file(follow_symlinks=False) and not _is_being_written(entry):
                with suppress(OSError):
                    Path(entry.path).unlink(missing_ok=True)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``target``, deleted when the block ends. Raises OSError."""
    folder = _hidden_sibling(target)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``target`` when the block succeeds. Raises OSError.

    With ``overwrite`` an older ``target`` is deleted, else it is an error.
    """
    with temporary_folder(target) as folder:
        yield folder
        if overwrite and target.exists():
            remove_folder(target)
        folder.rename(target)


def remove_folder(folder: Path) -> None:
    """Delete a folder, which loses its name first: a kill leaves no half of it. Raises OSError."""
    renamed = _hidden_sibling(folder)
    folder.rename(renamed)
    shutil.rmtree(renamed)


def remove_partial_folders(target: Path) -> None:
    """Delete hidden folders that killed processes left beside ``target``. Raises OSError.

    The caller makes sure that no other process writes ``target``.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}{re.escape(PART)}")
    for path in list(target.parent.iterdir()):
        if pattern.fullmatch(path.name):
            shutil.rmtree(path)


def sha256_of(path: Path, on_progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises OSError.

    ``on_progress`` receives the number of bytes read so far.
    """
    digest = sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if on_progress:
                on_progress(done)
    return digest.hexdigest()


def git_blob_sha1_of(path: Path) -> str:
    """Return Git's hash of a file as a blob, in hexadecimal. Raises OSError."""
    data = path.read_bytes()  # files that are not in LFS are small
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or the user's quota, is full.

    Libraries written in Rust or C++ report the system's error as text.
    """
    if isinstance(error, OSError):
        return error.errno in _DISK_FULL
    return any(os.strerror(number) in str(error) for number in _DISK_FULL)


def require_free_space(
    folder: Path,
    size: int,
    purpose: str,
    hint: str,
) -> None:
    """Raise NoSpace unless the disk of ``folder`` has ``size`` bytes free.

    ``purpose`` begins the message, as in "Unpacking a.zip needs".
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise NoSpace(
            f"{purpose} {size / 1e6:,.0f} MB, but {str(folder)!r} has {free / 1e6:,.0f} MB free.",
            hint,
        )


def write_error(
    subject: object,
    error: Exception,
    hint: str,
) -> OutputRefused:
    """Return the error to raise for a failed write: NoSpace if the disk is full.

    ``subject`` names the file, ``hint`` says what to do about it.
    """
    if is_disk_full(error):
        return NoSpace(f"{subject} cannot be written: the disk is full.", hint)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return OutputRefused(f"{subject} cannot be written: {reason}.", hint)


@contextmanager
def _locked_new_file(path: Path, mode: int) -> Iterator[int]:
    """Create an empty file and hold a lock on it; yields its permission bits after the umask."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(path, flags, mode)
    mode = os.fstat(descriptor).st_mode & 0o777
    if sys.platform == "win32":  # an open file can neither be renamed nor deleted there
        os.close(descriptor)
        yield mode
        return
    try:
        _lock(descriptor)
        yield mode
    finally:
        os.close(descriptor)


def _claim_name(temporary: Path, target: Path) -> None:
    """Rename a file unless the name is taken; a link never replaces a file. Raises OSError."""
    try:
        os.link(temporary, target)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
    else:
        return
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))  # reserves the name
    try:
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _is_being_written(entry: "os.DirEntry[str]") -> bool:
    """Whether the process that writes this temporary file lives, or may live."""
    status = entry.stat(follow_symlinks=False)
    if not status.st_size and time.time() - status.st_mtime < _TIME_TO_LOCK:
        return True
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return True
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed or its process ends; False if it is locked already."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _hidden_sibling(target: Path) -> Path:
    """Return an unused hidden name beside ``target``."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{PART}")
