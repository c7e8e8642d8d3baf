"""Bytes to disk: refused early when it cannot work, never half written, never over another file unasked."""

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from addsr_cli.errors import NoSpace, OutputRefused
from addsr_cli.files import atomic_file, is_disk_full, require_free_space
from addsr_cli.imageio.access import Access, apply_access
from addsr_cli.imageio.encoder import Warn, encode
from addsr_cli.imageio.formats import (
    FORMATS,
    WriteOptions,
    canonical,
    check_limits,
    raw_bytes,
    require_format,
)
from addsr_cli.imageio.photo import Photo

_MARGIN = 1 << 20  # metadata, and the file system's own needs


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
    """Raise OutputRefused when writing such a picture there would fail, before any work is done. Leaves nothing behind.

    Checks the format's limits, what is at ``path`` now, that its folder exists or can be made and
    takes a file, and that the disk has room for the worst case (samples uncompressed; half of that
    for lossy formats).
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
    need = raw_bytes(width, height, channels, bit_depth) * 101 // 100 + _MARGIN
    if not FORMATS[name].lossless:
        need //= 2
    require_free_space(
        folder,
        need,
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
    """Write the photo to ``path`` and return the file's size in bytes; missing folders are made.

    The format is ``options.format`` or what the suffix says. Either the whole file appears under
    its name or nothing does. It is not readable for more people than the file that the photo came
    from. Raises OutputRefused (exists, no space, not writable, format limit) and UsageError
    (unknown suffix). ``warn`` is called with a sentence for each thing that had to be left out.
    """
    chosen = replace(options, format=options.format or require_format(path))
    check_target(path, overwrite=options.overwrite)
    data = encode(photo, chosen, settings, warn=warn)
    return write_bytes(
        path,
        data,
        overwrite=options.overwrite,
        access=photo.access,
    )


def write_bytes(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    access: Access | None = None,
) -> int:
    """Put a whole file in place, atomically; returns its size. Raises OutputRefused. A symbolic link is followed.

    Until it is whole it has another name in the same folder, where `files.remove_partial_files` finds it after a kill.
    A new file follows the umask and is at most as readable as ``access``, the input's; a file that
    is replaced hands on its mode and, where that is allowed, its owner. Devices and pipes are
    written into.
    """
    if _is_stream(path):
        return _into_stream(path, data)
    target = path.resolve()
    older = _status(target) if overwrite else None

    def set_mode(descriptor: int) -> None:
        apply_access(descriptor, access, older)

    try:
        with atomic_file(target, overwrite=overwrite, set_mode=set_mode) as temporary:
            temporary.write_bytes(data)
    except FileExistsError as exc:
        raise _exists(path) from exc
    except OSError as exc:
        raise write_error(path, exc) from exc
    return len(data)


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def _is_stream(path: Path) -> bool:
    """Whether a device such as /dev/null or a pipe is there, of which nothing can be overwritten."""
    status = _status(path)
    return status is not None and (stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode))


def _into_stream(path: Path, data: bytes) -> int:
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
        )  # a pipe nobody reads is an error
        with os.fdopen(descriptor, "wb") as file:
            if os.isatty(descriptor):
                raise OutputRefused(f"{str(path)!r} is a terminal.", "Name a file with -o.")
            os.set_blocking(descriptor, True)
            file.write(data)
    except OSError as exc:
        raise write_error(path, exc) from exc
    return len(data)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise OutputRefused when a file cannot be put there for what is there now: a folder, a device, an older file."""
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
    """How many bytes a file name may have there."""
    if hasattr(os, "pathconf"):
        try:
            return os.pathconf(_existing_folder(path), "PC_NAME_MAX")
        except (OSError, ValueError):
            pass  # the file system does not say
    return 255  # what nearly all have


def _check_name(path: Path) -> None:
    limit = name_limit(path)
    if any(len(os.fsencode(part)) > limit for part in path.parts):
        raise OutputRefused(
            f"The file name {path.name[:40] + '...'!r} is too long.", "Give a shorter one with -o."
        )


def _existing_folder(path: Path) -> Path:
    """Find the nearest folder above ``path`` that exists. Raises OutputRefused when something else is in the way."""
    for folder in path.absolute().parents:
        if folder.is_dir():
            return folder
        if folder.exists():
            raise OutputRefused(
                f"{str(folder)!r} is a file, so {str(path)!r} cannot be made.",
                "Choose another folder.",
            )
    return Path(path.absolute().anchor)


def _check_folder(folder: Path, path: Path) -> None:
    """Make a nameless file there: mode bits do not bind root, and say nothing of read-only or full disks."""
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
    """What the system said about writing to ``path``, as a sentence; NoSpace when the disk is full."""
    if is_disk_full(exc):
        return NoSpace(
            f"No space is left for {str(path)!r}.",
            "Free some space, or choose another folder with -o.",
        )
    if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
        return OutputRefused(
            f"The file name {path.name[:40] + '...'!r} is too long.", "Give a shorter one with -o."
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return OutputRefused(
        f"{str(path)!r} cannot be written: {reason}.", "Choose another folder with -o."
    )
