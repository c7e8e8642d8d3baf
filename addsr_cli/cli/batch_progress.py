"""Progress of a batch: a bar on a terminal, elsewhere a line for each file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console
from addsr_cli.cli.duplicates import DuplicateSamples
from addsr_cli.cli.formatting import format_seconds
from addsr_cli.cli.records import print_failure, print_result, result_record
from addsr_cli.errors import AddsrError

if TYPE_CHECKING:
    from addsr_cli.batch.task import Rejected, Task
    from addsr_cli.cli.progress_bars import TransientProgress
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.result import Result


class BatchProgress:
    """Counts the files of a batch and prints each outcome.

    It observes the pipeline of this process (``on_start``, ``on_success``, ``on_failure``), or gets
    records from the processes of a launcher (``add_success``, ``add_failure``).
    """

    def __init__(
        self,
        console: Console,
        root: str,
        samples: int = 1,
    ) -> None:
        self.console = console
        self.root = root
        self.duplicates = DuplicateSamples(samples)
        self.succeeded = 0
        self.failed = 0
        self.pixels = 0  # of the inputs
        self.current = ""
        self.started = time.monotonic()
        self._bar: TransientProgress | None = None

    @contextmanager
    def bar(self, files: int, pixels: int) -> Iterator[None]:
        """Show a bar within the context, if stderr is a terminal and messages are wanted."""
        if self.console.quiet or not sys.stderr.isatty():
            yield
            return
        from addsr_cli.cli import progress_bars

        with progress_bars.TransientProgress(
            progress_bars.bar_column(),
            progress_bars.text_column("{task.description}"),
            progress_bars.TimeLeftColumn(),
            footer=self._footer,
            redirect_stdout=sys.stdout.isatty(),  # otherwise results would go to stderr
            speed_estimate_period=600,
        ) as self._bar:
            self._bar.add_task("", total=pixels, files=files)
            self._update_bar()
            try:
                yield
            finally:
                self._bar = None

    def on_start(self, task: "Task") -> None:
        """A photo goes through the network."""
        self.current = task.name

    def on_success(self, job: "Job", result: "Result") -> None:
        """An output is written."""
        self.add_success(result_record(job, self.duplicates.add_warning(job, result)))

    def on_failure(self, task: "Task | Rejected", error: AddsrError) -> None:
        """A file failed."""
        print_failure(f"{self.root}/{task.name}", error, self.console)
        self.add_failure()

    def add_success(self, record: dict[str, Any]) -> None:
        """Count and print a record with the status ``ok``."""
        self.succeeded += 1
        width, height = record["size_in"]
        self.pixels += width * height
        print_result(
            record,
            self.console,
            summary=self._bar is None,
        )
        self._update_bar()

    def add_failure(self) -> None:
        """Count a failure that is already printed."""
        self.failed += 1
        self._update_bar()

    def throughput(self) -> str:
        """``93.12 MP in 1 h 3 min, 0.025 MP/s``; megapixels are those of the inputs."""
        megapixels, seconds = self._measures()
        duration = format_seconds(seconds)
        return f"{megapixels:.2f} MP in {duration}, {megapixels / seconds:.3f} MP/s"

    def _measures(self) -> tuple[float, float]:
        """Return the megapixels so far and the seconds that they took, which are never 0."""
        return self.pixels / 1e6, max(time.monotonic() - self.started, 1e-9)

    def _footer(self) -> str:
        """Return the time so far and, if the pipeline runs in this process, the current file."""
        elapsed = f"{format_seconds(time.monotonic() - self.started)} elapsed"
        return f"{elapsed}, now {self.root}/{self.current}" if self.current else elapsed

    def _update_bar(self) -> None:
        if self._bar is None:
            return
        [task] = self._bar.tasks
        megapixels, seconds = self._measures()
        text = (
            f"{self.succeeded + self.failed}/{task.fields['files']} files, "
            f"{megapixels:.1f} MP, {megapixels / seconds:.3f} MP/s"
        )
        if self.failed:
            text += f", {self.failed} failed"
        self._bar.update(
            task.id,
            completed=self.pixels,
            description=text,
        )
