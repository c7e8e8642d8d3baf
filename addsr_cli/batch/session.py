"""One batch from start to end: find what is to be done, run it, write ``failures.json``."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from addsr_cli import imageio
from addsr_cli.batch import journal, walk
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.journal import Journal, JournalEntry
from addsr_cli.batch.output_folder import remove_partial_files, unlink_symlink
from addsr_cli.batch.pipeline import Pipeline, RunOptions
from addsr_cli.batch.shards import WHOLE, Shard
from addsr_cli.batch.task import MISSING, Rejected, Task
from addsr_cli.batch.walk import PhotoTree
from addsr_cli.batch.work_queue import TaskReader, WorkQueue, build_queue
from addsr_cli.batch.writer import Observer
from addsr_cli.engine.prediction import SpeedMeasurement
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import AddsrError, OutOfMemory

FAILURES = "failures.json"


@dataclass(kw_only=True)
class Session:
    """A batch, and the shard of it that this process does.

    ``shard_by_name`` assigns files to shards by name, not by their place in the tree, so that new
    files do not move others to another shard.
    """

    upscaler: Upscaler
    config: BatchConfig
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    shard: Shard = WHOLE
    shard_by_name: bool = False
    photo_tree: PhotoTree | None = None
    failures: int = 0
    first_error: AddsrError | None = None
    reader: TaskReader = field(init=False)

    def __post_init__(self) -> None:
        """Create the reader, which caches headers for the whole session."""
        self.reader = TaskReader(self.config)

    def scan(self) -> WorkQueue:
        """Walk the folder and return what is to be done. Raises OutputRefused and NoSpace."""
        tree = self.walk()
        queue = self.queue(tree.photos, self.own_names(tree.photos))
        if self.shard.number == 1:
            for folder, error in tree.unreadable.items():
                queue.rejected.append(Rejected(name=folder or ".", error=error, stat=MISSING))
        return queue

    def walk(self) -> PhotoTree:
        """Find the photos that are in the folder now."""
        config = self.config
        self.photo_tree = walk.find_photos(
            config.root,
            config.output,
            self.include,
            self.exclude,
        )
        return self.photo_tree

    def own_names(self, names: Sequence[str]) -> set[str]:
        """Return the names that belong to the shard of this process."""
        if self.shard_by_name:
            return {name for name in names if self.shard.contains_name(name)}
        return {name for index, name in enumerate(names) if self.shard.contains_index(index)}

    def queue(self, names: Iterable[str], selected: set[str]) -> WorkQueue:
        """Return what is to be done about the ``selected`` ones of all ``names``.

        All names are needed, since the names of outputs depend on each other.
        """
        tasks = [task for task in self.reader.tasks(names) if task.name in selected]
        contents = journal.read(self.config.output)
        queue = build_queue(tasks, self.config, contents.entries)
        queue.unknown_lines = contents.unknown_lines
        self._reject_too_large(queue)
        return queue

    def _reject_too_large(self, queue: WorkQueue) -> None:
        """Reject photos that do not fit into memory before they are decoded."""
        errors: dict[tuple[int, int], AddsrError | None] = {}
        pending = queue.pending
        queue.pending = []
        for task in pending:
            size = task.job.header.size
            if size not in errors:
                errors[size] = self._memory_error(task)
            error = errors[size]
            if error is None:
                queue.pending.append(task)
            else:
                queue.rejected.append(Rejected.from_task(task, error))

    def _memory_error(self, task: Task) -> AddsrError | None:
        try:
            channels, bit_depth = task.job.sample_layout
            self.upscaler.plan(
                *task.job.header.size,
                task.job.settings,
                channels=channels,
                bit_depth=bit_depth,
            )
        except OutOfMemory as exc:
            return exc.with_traceback(None)
        return None

    def run(
        self,
        queue: WorkQueue,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
    ) -> None:
        """Do the work. Raises what ends the batch; failures of single files go to the observer."""
        if not queue.total:
            return
        own_journal = Journal(self.config.output, self.shard)
        try:
            remove_partial_files(self.config.output, queue.pending)
            self._run_pipeline(
                queue,
                own_journal,
                observer,
                stopping,
                options,
            )
            own_journal.check()
        finally:
            own_journal.close()

    def _run_pipeline(
        self,
        queue: WorkQueue,
        own_journal: Journal,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
    ) -> None:
        pipeline = Pipeline(
            self.upscaler,
            self.config,
            own_journal,
            observer,
            stopping,
            options,
            queue.pending,
        )
        try:
            pipeline.run(queue.rejected)
        finally:
            self.failures += pipeline.writer.failures
            self.first_error = self.first_error or pipeline.writer.first_error

    def predicted_seconds(self, tasks: Sequence[Task]) -> float | None:
        """Predict the time on a CPU; None for other devices, whose speed is not known."""
        speed = SpeedMeasurement(self.upscaler.spec)
        by_size: dict[tuple[int, int], float] = {}
        total = 0.0
        for task in tasks:
            size = task.job.header.size
            if size not in by_size:
                plans = self.upscaler.plan(*size, task.job.settings)
                steps = self.upscaler.steps(task.job.settings)
                seconds = speed.seconds(plans, steps)
                if seconds is None:
                    return None
                by_size[size] = seconds
            total += by_size[size] * task.job.frames
        return total

    def write_failures(self) -> None:
        """Write ``failures.json`` from all journals, or remove it if nothing failed."""
        entries = journal.read(self.config.output).entries
        failed = [entry for entry in entries.values() if self._is_failure(entry)]
        path = self.config.output / FAILURES
        if failed:
            failed.sort(key=lambda entry: entry.key)
            rows = [
                {"input": str(Path(entry.root) / entry.input), **entry.error} for entry in failed
            ]
            unlink_symlink(path)
            imageio.write_bytes(
                path,
                json.dumps(rows, indent=1).encode() + b"\n",
                overwrite=True,
            )
        elif entries:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _is_failure(self, entry: JournalEntry) -> bool:
        """Whether an input failed and still exists."""
        if entry.state != "failed":
            return False
        same_root = entry.root == self.config.resolved_root
        return not same_root or os.path.lexists(self.config.root / entry.input)
