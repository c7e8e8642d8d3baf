"""The pipeline: photos are read ahead, go through the network, and are encoded and written behind it.

One thread reads, this one runs the network, one writes. A file that fails is an entry in the
journal and a word to the observer; the next one goes on. Only what would fail every file ends the
run: a full disk, no output folder, no model, a wrong request.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Protocol, TypeVar

from addsr_cli import hardware, imageio
from addsr_cli.batch import disk
from addsr_cli.batch.journal import Journal, JournalEntry
from addsr_cli.batch.prefetch import FLOAT_PIXEL, Group, Input, prefetch, read
from addsr_cli.batch.task import UNEXPECTED_ERRORS, BatchConfig, Rejected, Task, failure
from addsr_cli.batch.worker import Worker
from addsr_cli.engine.job import Job
from addsr_cli.engine.result import Result
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import (
    AddsrError,
    ModelUnavailable,
    NoSpace,
    OutOfMemory,
    OutputVanished,
    UsageError,
)

T = TypeVar("T")

LARGEST_BOUND = 512 << 20
FATAL = (
    NoSpace,
    OutputVanished,
    ModelUnavailable,
    UsageError,
)  # what one file has in common with the next
MANY_STRANGE = 5  # in a row: then it is the machine, not the files
NAP = 0.1  # seconds between looks at whether to stop


class Observer(Protocol):
    """Who is told of every file; called from the writing thread, ``begun`` from the main one."""

    def begun(self, task: Task) -> None:
        """A file goes through the network."""

    def done(self, job: Job, result: Result) -> None:
        """A file is written."""

    def failed(self, task: Task | Rejected, error: AddsrError) -> None:
        """A file came to nothing."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run: ``batch_size`` photos at once (None: the machine decides), ``fail_fast`` to end at a failure.

    ``traces`` keeps where failures came from, and with that the pictures they were about.
    """

    batch_size: int | None = None
    fail_fast: bool = False
    traces: bool = False


class Pipeline:
    """One run over tasks. ``stopping`` says between photos whether to end after those in flight."""

    def __init__(
        self,
        upscaler: Upscaler,
        order: BatchConfig,
        journal: Journal,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
    ) -> None:
        self.upscaler, self.order, self.journal, self.observer = upscaler, order, journal, observer
        self.stopping, self.options = stopping, options
        self.bound = min(LARGEST_BOUND, hardware.probe("cpu").free_bytes // 16)
        self.first_error: AddsrError | None = None
        self.failures = 0
        self._strange = self._strange_writes = 0
        self._together: dict[tuple[int, int], int] = {}
        self._behind = Worker("addsr-write")
        self._writes: list[tuple[int, Future[None]]] = []
        self._writing = Lock()
        self._ended = False
        self._smallest = 0  # bytes that the smallest of the outputs will take, about

    def run(self, lost: Sequence[Rejected], todo: Sequence[Task]) -> None:
        """Do everything; what is lost already comes first. Raises what ends a run: NoSpace, UsageError and the like."""
        self._smallest = min((disk.estimated_size([task]) for task in todo), default=0)
        try:
            for each in lost:
                self._failed(each, each.error)
            for group in prefetch(self._groups(todo), self.bound):
                if self._over():
                    break
                self._photos(group)
                self._collect(wait=False)
            self._collect(wait=True)
        finally:
            self._end()

    def _groups(self, todo: Sequence[Task]) -> Iterator[list[Task]]:
        """Neighbours of one size, as many as go through the network together."""
        group: list[Task] = []
        most = 1
        for task in todo:
            if group and (len(group) >= most or task.job.header.size != group[0].job.header.size):
                yield group
                group = []
            if not group:
                most = self._batch_size(task)
            group.append(task)
        if group:
            yield group

    def _batch_size(self, task: Task) -> int:
        size = task.job.header.size
        if size not in self._together:
            try:
                wanted = self.options.batch_size
                self._together[size] = self.upscaler.batch_size(*size, task.job.settings, wanted)
            except OutOfMemory:  # told when its turn comes
                return 1
        return self._together[size]

    def _photos(self, group: Group) -> None:
        """Run a group through the network, as one batch where that works, else one by one."""
        inputs: list[tuple[Task, Input]] = []
        for task, future in group:
            while not wait([future], NAP).done:
                if self._over():
                    return
            if (found := self._tried(task, partial(self._read, task, future))) is not None:
                inputs.append((task, found))
        results = None
        if len(inputs) > 1:
            self.observer.begun(inputs[0][0])
            photos, settings = (
                [found.photo for _, found in inputs],
                [task.job.settings for task, _ in inputs],
            )
            results = self._tried(
                inputs[0][0], lambda: self.upscaler.upscale_batch(photos, settings), quiet=True
            )
        for number, (task, found) in enumerate(inputs):
            if results is None and self._over():
                return
            result = (
                results[number] if results else self._tried(task, partial(self._alone, task, found))
            )
            if result is not None:
                self._put(task, found, result)

    def _read(self, task: Task, future: "Future[Input]") -> Input:
        """What was read ahead; where memory was short, read again once earlier pictures are written."""
        try:
            return future.result()
        except (MemoryError, OutOfMemory):
            if not self._writes:
                raise
        self._make_room()
        return read(task)

    def _make_room(self) -> None:
        self._collect(wait=True)
        hardware.release_memory("cpu")

    def _alone(self, task: Task, found: Input) -> Result:
        """One photo; when memory is short it waits until the pictures before it are written, and is tried once more."""
        self.observer.begun(task)
        try:
            return self.upscaler.upscale(found.photo, task.job.settings)
        except OutOfMemory:
            if not self._writes:
                raise
        self._make_room()
        return self.upscaler.upscale(found.photo, task.job.settings)

    def _tried(self, task: Task, do: Callable[[], T], *, quiet: bool = False) -> T | None:
        """The result, or None after a failure of this file alone; ``quiet`` failures are tried again by other means."""
        try:
            return do()
        except FATAL:
            raise
        except (AddsrError, MemoryError) as exc:
            error = failure(exc)
        except UNEXPECTED_ERRORS as exc:
            error = failure(exc)
            self._strange += 1
            if self._strange >= MANY_STRANGE:
                raise
        if not quiet:
            self._failed(task, error)
        return None

    def _put(self, task: Task, found: Input, result: Result) -> None:
        """Hand a result to the writer, once there is room for it."""
        self._strange = 0
        size = result.photo.width * result.photo.height * FLOAT_PIXEL
        while self._writes and sum(held for held, _ in self._writes) + size > self.bound:
            self._writes.pop(0)[1].result()
        self._writes.append((size, self._behind.submit(lambda: self._write(task, found, result))))

    def _write(self, task: Task, found: Input, result: Result) -> None:
        """Encode and write one picture, in the writing thread. Raises only what ends a run."""
        if self._ended:
            return
        try:
            result, entry = self._written(task, found, result)
        except FATAL:
            self._ended = True
            raise
        except (AddsrError, MemoryError) as exc:
            self._note_failure(task, failure(exc))
        except UNEXPECTED_ERRORS as exc:
            self._strange_writes += 1
            if self._strange_writes >= MANY_STRANGE:
                self._ended = True
                raise
            self._note_failure(task, failure(exc))
        else:
            self._strange_writes = 0
            if entry is not None:
                self.observer.done(task.job, result)

    def _written(
        self, task: Task, found: Input, result: Result
    ) -> tuple[Result, JournalEntry | None]:
        started, notes, path = perf_counter(), list(result.warnings), task.job.output
        if path is None:
            raise TypeError("a batch writes files")
        data = imageio.encode(
            result.photo, task.job.options, result.provenance(), warn=notes.append
        )
        with self._writing:
            if self._ended:
                return result, None
            self.journal.write(self._entry(task, "writing", found))
            disk.write(
                path,
                data,
                overwrite=task.job.options.overwrite,
                output=self.order.output,
                smallest=self._smallest,
                access=result.photo.access,
            )
            seconds = result.seconds | {"write": perf_counter() - started}
            done = replace(
                self._entry(task, "ok", found),
                output_size=len(data),
                output_sha256=hashlib.sha256(data).hexdigest(),
                seconds=round(sum(seconds.values()), 3),
            )
            try:
                self.journal.write(done)
            except OutputVanished:  # then the folder was made anew for this file alone
                path.unlink(missing_ok=True)
                raise
        return replace(result, seconds=seconds, warnings=tuple(notes)), done

    def _failed(self, task: Task | Rejected, error: AddsrError) -> None:
        """A failure goes through the writing thread, which alone writes the journal and speaks."""
        self._forget_traces(error)
        self._writes.append((0, self._behind.submit(lambda: self._note_failure(task, error))))

    def _forget_traces(self, error: AddsrError) -> None:
        """Let go of the pictures that the frames of a failure hold."""
        link: BaseException | None = error
        while link and not self.options.traces:
            link = link.with_traceback(None).__cause__ or link.__context__

    def _note_failure(self, task: Task | Rejected, error: AddsrError) -> None:
        self._forget_traces(error)
        details = {"code": error.code, "message": error.message, "hint": error.hint}
        with self._writing:
            if self._ended:
                return
            self.journal.write(replace(self._entry(task, "failed"), error=details))
        self.failures += 1
        self.first_error = self.first_error or error
        self.observer.failed(task, error)

    def _entry(self, task: Task | Rejected, state: str, found: Input | None = None) -> JournalEntry:
        stamp = found.stamp if found else task.stamp
        return JournalEntry(
            state=state,  # type: ignore[arg-type]
            input=task.name,
            sample=task.sample,
            root=self.order.place,
            settings=self.order.digest,
            size=stamp.size,
            mtime_ns=stamp.mtime_ns,
            sha256=found.sha256 if found else "",
            output=task.output,
        )

    def _over(self) -> bool:
        return self.stopping() or (self.options.fail_fast and self.failures > 0)

    def _collect(self, *, wait: bool) -> None:
        """Take note of what the writing thread did; raises what ends the run."""
        while self._writes and (wait or self._writes[0][1].done()):
            self._writes.pop(0)[1].result()

    def _end(self) -> None:
        """After this nothing is written any more; a file that is being written is waited for, one being encoded not."""
        self._ended = True
        self._behind.close()
        with self._writing:
            pass
