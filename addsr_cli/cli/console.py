"""Where words go: stdout is data, stderr is talk, and nothing is animated unless somebody watches."""

import json as json_module
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from addsr_cli.cli.escape import printable
from addsr_cli.errors import AddsrError


class Step(Protocol):
    """What a progress bar needs to know."""

    @property
    def done(self) -> int:
        """Units finished."""

    @property
    def total(self) -> int:
        """Units in all."""

    @property
    def step(self) -> int:
        """The running step, from 1."""

    @property
    def steps(self) -> int:
        """Steps in all."""


Bar = Callable[[Step], None]


@dataclass(frozen=True, kw_only=True)
class Console:
    """One sink with three voices: ``result`` (stdout), ``say`` and ``detail`` (stderr)."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    print0: bool = False

    def say(self, text: str) -> None:
        """Tell the person, unless asked to be quiet."""
        if not self.quiet:
            tell(text)

    def detail(self, text: str) -> None:
        """Tell more, only when asked for it."""
        if self.verbose:
            self.say(text)

    def result(self, text: str, record: dict[str, Any], *, said: bool = False) -> None:
        """One piece of data: the record as a JSON line, or its plain text.

        ``said``: it was told on stderr already, so that a person who sees both streams needs it no
        second time. On a terminal control characters are escaped; elsewhere data is as it is.
        """
        if self.json:
            print(json_module.dumps(record), flush=True)
        elif self.print0:
            print(text, end="\0", flush=True)
        elif not sys.stdout.isatty():
            print(text, flush=True)
        elif not (said and sys.stderr.isatty() and not self.quiet):
            print(printable(text, keep="\n\t"), flush=True)

    def failed(self, exc: AddsrError, about: str = "") -> None:
        """Say why something came to nothing; quiet does not silence it."""
        self.trace(exc)
        tell(error_text(exc, about))

    def trace(self, exc: AddsrError) -> None:
        """Where a failure came from, only when asked for it."""
        if self.debug:
            traceback.print_exception(exc)

    @contextmanager
    def bar(self, title: str) -> Iterator[Bar | None]:
        """A progress bar with steps, tiles and time left; None when stderr is no terminal or silence is wanted."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from addsr_cli.cli import bars

        steps = bars.words(
            "step {task.fields[step]}/{task.fields[steps]}, tile {task.completed:.0f}/{task.total:.0f}"
        )
        started = monotonic()

        def below() -> str:
            return f"{human_seconds(monotonic() - started)} elapsed, {title}"

        with bars.Bars(bars.bar(), steps, bars.Left(), below=below) as progress:
            task = progress.add_task(
                "",
                total=1,
                step=0,
                steps="?",
            )

            def show(now: Step) -> None:
                progress.update(
                    task,
                    completed=now.done,
                    total=now.total,
                    step=now.step,
                    steps=now.steps,
                )

            yield show

    @contextmanager
    def counting(self, title: str) -> Iterator[Callable[[int, int, str], None]]:
        """Tells how many of how many are done and what is next: a bar on a terminal, else lines when asked for more."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total, what: self.detail(f"{title} {done + 1}/{total}: {what}")
            return
        from addsr_cli.cli import bars

        columns = (
            bars.Title(),
            bars.bar(),
            bars.words("{task.completed}/{task.total}"),
            bars.Left(),
        )
        with bars.Bars(*columns) as progress:
            task = progress.add_task(title, total=None)

            def show(done: int, total: int, what: str) -> None:
                progress.update(
                    task,
                    completed=done,
                    total=total,
                    description=f"{title}: {what}",
                )

            yield show

    @contextmanager
    def transfers(self) -> Iterator[Callable[[Any], None] | None]:
        """A progress bar over all files of a download, in bytes, with time left; None when no terminal watches."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import DownloadColumn
        from rich.table import Column

        from addsr_cli.cli import bars

        received = DownloadColumn(table_column=Column(no_wrap=True))
        with bars.Bars(bars.Title(), bars.bar(), received, bars.Left()) as progress:
            fetching = progress.add_task("", total=None, visible=False)
            checking = progress.add_task("", total=None, visible=False)

            def show(now: Any) -> None:  # noqa: ANN401 (models.digest.Transfer, which this file does not import)
                check, whole = now.stage == "checking", now.done == now.size
                what = f"{now.stage} {now.file}"
                if check:
                    progress.update(
                        checking,
                        description=what,
                        completed=now.done,
                        total=now.size,
                        visible=not whole,
                    )
                else:
                    progress.update(
                        fetching,
                        description=what,
                        completed=now.all_done,
                        total=now.all_size,
                    )
                progress.update(fetching, visible=not check)

            yield show


def tell(text: str) -> None:
    """Write to stderr; for a terminal in colour, broken between words, and without what would steer it."""
    if sys.stderr.isatty():
        from addsr_cli.cli.bars import show

        show(printable(text, keep="\n\t"))
    else:
        print(text, file=sys.stderr, flush=True)


def error_record(exc: AddsrError) -> dict[str, str]:
    """A failure as data."""
    return {"code": exc.code, "message": exc.message, "hint": exc.hint}


def error_text(exc: AddsrError, about: str = "") -> str:
    """A failure as one line."""
    where = f"{about}: " if about and about not in exc.message else ""
    return printable(f"error: {where}{exc.message}" + (f" {exc.hint}" if exc.hint else ""))


def counted(count: int, what: str, many: str = "") -> str:
    """1, "step" -> '1 step'; 4, "step" -> '4 steps'."""
    return f"{count} {what if count == 1 else many or what + 's'}"


def human_bytes(count: float) -> str:
    """1234567 -> '1.2 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
