"""The pipeline of a batch: upscale here, while other threads decode and write.

`prefetch` decodes, `ResultWriter` writes. A file that fails is journaled, and the batch goes on.
Only what would fail every file ends it: a full disk, a missing output folder or model, a wrong
request.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from addsr_cli import hardware
from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.failures import FATAL, MAX_UNEXPECTED, UNEXPECTED, to_addsr_error
from addsr_cli.batch.journal import Journal
from addsr_cli.batch.output_folder import estimated_size
from addsr_cli.batch.prefetch import DecodedPhoto, Group, decode, prefetch
from addsr_cli.batch.task import Rejected, Task
from addsr_cli.batch.writer import Observer, ResultWriter
from addsr_cli.engine.result import Result
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import AddsrError, OutOfMemory

T = TypeVar("T")

MAX_BUFFER_BYTES = 512 << 20  # of decoded photos that wait, and as much of results
POLL_SECONDS = 0.1  # between checks of `stopping` while a photo is decoded


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run a batch.

    ``batch_size`` photos of one size go through the network at once; None: as memory allows.
    ``fail_fast`` ends the batch at the first failure. ``keep_tracebacks`` keeps those of errors.
    """

    batch_size: int | None = None
    fail_fast: bool = False
    keep_tracebacks: bool = False


class Pipeline:
    """One run over tasks; ``stopping`` is asked between photos whether to end."""

    def __init__(
        self,
        upscaler: Upscaler,
        config: BatchConfig,
        journal: Journal,
        observer: Observer,
        stopping: Callable[[], bool],
        options: RunOptions,
        tasks: Sequence[Task],
    ) -> None:
        self.upscaler = upscaler
        self.observer = observer
        self.stopping = stopping
        self.options = options
        self.tasks = tasks
        self.max_bytes = min(MAX_BUFFER_BYTES, hardware.probe("cpu").free_bytes // 16)
        self.writer = ResultWriter(
            config,
            journal,
            observer,
            max_bytes=self.max_bytes,
            smallest=min((estimated_size([task]) for task in tasks), default=0),
            keep_tracebacks=options.keep_tracebacks,
        )
        self._batch_sizes: dict[tuple[int, int], int] = {}
        self._unexpected = 0  # unexpected errors in a row

    def run(self, rejected: Sequence[Rejected]) -> None:
        """Record ``rejected`` as failures, then do the tasks. Raises what ends the batch."""
        try:
            for item in rejected:
                self.writer.fail(item, item.error)
            for group in prefetch(self._groups(), self.max_bytes):
                if self._should_stop():
                    break
                self._process(group)
                self.writer.check()
            self.writer.wait()
        finally:
            self.writer.close()

    def _groups(self) -> Iterator[list[Task]]:
        """Yield consecutive tasks of one size, as many as go through the network at once."""
        group: list[Task] = []
        max_length = 1
        for task in self.tasks:
            size = task.job.header.size
            if group and (len(group) >= max_length or size != group[0].job.header.size):
                yield group
                group = []
            if not group:
                max_length = self._batch_size(task)
            group.append(task)
        if group:
            yield group

    def _batch_size(self, task: Task) -> int:
        size = task.job.header.size
        if size not in self._batch_sizes:
            requested = self.options.batch_size
            try:
                batch_size = self.upscaler.batch_size(*size, task.job.settings, requested)
            except OutOfMemory:  # raised again, and recorded, when the photo is upscaled
                return 1
            self._batch_sizes[size] = batch_size
        return self._batch_sizes[size]

    def _process(self, group: Group) -> None:
        """Upscale a group at once, or one by one if that fails."""
        photos = self._decoded(group)
        results = self._upscale_batch(photos) if len(photos) > 1 else None
        if results is not None:
            for (task, photo), result in zip(photos, results, strict=True):
                self._submit(task, photo, result)
        else:
            self._process_singly(photos)

    def _process_singly(self, photos: Sequence[tuple[Task, DecodedPhoto]]) -> None:
        for task, photo in photos:
            if self._should_stop():
                return
            result = self._attempt(task, partial(self._upscale, task, photo))
            if result is not None:
                self._submit(task, photo, result)

    def _decoded(self, group: Group) -> list[tuple[Task, DecodedPhoto]]:
        """Wait until a group is decoded, and return what did not fail; nothing when stopping."""
        photos = []
        for task, future in group:
            while not wait([future], POLL_SECONDS).done:
                if self._should_stop():
                    return []
            photo = self._attempt(task, partial(self._decode_result, task, future))
            if photo is not None:
                photos.append((task, photo))
        return photos

    def _decode_result(self, task: Task, future: "Future[DecodedPhoto]") -> DecodedPhoto:
        """Return a decoded photo; if memory was short, decode it again after pending writes."""
        try:
            return future.result()
        except (MemoryError, OutOfMemory):
            if not self.writer.has_pending:
                raise
        self._free_memory()
        return decode(task)

    def _upscale_batch(self, photos: Sequence[tuple[Task, DecodedPhoto]]) -> list[Result] | None:
        """Upscale photos of one size at once; None if that fails."""
        first_task, _ = photos[0]
        self.observer.on_start(first_task)
        pictures = [decoded.photo for _, decoded in photos]
        settings = [task.job.settings for task, _ in photos]
        _, bit_depth = first_task.job.sample_layout
        upscale = partial(self.upscaler.upscale_batch, pictures, settings, bit_depth=bit_depth)
        return self._attempt(first_task, upscale, record=False)

    def _upscale(self, task: Task, photo: DecodedPhoto) -> Result:
        """Upscale one photo; if memory is short, try again after pending writes."""
        self.observer.on_start(task)
        _, bit_depth = task.job.sample_layout
        upscale = partial(
            self.upscaler.upscale, photo.photo, task.job.settings, bit_depth=bit_depth
        )
        try:
            return upscale()
        except OutOfMemory:
            if not self.writer.has_pending:
                raise
        self._free_memory()
        return upscale()

    def _free_memory(self) -> None:
        self.writer.wait()
        hardware.release_memory("cpu")

    def _attempt(
        self,
        task: Task,
        function: Callable[[], T],
        *,
        record: bool = True,
    ) -> T | None:
        """Return the result of ``function``, or None after a failure of this file alone.

        The failure is recorded, unless the caller tries again in another way.
        """
        try:
            return function()
        except FATAL:
            raise
        except (AddsrError, MemoryError) as exc:
            error = to_addsr_error(exc)
        except UNEXPECTED as exc:
            error = to_addsr_error(exc)
            self._unexpected += 1
            if self._unexpected >= MAX_UNEXPECTED:
                raise
        if record:
            self.writer.fail(task, error)
        return None

    def _submit(
        self,
        task: Task,
        photo: DecodedPhoto,
        result: Result,
    ) -> None:
        self._unexpected = 0
        self.writer.submit(task, photo, result)

    def _should_stop(self) -> bool:
        return self.stopping() or (self.options.fail_fast and self.writer.failures > 0)
