"""Encodes and writes results in the background, and journals the outcome of every file."""

import hashlib
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Protocol

from addsr_cli import imageio
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.failures import FATAL, MAX_UNEXPECTED, UNEXPECTED, to_addsr_error
from addsr_cli.batch.journal import Journal, JournalEntry, State
from addsr_cli.batch.output_folder import write_output
from addsr_cli.batch.prefetch import BYTES_PER_PIXEL, DecodedPhoto
from addsr_cli.batch.task import Rejected, Task
from addsr_cli.batch.worker import Worker
from addsr_cli.engine.job import Job
from addsr_cli.engine.result import Result
from addsr_cli.engine.trust_picture import write_trust_map
from addsr_cli.errors import AddsrError, OutputVanished


class Observer(Protocol):
    """Gets the progress of a batch: ``on_start`` in the main thread, the rest in the writer's."""

    def on_start(self, task: Task) -> None:
        """A photo goes through the network."""

    def on_success(self, job: Job, result: Result) -> None:
        """An output is written."""

    def on_failure(self, task: Task | Rejected, error: AddsrError) -> None:
        """A file failed."""


class ResultWriter:
    """Writes results in a thread of its own, in the order in which they are submitted.

    At most ``max_bytes`` of results wait for it. ``smallest`` is the estimated size in bytes of the
    smallest output of the batch. Errors are stored with their tracebacks, and so with the pictures
    in their frames, only with ``keep_tracebacks``.
    """

    def __init__(
        self,
        config: BatchConfig,
        journal: Journal,
        observer: Observer,
        *,
        max_bytes: int,
        smallest: int,
        keep_tracebacks: bool,
    ) -> None:
        self.config = config
        self.journal = journal
        self.observer = observer
        self.max_bytes = max_bytes
        self.smallest = smallest
        self.keep_tracebacks = keep_tracebacks
        self.failures = 0
        self.first_error: AddsrError | None = None
        self._worker = Worker("addsr-write")
        self._pending: deque[tuple[int, Future[None]]] = deque()
        self._unexpected = 0  # unexpected errors in a row
        self._lock = Lock()  # held while the journal or an output is written
        self._closed = False

    @property
    def has_pending(self) -> bool:
        """Whether results or failures wait to be written, and take memory."""
        return bool(self._pending)

    def submit(
        self,
        task: Task,
        photo: DecodedPhoto,
        result: Result,
    ) -> None:
        """Queue a result, once there is room for it. Raises what ends the batch."""
        size = result.photo.width * result.photo.height * BYTES_PER_PIXEL * task.job.frames
        while (
            self._pending and sum(waiting for waiting, _ in self._pending) + size > self.max_bytes
        ):
            self._pop()
        future = self._worker.submit(partial(self._write, task, photo, result))
        self._pending.append((size, future))

    def fail(self, task: Task | Rejected, error: AddsrError) -> None:
        """Queue a failure."""
        self._drop_tracebacks(error)
        future = self._worker.submit(partial(self._record_failure, task, error))
        self._pending.append((0, future))

    def check(self) -> None:
        """Raise what ended the batch, if the writer has met such an error by now."""
        while self._pending and self._pending[0][1].done():
            self._pop()

    def wait(self) -> None:
        """Wait until everything is written. Raises what ends the batch."""
        while self._pending:
            self._pop()

    def close(self) -> None:
        """End the thread; a file that is being written is finished, one being encoded is not."""
        self._closed = True
        self._worker.close()
        with self._lock:
            pass

    def _pop(self) -> None:
        _, future = self._pending.popleft()
        future.result()

    # In the writer's thread

    def _write(
        self,
        task: Task,
        photo: DecodedPhoto,
        result: Result,
    ) -> None:
        """Encode and write one result. Raises only what ends the batch."""
        if self._closed:
            return
        try:
            written = self._encode_and_write(task, photo, result)
        except FATAL:
            self._closed = True
            raise
        except (AddsrError, MemoryError) as exc:
            self._record_failure(task, to_addsr_error(exc))
        except UNEXPECTED as exc:
            self._unexpected += 1
            if self._unexpected >= MAX_UNEXPECTED:
                self._closed = True
                raise
            self._record_failure(task, to_addsr_error(exc))
        else:
            self._unexpected = 0
            if written is not None:
                self.observer.on_success(task.job, written)

    def _encode_and_write(
        self,
        task: Task,
        photo: DecodedPhoto,
        result: Result,
    ) -> Result | None:
        """Return the result with its warnings and times; None if the batch has ended meanwhile."""
        path = task.job.output
        if path is None:
            raise TypeError("a batch writes files")
        started = perf_counter()
        warnings = list(result.warnings)
        data = imageio.encode(
            result.photo,
            task.job.options,
            result.provenance(task.job.options),
            warn=warnings.append,
        )
        with self._lock:
            if self._closed:
                return None
            self.journal.write(self._entry(task, "writing", photo))
            write_output(
                path,
                data,
                overwrite=task.job.options.overwrite,
                output=self.config.output,
                smallest=self.smallest,
                access=result.photo.access,
            )
            write_trust_map(task.job, result)
            seconds = result.seconds | {"write": perf_counter() - started}
            entry = replace(
                self._entry(task, "ok", photo),
                output_size=len(data),
                output_sha256=hashlib.sha256(data).hexdigest(),
                seconds=round(sum(seconds.values()), 3),
            )
            try:
                self.journal.write(entry)
            except OutputVanished:
                # Writing has created the folder again, for this file alone.
                path.unlink(missing_ok=True)
                raise
        return replace(
            result,
            seconds=seconds,
            warnings=tuple(warnings),
        )

    def _record_failure(self, task: Task | Rejected, error: AddsrError) -> None:
        self._drop_tracebacks(error)
        details = {"code": error.code, "message": error.message, "hint": error.hint}
        with self._lock:
            if self._closed:
                return
            self.journal.write(replace(self._entry(task, "failed"), error=details))
        self.failures += 1
        self.first_error = self.first_error or error
        self.observer.on_failure(task, error)

    def _drop_tracebacks(self, error: AddsrError) -> None:
        """Release the pictures that the frames of an error hold."""
        if self.keep_tracebacks:
            return
        link: BaseException | None = error
        while link:
            link.__traceback__ = None
            link = link.__cause__ or link.__context__

    def _entry(
        self,
        task: Task | Rejected,
        state: State,
        photo: DecodedPhoto | None = None,
    ) -> JournalEntry:
        stat = photo.stat if photo else task.stat
        return JournalEntry(
            state=state,
            input=task.name,
            sample=task.sample,
            root=self.config.resolved_root,
            settings=self.config.digest,
            size=stat.size,
            mtime_ns=stat.mtime_ns,
            sha256=photo.sha256 if photo else "",
            output=task.output,
        )
