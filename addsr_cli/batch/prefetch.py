"""Decodes photos in the background before the network needs them, within a bound of memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from addsr_cli import imageio
from addsr_cli.batch.task import FileStat, Task, file_sha256, file_stat
from addsr_cli.batch.worker import Worker
from addsr_cli.imageio import Photo

BYTES_PER_PIXEL = 8  # RGBA of 16 bits, or of 8 with the decoder's copy


@dataclass(frozen=True, kw_only=True)
class DecodedPhoto:
    """A decoded photo, with size, time and hash of its file when it was read."""

    photo: Photo
    stat: FileStat
    sha256: str


Group = list[tuple[Task, "Future[DecodedPhoto]"]]


def decode(task: Task) -> DecodedPhoto:
    """Read and decode the photo of a task. Raises UnreadableInput."""
    path = task.job.source
    if isinstance(path, bytes):
        raise TypeError("a batch reads files")
    # The stat comes first: if the file changes meanwhile, the next run sees that and repeats it.
    stat = file_stat(path)
    sha256 = file_sha256(path)
    return DecodedPhoto(photo=imageio.read(path, task.job.options.frames), stat=stat, sha256=sha256)


def prefetch(groups: Iterable[list[Task]], max_bytes: int) -> Iterator[Group]:
    """Yield the groups in order, with a future for each photo.

    Photos of later groups are decoded in the background while all of them take at most
    ``max_bytes``; one group is always decoded, however large it is.
    """
    worker = Worker("addsr-read")
    try:
        yield from _prefetch(iter(groups), max_bytes, worker)
    finally:
        worker.close()


def _prefetch(
    groups: Iterator[list[Task]],
    max_bytes: int,
    worker: Worker,
) -> Iterator[Group]:
    queue: deque[tuple[int, Group]] = deque()
    buffered_bytes = 0
    following = next(groups, None)
    while following or queue:
        while following:
            size = _decoded_size(following)
            if queue and buffered_bytes + size > max_bytes:
                break
            queue.append(
                (size, [(task, worker.submit(partial(decode, task))) for task in following])
            )
            buffered_bytes += size
            following = next(groups, None)
        size, group = queue.popleft()
        yield group
        buffered_bytes -= size


def _decoded_size(tasks: list[Task]) -> int:
    pixels = sum(task.job.header.width * task.job.header.height * task.job.frames for task in tasks)
    return pixels * BYTES_PER_PIXEL
