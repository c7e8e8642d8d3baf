"""What outputs are called: mirrored, told apart where names would meet, cut where they are too long."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from addsr_cli import imageio
from addsr_cli.batch.task import BatchConfig, FileStat, Rejected, Task
from addsr_cli.engine.job import Job
from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import Header
from addsr_cli.settings import Settings


def file_seed(seed: int, name: str) -> int:
    """The seed of one file: it depends on the user's seed and the relative path, not on order or neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed}/".encode() + os.fsencode(name)).digest()[:4])


def draft_task(
    order: BatchConfig,
    name: str,
    sample: int,
    header: Header,
    size: tuple[int, int],
    settings: Settings,
    stamp: FileStat,
) -> Task:
    """A task with the name that it has as long as no other wants the same."""
    job = Job(
        source=order.root / name,
        label=str(order.root / name),
        header=header,
        size=size,
        output=None,
        settings=settings,
        options=order.options,
    )
    return _named(
        Task(
            job=job,
            name=name,
            sample=sample,
            output="",
            stamp=stamp,
        ),
        order,
        PurePosixPath(name).stem,
    )


def _named(task: Task, order: BatchConfig, stem: str) -> Task:
    """The task with the name that ``stem`` makes, cut where the file system takes no more."""
    path, job = PurePosixPath(task.name), task.job
    limit = imageio.name_limit(order.output)
    while True:
        source = Path(f"{stem}{path.suffix}")
        made, format = order.naming.file_name(
            source, job.header, job.size, job.settings, order.options
        )
        over = len(os.fsencode(made)) - limit
        if over <= 0 or len(stem) <= len(_mark(task.name)):
            break
        kept = max(0, len(os.fsencode(stem)) - over - len(_mark(task.name)))
        stem = os.fsencode(path.stem)[:kept].decode(errors="ignore") + _mark(task.name)
    output = str(path.parent / made)
    placed = replace(job, output=order.output / output, options=replace(job.options, format=format))
    return replace(task, output=output, job=placed)


def _mark(name: str) -> str:
    return "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def resolve_collisions(
    drafts: Sequence[Task | Rejected], order: BatchConfig
) -> list[Task | Rejected]:
    """Names that would meet are told apart: all of them take their suffix, ``a_jpg`` and ``a_png``, then a hash.

    What a file is called depends on the names in the tree alone. Names that differ only in case or
    in Unicode normalisation meet too, as they would on many file systems.
    """
    for stem in (_suffixed, _hashed):
        taken = Counter(_folded(each.output) for each in drafts if isinstance(each, Task))
        drafts = [
            _named(each, order, stem(each.name))
            if isinstance(each, Task) and taken[_folded(each.output)] > 1
            else each
            for each in drafts
        ]
    seen: dict[str, Task] = {}
    for each in drafts:
        if (
            isinstance(each, Task)
            and (other := seen.setdefault(_folded(each.output), each)) is not each
        ):
            problem = f"{other.name} and {each.name} would both become {each.output}."
            raise OutputRefused(problem, "Use --name with {stem} in it, and {seed} for samples.")
    return list(drafts)


def possible_outputs(task: Task, order: BatchConfig) -> set[str]:
    """All that an output may be called, whatever else lies in the tree."""
    stems = (PurePosixPath(task.name).stem, _suffixed(task.name), _hashed(task.name))
    return {_named(task, order, stem).output for stem in stems}


def _suffixed(name: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}_{path.suffix.lstrip('.')}"


def _hashed(name: str) -> str:
    return PurePosixPath(name).stem + _mark(name)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
