"""Progress bars and coloured messages on a terminal, wrapped at its width between words."""

import textwrap
from collections.abc import Callable, Iterable
from functools import cache

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from addsr_cli.cli.escape import printable

BAR_WIDTH = 12


@cache
def stderr_console() -> Console:
    """Return the terminal on stderr; bars and messages share it, so messages appear above a bar."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


class DescriptionColumn(ProgressColumn):
    """The task's description, cut with an ellipsis where the line is too narrow."""

    def render(self, task: Task) -> Text:
        """Return the description on one line."""
        return single_line(task.description)


class TimeLeftColumn(TimeRemainingColumn):
    """``0:01:40 left``; empty while the remaining time is unknown."""

    def render(self, task: Task) -> Text:
        """Return the remaining time with its label."""
        if task.time_remaining is None:
            return Text()
        return super().render(task).append(" left")

    def get_table_column(self) -> Column:
        """Return a column that is never wrapped."""
        return Column(no_wrap=True)


class TransientProgress(Progress):
    """Bars that vanish when they are done; ``footer`` returns the line of text below them."""

    def __init__(
        self,
        *columns: ProgressColumn,
        footer: Callable[[], str] = str,
        redirect_stdout: bool = True,
        speed_estimate_period: float = 30,
    ) -> None:
        self.footer = footer
        super().__init__(
            *columns,
            console=stderr_console(),
            transient=True,
            redirect_stdout=redirect_stdout,
            speed_estimate_period=speed_estimate_period,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars and the footer."""
        yield from super().get_renderables()
        if text := self.footer():
            yield single_line(text)


def bar_column() -> BarColumn:
    """Return a bar short enough to leave room for text."""
    return BarColumn(bar_width=BAR_WIDTH)


def text_column(template: str) -> TextColumn:
    """Return text that is never wrapped; ``template`` is formatted with ``task``."""
    return TextColumn(
        template,
        markup=False,
        table_column=Column(no_wrap=True),
    )


def bytes_column() -> DownloadColumn:
    """Return ``1.2/3.4 GB``, never wrapped."""
    return DownloadColumn(table_column=Column(no_wrap=True))


def single_line(text: str) -> Text:
    """Return text on one line that ends in an ellipsis where it does not fit."""
    return Text(
        printable(text),
        no_wrap=True,
        overflow="ellipsis",
    )


def print_wrapped(text: str) -> None:
    """Print to the terminal, wrapped between words; ``error:`` and ``warning:`` are coloured."""
    terminal = stderr_console()
    lines = [piece for line in text.split("\n") for piece in _wrap(line, terminal.width)]
    message = Text("\n".join(lines))
    message.highlight_regex(r"^error:", "red")
    message.highlight_regex(r"^warning:", "yellow")
    terminal.print(message)


def _wrap(line: str, width: int) -> list[str]:
    """Split a line into pieces of at most ``width``; a longer word, such as a path, stays whole."""
    return textwrap.wrap(
        line,
        width,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
