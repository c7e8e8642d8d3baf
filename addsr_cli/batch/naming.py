"""Names of the outputs: those of the inputs, without collisions, within the allowed length."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from addsr_cli import imageio
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.task import FileStat, Rejected, Task
from addsr_cli.engine.job import Job
from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import Header
from addsr_cli.settings import Settings


def file_seed(seed: int, name: str) -> int:
    """Return the seed of one file, a function of the user's seed and the relative path alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/".encode() + os.fsencode(name)).digest()[:4])


def draft_task(
    config: BatchConfig,
    name: str,
    sample: int,
    header: Header,
    size: tuple[int, int],
    settings: Settings,
    stat: FileStat,
) -> Task:
    """Return a task with its preferred name; `resolve_collisions` may have to change the name."""
    job = Job(
        source=config.root / name,
        label=str(config.root / name),
        header=header,
        size=size,
        output=None,
        settings=settings,
        options=config.options,
    )
    task = Task(
        job=job,
        name=name,
        sample=sample,
        output="",
        stat=stat,
    )
    return _with_stem(task, config, PurePosixPath(name).stem)


def resolve_collisions(
    drafts: Sequence[Task | Rejected], config: BatchConfig
) -> list[Task | Rejected]:
    """Rename tasks whose outputs would collide: ``a_jpg`` and ``a_png``, or else with a hash.

    The name of an output depends only on the names in the tree. Names that differ in case or in
    Unicode normalisation count as equal, as many file systems treat them so.
    """
    for make_stem in (_stem_with_suffix, _stem_with_hash):
        counts = Counter(_normalized(task.output) for task in drafts if isinstance(task, Task))
        drafts = [
            _with_stem(task, config, make_stem(task.name))
            if isinstance(task, Task) and counts[_normalized(task.output)] > 1
            else task
            for task in drafts
        ]
    by_output: dict[str, Task] = {}
    for task in drafts:
        if not isinstance(task, Task):
            continue
        other = by_output.setdefault(_normalized(task.output), task)
        if other is not task:
            raise OutputRefused(
                f"{other.name} and {task.name} would both become {task.output}.",
                "Use {stem} in --name, and {seed} with --samples.",
            )
    return list(drafts)


def possible_outputs(task: Task, config: BatchConfig) -> set[str]:
    """Return all names that an output can have, whatever other files there are."""
    stems = (
        PurePosixPath(task.name).stem,
        _stem_with_suffix(task.name),
        _stem_with_hash(task.name),
    )
    return {_with_stem(task, config, stem).output for stem in stems}


def _with_stem(
    task: Task,
    config: BatchConfig,
    stem: str,
) -> Task:
    """Return the task named after ``stem``, which is cut if the file system requires it."""
    path = PurePosixPath(task.name)
    job = task.job
    limit = imageio.name_limit(config.output)
    suffix_hash = _name_hash(task.name)
    while True:
        source = Path(f"{stem}{path.suffix}")
        file_name, format = config.naming.file_name(
            source,
            job.header,
            job.size,
            job.settings,
            config.options,
        )
        excess = len(os.fsencode(file_name)) - limit
        if excess <= 0 or len(stem) <= len(suffix_hash):
            break
        # The hash keeps names apart that differ only in the part that is cut.
        length = max(0, len(os.fsencode(stem)) - excess - len(suffix_hash))
        stem = os.fsencode(path.stem)[:length].decode(errors="ignore") + suffix_hash
    output = str(path.parent / file_name)
    options = replace(job.options, format=format)
    return replace(
        task,
        output=output,
        job=replace(
            job,
            output=config.output / output,
            options=options,
        ),
    )


def _name_hash(name: str) -> str:
    return "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def _stem_with_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}_{path.suffix.lstrip('.')}"


def _stem_with_hash(name: str) -> str:
    return PurePosixPath(name).stem + _name_hash(name)


def _normalized(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
