"""Photos read before the network asks for them, within a bound of memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from addsr_cli import imageio
from addsr_cli.batch.task import FileStat, Task, digest_of, file_stat
from addsr_cli.batch.worker import Worker
from addsr_cli.imageio import Photo

FLOAT_PIXEL = 16  # bytes: three colours and perhaps alpha


@dataclass(frozen=True, kw_only=True)
class Input:
    """A decoded photo, and the file as it was when it was read."""

    photo: Photo
    stamp: FileStat
    sha256: str


Group = list[tuple[Task, "Future[Input]"]]


def read(task: Task) -> Input:
    """Decode one photo. Raises UnreadableInput."""
    path = task.job.source
    if isinstance(path, bytes):
        raise TypeError("a batch reads files")
    stamp, digest = file_stat(path), digest_of(path)
    return Input(
        photo=imageio.read(path),
        stamp=stamp,
        sha256=digest,
    )


def prefetch(groups: Iterable[list[Task]], bound: int) -> Iterator[Group]:
    """The groups in order, each with its photos being read; the next ones are begun while ``bound`` bytes allow."""
    worker = Worker("addsr-read")
    try:
        yield from _read_ahead(iter(groups), bound, worker)
    finally:
        worker.close()


def _read_ahead(rest: Iterator[list[Task]], bound: int, worker: Worker) -> Iterator[Group]:
    waiting, following, held = deque[tuple[int, Group]](), next(rest, None), 0
    while following or waiting:
        while following and (not waiting or held + _cost(following) <= bound):
            cost = _cost(following)
            waiting.append(
                (cost, [(task, worker.submit(partial(read, task))) for task in following])
            )
            held += cost
            following = next(rest, None)
        cost, group = waiting.popleft()
        yield group
        held -= cost


def _cost(tasks: list[Task]) -> int:
    return sum(task.job.header.width * task.job.header.height * FLOAT_PIXEL for task in tasks)
