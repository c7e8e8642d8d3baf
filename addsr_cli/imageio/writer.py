"""Writes photos to disk: checked early, atomic, and never over another file by default."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from addsr_cli.errors import NoSpace, OutputRefused
from addsr_cli.files import atomic_file, is_disk_full, require_free_space
from addsr_cli.imageio.access import FileAccess, apply_access
from addsr_cli.imageio.encoder import Warn, encoded_parts
from addsr_cli.imageio.formats import (
    FORMATS,
    WriteOptions,
    canonical,
    check_limits,
    raw_bytes,
    require_format,
)
from addsr_cli.imageio.photo import Photo

_MARGIN_BYTES = 1 << 20  # for metadata and the file system
DEFAULT_NAME_LIMIT = 255  # bytes, on nearly all file systems


def check_output(
    path: Path,
    *,
    format: str,
    width: int,
    height: int,
    channels: int,
    bit_depth: int,
    overwrite: bool,
) -> None:
    """Raise OutputRefused when writing a picture to ``path`` would fail, before any work is done.

    Checks the format's limits, what is at ``path`` now, that its folder exists or can be created
    and is writable, and that the disk has space for the worst case (pixels uncompressed; half of
    that for lossy formats). Leaves nothing behind.
    """
    name = canonical(format)
    check_limits(
        name,
        width=width,
        height=height,
        channels=channels,
        bit_depth=bit_depth,
    )
    check_target(path, overwrite=overwrite)
    if _is_stream(path):
        return
    folder = _existing_folder(path)
    _check_folder(folder, path)
    needed = raw_bytes(width, height, channels, bit_depth) * 101 // 100 + _MARGIN_BYTES
    if not FORMATS[name].lossless:
        needed //= 2
    require_free_space(
        folder,
        needed,
        f"{str(path)!r} may need",
        "Free some space, or choose another folder with -o.",
    )


def write(
    photo: Photo,
    path: Path,
    options: WriteOptions,
    settings: Mapping[str, str] | None = None,
    *,
    warn: Warn | None = None,
) -> int:
    """Write the photo to ``path`` and return the size of the file in bytes.

    The format is ``options.format`` or that of the suffix. Missing folders are created. Either the
    whole file appears under its name or nothing does, and it is not readable by more users than the
    photo's own file. ``warn`` is called with a sentence about everything that was left out. Raises
    OutputRefused (exists, no space, not writable, format limit) and UsageError (unknown suffix).
    """
    options = replace(options, format=options.format or require_format(path))
    check_target(path, overwrite=options.overwrite)
    parts = encoded_parts(photo, options, settings, warn=warn)
    return write_parts(
        path,
        parts,
        overwrite=options.overwrite,
        access=photo.access,
    )


def write_bytes(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    access: FileAccess | None = None,
) -> int:
    """Write a file atomically and return its size in bytes, see ``write_parts``."""
    return write_parts(
        path,
        [data],
        overwrite=overwrite,
        access=access,
    )


def write_parts(
    path: Path,
    parts: Iterable[bytes],
    *,
    overwrite: bool,
    access: FileAccess | None = None,
) -> int:
    """Write the parts of a file atomically and return its size in bytes. Raises OutputRefused.

    Symbolic links are followed; devices and pipes are written to directly. Until it is complete,
    the file has another name in the same folder, where `files.remove_partial_files` finds it after
    a crash. A new file follows the umask and is at most as readable as ``access``, the input's
    permissions; a file that replaces another gets its mode and, where allowed, its owner.
    """
    if _is_stream(path):
        return _write_to_stream(path, parts)
    target = path.resolve()
    older = _status(target) if overwrite else None

    def set_mode(descriptor: int) -> None:
        apply_access(descriptor, access, older)

    try:
        with (
            atomic_file(
                target,
                overwrite=overwrite,
                set_mode=set_mode,
            ) as temporary,
            temporary.open("wb") as file,
        ):
            size = _write_all(file, parts)
    except FileExistsError as exc:
        raise _exists(path) from exc
    except OSError as exc:
        raise write_error(path, exc) from exc
    return size


def _write_all(file: BinaryIO, parts: Iterable[bytes]) -> int:
    return sum(file.write(part) for part in parts)


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def _is_stream(path: Path) -> bool:
    """Return whether the path is a device such as /dev/null, or a pipe."""
    status = _status(path)
    if status is None:
        return False
    return stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode)


def _write_to_stream(path: Path, parts: Iterable[bytes]) -> int:
    try:
        # O_NONBLOCK makes a pipe without a reader an error
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "wb") as file:
            if os.isatty(descriptor):
                raise OutputRefused(f"{str(path)!r} is a terminal.", "Name a file with -o.")
            os.set_blocking(descriptor, True)
            return _write_all(file, parts)
    except OSError as exc:
        raise write_error(path, exc) from exc


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise OutputRefused when what is at ``path`` now, such as a folder, prevents writing."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _check_name(path)
        return
    except (OSError, ValueError) as exc:
        raise write_error(path, exc) from exc
    if stat.S_ISDIR(mode):
        raise OutputRefused(f"{str(path)!r} is a folder.", "Name a file, as in -o FOLDER/photo.png")
    if _is_stream(path):
        return
    if not overwrite:
        raise _exists(path)
    if not stat.S_ISREG(mode):
        raise OutputRefused(
            f"{str(path)!r} is not a regular file.", "Use -o - to write to standard output."
        )


def name_limit(path: Path) -> int:
    """Return the most bytes that a file name may have in the folder of ``path``."""
    if hasattr(os, "pathconf"):
        with suppress(OSError, ValueError):  # the file system does not report it
            return os.pathconf(_existing_folder(path), "PC_NAME_MAX")
    return DEFAULT_NAME_LIMIT


def _check_name(path: Path) -> None:
    limit = name_limit(path)
    if any(len(os.fsencode(part)) > limit for part in path.parts):
        raise _name_too_long(path)


def _existing_folder(path: Path) -> Path:
    """Return the nearest existing folder above ``path``. Raises OutputRefused for a file there."""
    for folder in path.absolute().parents:
        if folder.is_dir():
            return folder
        if folder.exists():
            raise OutputRefused(
                f"{str(folder)!r} is a file, so {str(path)!r} cannot be created.",
                "Choose another folder.",
            )
    return Path(path.absolute().anchor)


def _check_folder(folder: Path, path: Path) -> None:
    """Raise OutputRefused when no file can be created in ``folder``.

    Creates one without a name: mode bits do not bind root, and do not show full disks.
    """
    if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise write_error(path, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise write_error(path, exc) from exc


def _exists(path: Path) -> OutputRefused:
    return OutputRefused(
        f"{str(path)!r} already exists.", "Add --overwrite, or choose another name with -o."
    )


def write_error(path: Path, exc: OSError | ValueError) -> OutputRefused:
    """Return the error for a failure to write to ``path``; NoSpace when the disk is full."""
    if is_disk_full(exc):
        return NoSpace(
            f"No space is left for {str(path)!r}.",
            "Free some space, or choose another folder with -o.",
        )
    if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
        return _name_too_long(path)
    reason = str(exc)
    if isinstance(exc, OSError) and exc.strerror:
        reason = exc.strerror
    return OutputRefused(
        f"{str(path)!r} cannot be written: {reason}.", "Choose another folder with -o."
    )


def _name_too_long(path: Path) -> OutputRefused:
    return OutputRefused(
        f"The file name {path.name[:40] + '...'!r} is too long.", "Give a shorter one with -o."
    )
