"""Output of the commands: data on stdout, messages on stderr, progress bars only on a terminal."""

import json as json_module
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from addsr_cli.cli import options
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import error_line, format_seconds
from addsr_cli.errors import AddsrError

if TYPE_CHECKING:
    from addsr_cli.engine.progress import PhotoProgress
    from addsr_cli.weights.progress import TransferProgress


@dataclass(frozen=True, kw_only=True)
class Console:
    """Output of one command: ``result`` goes to stdout, everything else to stderr."""

    json: options.Json = False
    print0: options.Print0 = False
    quiet: options.Quiet = False
    verbose: options.Verbose = False
    debug: options.Debug = False

    def info(self, text: str) -> None:
        """Print a message, unless ``quiet``."""
        if not self.quiet:
            print_message(text)

    def detail(self, text: str) -> None:
        """Print a message if ``verbose``."""
        if self.verbose:
            self.info(text)

    def warn(self, text: str) -> None:
        """Print a warning, unless ``quiet``."""
        self.info(f"warning: {text}")

    def error(self, exc: AddsrError, label: str = "") -> None:
        """Print an error, even if ``quiet``; with its traceback if ``debug``."""
        if self.debug:
            traceback.print_exception(exc)
        print_message(error_line(exc, label))

    def result(
        self,
        text: str,
        record: dict[str, Any],
        *,
        already_shown: bool = False,
    ) -> None:
        """Write one result to stdout: ``record`` as a JSON line with ``--json``, else ``text``.

        With ``already_shown`` the result is left out where a message on the same terminal contains
        it. Control characters are escaped on a terminal only: a program that reads the output gets
        the data unchanged.
        """
        if self.json:
            print(json_module.dumps(record), flush=True)
        elif self.print0:
            print(text, end="\0", flush=True)
        elif not sys.stdout.isatty():
            print(text, flush=True)
        elif not (already_shown and self._shows_messages()):
            print(printable(text, keep="\n\t"), flush=True)

    def _shows_messages(self) -> bool:
        """Whether messages go to a terminal."""
        return not self.quiet and sys.stderr.isatty()

    @contextmanager
    def step_progress(self, title: str) -> "Iterator[Callable[[PhotoProgress], None] | None]":
        """Show steps, tiles and the time left of one photo; None unless stderr is a terminal."""
        if not self._shows_messages():
            yield None
            return
        from addsr_cli.cli import progress_bars

        started = monotonic()

        def elapsed() -> str:
            return f"{format_seconds(monotonic() - started)} elapsed, {title}"

        counts = (
            "step {task.fields[step]}/{task.fields[steps]}, "
            "tile {task.completed:.0f}/{task.total:.0f}"
        )
        columns = (
            progress_bars.bar_column(),
            progress_bars.text_column(counts),
            progress_bars.TimeLeftColumn(),
        )
        with progress_bars.TransientProgress(*columns, footer=elapsed) as progress:
            task = progress.add_task("", total=1, step=0, steps="?")

            def update(photo: "PhotoProgress") -> None:
                progress.update(
                    task,
                    completed=photo.done,
                    total=photo.total,
                    step=photo.step,
                    steps=photo.steps,
                )

            yield update

    @contextmanager
    def count_progress(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        """Show how many of how many items are done, and the current one.

        Yields a function of (done, total, current item). It moves a bar on a terminal; elsewhere it
        prints a line for each item if ``verbose``.
        """
        if not self._shows_messages():
            yield lambda done, total, item: self.detail(f"{title} {done + 1}/{total}: {item}")
            return
        from addsr_cli.cli import progress_bars

        columns = (
            progress_bars.DescriptionColumn(),
            progress_bars.bar_column(),
            progress_bars.text_column("{task.completed}/{task.total}"),
            progress_bars.TimeLeftColumn(),
        )
        with progress_bars.TransientProgress(*columns) as progress:
            task = progress.add_task(title, total=None)

            def update(
                done: int,
                total: int,
                item: str,
            ) -> None:
                description = f"{title}: {item}"
                progress.update(
                    task,
                    completed=done,
                    total=total,
                    description=description,
                )

            yield update

    @contextmanager
    def transfer_progress(self) -> "Iterator[Callable[[TransferProgress], None] | None]":
        """Show bytes and time left of a download; None unless stderr is a terminal."""
        if not self._shows_messages():
            yield None
            return
        from addsr_cli.cli import progress_bars

        columns = (
            progress_bars.DescriptionColumn(),
            progress_bars.bar_column(),
            progress_bars.bytes_column(),
            progress_bars.TimeLeftColumn(),
        )
        with progress_bars.TransientProgress(*columns) as progress:
            download = progress.add_task("", total=None, visible=False)
            verification = progress.add_task("", total=None, visible=False)

            def update(transfer: "TransferProgress") -> None:
                description = f"{transfer.phase} {transfer.file}"
                if transfer.phase == "checking":
                    progress.update(
                        verification,
                        description=description,
                        completed=transfer.done,
                        total=transfer.size,
                        visible=transfer.done != transfer.size,
                    )
                    progress.update(download, visible=False)
                else:
                    progress.update(
                        download,
                        description=description,
                        completed=transfer.total_done,
                        total=transfer.total_size,
                        visible=True,
                    )

            yield update


def print_message(text: str) -> None:
    """Write a message to stderr; on a terminal coloured, wrapped and without control characters."""
    if sys.stderr.isatty():
        from addsr_cli.cli.progress_bars import print_wrapped

        print_wrapped(printable(text, keep="\n\t"))
    else:
        print(text, file=sys.stderr, flush=True)
