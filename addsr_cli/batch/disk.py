"""Room on the disk: what the outputs will take, what is left, whose failure it is when all is used."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.batch.task import Task
from addsr_cli.errors import NoSpace, OutputRefused

BYTES_PER_SAMPLE = {
    "PNG": 0.65,
    "TIFF": 0.8,
    "JPEG": 0.17,
    "WEBP": 0.12,
    "AVIF": 0.08,
}  # of photos, as a share
BLOCK = 1 << 20


def estimated_size(tasks: Iterable[Task]) -> int:
    """Bytes that the outputs will take, about: photos compress alike enough for a sum over many."""
    total = 0.0
    for task in tasks:
        channels, depth = task.job.sample_layout
        width, height = task.job.size
        total += (
            width
            * height
            * channels
            * (depth // 8)
            * BYTES_PER_SAMPLE[str(task.job.options.format)]
        )
    return int(total)


def free_space(output: Path) -> int:
    """Bytes free where the outputs will lie."""
    folder = output.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def write(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    output: Path,
    smallest: int,
    access: imageio.Access | None = None,
) -> None:
    """Write an output. Raises NoSpace when the disk has no room for the ``smallest`` of all (bytes).

    While it has, a picture that is too large is refused alone, with OutputRefused. ``access`` is
    that of the input.
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
    """Whether ``size`` bytes more can be written: tried, as quotas do not show in the free space."""
    block = os.urandom(BLOCK)  # not zeros, which some file systems do not store
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, size, BLOCK):
                file.write(block[: size - start])
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True
