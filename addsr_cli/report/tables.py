"""Tables of numbers as plain text, Markdown, HTML, and for a terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Cell = str | float | int | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, and how many digits follow the point of its numbers; None for words."""

    title: str
    digits: int | None = None

    def shown(self, cell: Cell) -> str:
        """A cell as words; ``-`` where there is nothing, or no number."""
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return "-"
        return (
            str(cell) if isinstance(cell, str) or self.digits is None else f"{cell:.{self.digits}f}"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns, with a title above and notes below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def words(self) -> list[list[str]]:
        """Every row as words."""
        return [
            [column.shown(cell) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def text(self) -> str:
        """Aligned with spaces."""
        lines = [[column.title for column in self.columns], *self.words()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        shown = [
            "  ".join(map(self._aligned, line, widths, self.columns)).rstrip() for line in lines
        ]
        return "\n".join([self.title, *shown, *self.notes])

    def markdown(self) -> str:
        """A pipe table; bars inside words are escaped."""
        lines = [[column.title for column in self.columns], *self.words()]
        head, *body = [
            "| " + " | ".join(word.replace("|", "\\|") for word in line) + " |" for line in lines
        ]
        rule = (
            "|"
            + "|".join("---" if column.digits is None else "---:" for column in self.columns)
            + "|"
        )
        notes = ["", *self.notes] if self.notes else []
        return "\n".join([f"**{self.title}**", "", head, rule, *body, *notes])

    def html(self) -> str:
        """A ``table`` element with its notes."""
        kinds = ["" if column.digits is None else ' class="number"' for column in self.columns]
        head = "".join(
            f"<th{kind}>{escape(c.title)}</th>" for kind, c in zip(kinds, self.columns, strict=True)
        )
        body = "\n".join(
            "<tr>"
            + "".join(
                f"<td{kind}>{escape(word)}</td>" for kind, word in zip(kinds, line, strict=True)
            )
            + "</tr>"
            for line in self.words()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f'<section class="numbers"><h2>{escape(self.title)}</h2><div><table><thead><tr>{head}</tr></thead>'
            f"<tbody>\n{body}\n</tbody></table></div>{notes}</section>"
        )

    def rich(self) -> "RichTable":
        """For a terminal."""
        from rich.markup import escape as plain
        from rich.table import Table as RichTable

        made = RichTable(
            title=plain(self.title),
            caption=plain("\n".join(self.notes)) or None,
            title_justify="left",
        )
        for column in self.columns:
            made.add_column(
                plain(column.title), justify="left" if column.digits is None else "right"
            )
        for line in self.words():
            made.add_row(*map(plain, line))
        return made

    @staticmethod
    def _aligned(word: str, width: int, column: Column) -> str:
        return word.ljust(width) if column.digits is None else word.rjust(width)
