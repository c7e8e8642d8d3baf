"""One batch from the first look to the last word: what there is to do, the run, and what is left behind for people."""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from addsr_cli import hardware, imageio
from addsr_cli.batch import journal, walk
from addsr_cli.batch.journal import Journal, JournalEntry, Key
from addsr_cli.batch.pipeline import Observer, Pipeline, RunOptions
from addsr_cli.batch.shards import WHOLE, Shard
from addsr_cli.batch.task import BatchConfig, FileStat, Rejected, Task, file_stat, inside, rejected
from addsr_cli.batch.walk import PhotoTree
from addsr_cli.batch.work_queue import TaskReader, WorkQueue, build_queue
from addsr_cli.engine import planner
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import AddsrError, OutOfMemory
from addsr_cli.files import remove_partial_files

FAILURES = "failures.json"
POLLS = 4  # looks at a hot folder while a file settles


@dataclass(kw_only=True)
class Session:
    """A tree, an output, and the share of it that this process does. ``steady`` shares do not depend on neighbours."""

    upscaler: Upscaler
    order: BatchConfig
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    shard: Shard = WHOLE
    steady: bool = False
    found: PhotoTree | None = None
    failures: int = 0
    first_error: AddsrError | None = None
    reader: TaskReader = field(init=False)

    def __post_init__(self) -> None:
        """Headers are read once for the whole session."""
        self.reader = TaskReader(self.order)

    def look(self) -> WorkQueue:
        """Walk the tree and see what is left to do. Raises OutputRefused and NoSpace before any work."""
        found = self.find()
        names = {name for number, name in enumerate(found.photos) if self._ours(number, name)}
        agenda = self.agenda(found.photos, names)
        if self.shard.number == 1:
            agenda.rejected += [
                Rejected(
                    name=name or ".",
                    error=exc,
                    stamp=GONE,
                )
                for name, exc in found.unreadable.items()
            ]
        return agenda

    def find(self) -> PhotoTree:
        """What lies in the tree now."""
        self.found = walk.find_photos(
            self.order.root, self.order.output, self.include, self.exclude
        )
        return self.found

    def agenda(self, names: Iterable[str], wanted: set[str]) -> WorkQueue:
        """What is to be done about the ``wanted`` ones of all ``names``, which decide together how each is called."""
        tasks = [task for task in self.reader.tasks(names) if task.name in wanted]
        known = journal.load_all(self.order.output)
        agenda = build_queue(tasks, self.order, known.entries)
        agenda.unknown = known.unknown
        return self._fitting(agenda)

    def _fitting(self, agenda: WorkQueue) -> WorkQueue:
        """The agenda without what memory will not hold, as the header tells before any decoding."""
        refused: dict[tuple[int, int], AddsrError | None] = {}
        todo, agenda.todo = agenda.todo, []
        for task in todo:
            size = task.job.header.size
            if size not in refused:
                refused[size] = self._refusal(task)
            if error := refused[size]:
                agenda.rejected.append(rejected(task, error))
            else:
                agenda.todo.append(task)
        return agenda

    def _refusal(self, task: Task) -> AddsrError | None:
        try:
            self.upscaler.plan(*task.job.header.size, task.job.settings)
        except OutOfMemory as exc:
            return exc.with_traceback(None)
        return None

    def run(
        self,
        agenda: WorkQueue,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
    ) -> None:
        """Do it. Raises what ends a run; failures of single files are told to the observer."""
        if not agenda.todo and not agenda.rejected:
            return
        writer = Journal(self.order.output, self.shard)
        pipeline = Pipeline(self.upscaler, self.order, writer, observer, stopping, options)
        try:
            _sweep(self.order.output, agenda.todo)
            pipeline.run(agenda.rejected, agenda.todo)
            writer.check()
        finally:
            self.failures += pipeline.failures
            self.first_error = self.first_error or pipeline.first_error
            writer.close()

    def watch(
        self,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
        settle: float,
    ) -> None:
        """Do what comes into the tree, once a file has not changed for ``settle`` seconds; until ``stopping``."""
        seen: dict[str, tuple[FileStat, float]] = {}
        handled: dict[str, FileStat] = {}
        while not (stopping() or (options.fail_fast and self.failures)):
            now, seen_before, seen = time.monotonic(), seen, {}
            for name in self.find().photos:
                stamp = file_stat(self.order.root / name)
                before, since = seen_before.get(name, (stamp, now))
                seen[name] = stamp, since if before == stamp else now
            calm = [name for name, (_, since) in seen.items() if now - since >= settle]
            new = {
                name for name in calm if handled.get(name) != seen[name][0] and self._ours(0, name)
            }
            if new:
                self.run(self.agenda(calm, new), observer, stopping, options)
                handled |= {name: seen[name][0] for name in new}
                self.leave()
            _rest(settle / POLLS, stopping)

    def seconds(self, tasks: Sequence[Task]) -> float | None:
        """Predicted time on a CPU; None elsewhere, where nothing is known of the speed."""
        total, rate, known = 0.0, hardware.matmul_flops(), dict[tuple[int, int], float]()
        for task in tasks:
            size = task.job.header.size
            if size not in known:
                plans, steps = (
                    self.upscaler.plan(*size, task.job.settings),
                    self.upscaler.steps(task.job.settings),
                )
                if plans and plans[0].device != "cpu":
                    return None
                known[size] = sum(
                    planner.predicted_seconds(self.upscaler.spec, plan, steps, rate)
                    for plan in plans
                )
            total += known[size]
        return total

    def leave(self) -> dict[Key, JournalEntry]:
        """Write ``failures.json`` from all journals, or remove it when nothing failed; returns what they say."""
        entries = journal.read(self.order.output)
        failed = sorted(
            (each for each in entries.values() if self._failing(each)), key=lambda each: each.key
        )
        path = self.order.output / FAILURES
        if failed:
            rows = [
                {"input": str(Path(entry.root) / entry.input), **entry.error} for entry in failed
            ]
            _remove_link(path)
            imageio.write_bytes(path, json.dumps(rows, indent=1).encode() + b"\n", overwrite=True)
        elif entries:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return entries

    def _failing(self, entry: JournalEntry) -> bool:
        """Whether it failed, and has not been taken away since."""
        gone = entry.root == self.order.place and not os.path.lexists(self.order.root / entry.input)
        return entry.state == "failed" and not gone

    def _ours(self, number: int, name: str) -> bool:
        return self.shard.takes_name(name) if self.steady else self.shard.takes(number)


GONE = FileStat(size=-1, mtime_ns=-1)


def _sweep(output: Path, tasks: Sequence[Task]) -> None:
    """Remove what killed runs left half written where outputs go, unless a link leads outside."""
    for folder in {str(PurePosixPath(task.output).parent) for task in tasks}:
        if inside(output, folder):
            remove_partial_files(output / folder)


def _remove_link(path: Path) -> None:
    """Let a link not lead what is written to a file outside the output folder."""
    try:
        if path.is_symlink():
            path.unlink()
    except OSError as exc:
        raise imageio.write_error(path, exc) from exc


def _rest(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep in naps, since a signal handler that returns does not end a sleep."""
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.1, left))
