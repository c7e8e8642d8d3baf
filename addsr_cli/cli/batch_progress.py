"""How far a batch is: a bar with files, megapixels and time left where somebody watches, else a line for every file."""

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
    """Counts the files of a batch and tells of each; told by the writing thread, or by the processes of a fleet."""

    def __init__(self, console: Console, root: str, samples: int = 1) -> None:
        self.console, self.root = console, root
        self.duplicates = DuplicateSamples(samples)
        self.ok = self.failures = 0
        self.pixels = 0
        self.current = ""
        self.started = time.monotonic()
        self._bar: TransientProgress | None = None

    @contextmanager
    def shown(self, files: int, pixels: int) -> Iterator[None]:
        """A bar while the block runs, when stderr is a terminal and silence is not wanted."""
        if self.console.quiet or not sys.stderr.isatty():
            yield
            return
        from addsr_cli.cli import progress_bars

        with progress_bars.TransientProgress(
            progress_bars.bar_column(),
            progress_bars.text_column("{task.description}"),
            progress_bars.TimeLeftColumn(),
            footer=self._now,
            redirect_stdout=sys.stdout.isatty(),  # else stdout would become talk
            speed_estimate_period=600,
        ) as self._bar:
            self._bar.add_task("", total=pixels, files=files)
            self._move()
            try:
                yield
            finally:
                self._bar = None

    def _now(self) -> str:
        """The time so far and the file that is upscaled now, if this process knows."""
        elapsed = f"{format_seconds(time.monotonic() - self.started)} elapsed"
        return f"{elapsed}, now {self.root}/{self.current}" if self.current else elapsed

    def begun(self, task: "Task") -> None:
        """A file goes through the network."""
        self.current = task.name

    def done(self, job: "Job", result: "Result") -> None:
        """A file is written."""
        self.success(result_record(job, self.duplicates.add_warning(job, result)))

    def failed(self, task: "Task | Rejected", error: AddsrError) -> None:
        """A file came to nothing."""
        self.failures += 1
        print_failure(f"{self.root}/{task.name}", error, self.console)
        self._move()

    def success(self, record: dict[str, Any]) -> None:
        """A file is written, as data."""
        self.ok += 1
        width, height = record["size_in"]
        self.pixels += width * height
        print_result(record, self.console, summary=self._bar is None)
        self._move()

    def count_failure(self) -> None:
        """A file failed of which another process has told already."""
        self.failures += 1
        self._move()

    def speed(self) -> str:
        """``93.1 MP in 1 h 3 min, 0.02 MP/s``; megapixels are those of the inputs."""
        seconds = time.monotonic() - self.started
        return f"{self.pixels / 1e6:.2f} MP in {format_seconds(seconds)}, {self.pixels / 1e6 / max(seconds, 1e-9):.3f} MP/s"

    def _move(self) -> None:
        if self._bar is None:
            return
        [task] = self._bar.tasks
        seconds = max(time.monotonic() - self.started, 1e-9)
        text = (
            f"{self.ok + self.failures}/{task.fields['files']} files, {self.pixels / 1e6:.1f} MP, "
        )
        text += f"{self.pixels / 1e6 / seconds:.3f} MP/s" + (
            f", {self.failures} failed" if self.failures else ""
        )
        self._bar.update(task.id, completed=self.pixels, description=text)
