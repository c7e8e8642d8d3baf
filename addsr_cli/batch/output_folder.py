"""The output folder: how much space outputs need, which links lead out of it, writing to it."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from addsr_cli import files, imageio
from addsr_cli.batch.task import Task
from addsr_cli.errors import NoSpace, OutputRefused

# Typical size of a compressed photo as a share of its raw samples.
COMPRESSION = {
    "PNG": 0.65,
    "TIFF": 0.8,
    "JPEG": 0.17,
    "WEBP": 0.12,
    "AVIF": 0.08,
    "GIF": 0.35,
    "JXL": 0.1,
}
PROBE_BLOCK = 1 << 20  # bytes written at once to test for free space


def estimated_size(tasks: Iterable[Task]) -> int:
    """Estimate the bytes that the outputs will take; meant for sums, not for single photos."""
    total = 0.0
    for task in tasks:
        channels, bits = task.job.sample_layout
        width, height = task.job.size
        raw = width * height * channels * (bits // 8) * task.job.frames
        total += raw * COMPRESSION[str(task.job.options.format)]
    return int(total)


def free_space(output: Path) -> int:
    """Return the free bytes on the disk of the output folder, which need not exist yet."""
    folder = output.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_inside(folder: Path, name: str) -> bool:
    """Whether ``name``, relative to ``folder``, is below it after links are resolved."""
    return Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))


def remove_partial_files(output: Path, tasks: Iterable[Task]) -> None:
    """Remove partial files of killed runs where the outputs go, unless a link leads outside."""
    folders = {str(PurePosixPath(task.output).parent) for task in tasks}
    for folder in folders:
        if is_inside(output, folder):
            files.remove_partial_files(output / folder)


def unlink_symlink(path: Path) -> None:
    """Remove a link, so that writing to ``path`` creates a file here. Raises OutputRefused."""
    try:
        if path.is_symlink():
            path.unlink()
    except OSError as exc:
        raise imageio.write_error(path, exc) from exc


def write_output(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    output: Path,
    smallest: int,
    access: imageio.FileAccess | None = None,
) -> None:
    """Write one output with the ``access`` rights of its input.

    A picture that does not fit on the disk raises OutputRefused and fails alone, as long as
    ``smallest`` bytes, the size of the smallest output of the batch, still fit. Otherwise NoSpace
    ends the batch.
    """
    try:
        imageio.write_bytes(
            path,
            data,
            overwrite=overwrite,
            access=access,
        )
    except NoSpace as exc:
        if not _has_room(output, smallest):
            raise
        raise OutputRefused(exc.message, exc.hint) from exc


def _has_room(folder: Path, size: int) -> bool:
    """Whether ``size`` more bytes can be written.

    A file is written to find out: quotas do not show in the free space of the disk.
    """
    block = os.urandom(PROBE_BLOCK)  # random, since some file systems do not store zeros
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, size, PROBE_BLOCK):
                file.write(block[: size - start])
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True
