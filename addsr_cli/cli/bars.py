"""What moves on a terminal: bars with labelled times, in lines of 80 columns that break no word."""

import textwrap
from collections.abc import Callable, Iterable
from functools import cache

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
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
def screen() -> Console:
    """The terminal on stderr; one for bars and words alike, so that words appear above a bar."""
    return Console(
        stderr=True,
        highlight=False,
        soft_wrap=True,
    )


class Title(ProgressColumn):
    """What a bar is about: ends in dots where the line has no room for all of it."""

    def render(self, task: Task) -> Text:
        """The task's description."""
        return shortened(task.description)


class Left(TimeRemainingColumn):
    """``0:01:40 left``; nothing while that is unknown."""

    def render(self, task: Task) -> Text:
        """The time with its label."""
        return Text() if task.time_remaining is None else super().render(task).append(" left")

    def get_table_column(self) -> Column:
        """Never broken."""
        return Column(no_wrap=True)


class Bars(Progress):
    """Bars that vanish when they are done; ``below`` makes the line of text under them."""

    def __init__(
        self,
        *columns: ProgressColumn,
        below: Callable[[], str] = str,
        redirect_stdout: bool = True,
        speed_estimate_period: float = 30,
    ) -> None:
        self.below = below
        super().__init__(
            *columns,
            console=screen(),
            transient=True,
            redirect_stdout=redirect_stdout,
            speed_estimate_period=speed_estimate_period,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and the line below them."""
        yield from super().get_renderables()
        if text := self.below():
            yield shortened(text)


def bar() -> BarColumn:
    """The bar itself, short enough to leave room for words."""
    return BarColumn(bar_width=BAR_WIDTH)


def words(template: str) -> TextColumn:
    """Text that is shown whole; ``template`` is formatted with ``task``."""
    return TextColumn(template, markup=False, table_column=Column(no_wrap=True))


def shortened(text: str) -> Text:
    """One line, with dots at its end where it does not fit."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def show(text: str) -> None:
    """Put words on the terminal: lines are broken between words only, failures are coloured."""
    width = screen().width
    said = Text("\n".join(part for line in text.split("\n") for part in _broken(line, width)))
    said.highlight_regex(r"^error:", "red")
    said.highlight_regex(r"^warning:", "yellow")
    screen().print(said)


def _broken(line: str, width: int) -> list[str]:
    """The line in pieces of at most ``width``, or of one word that is longer, such as a path."""
    return textwrap.wrap(
        line,
        width,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
