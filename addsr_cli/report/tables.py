"""Tables of numbers as plain text, Markdown and HTML, and for a terminal."""

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
    """A heading, and the number of digits after the decimal point; None for a column of text."""

    title: str
    digits: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether the column is aligned to the left."""
        return self.digits is None

    def format(self, cell: Cell) -> str:
        """Return a cell as text; ``-`` for None and for a number that is not one."""
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return "-"
        if isinstance(cell, str) or self.digits is None:
            return str(cell)
        return f"{cell:.{self.digits}f}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns, with a title above and notes below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def text_rows(self) -> list[list[str]]:
        """Return every row as text."""
        return [
            [column.format(cell) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def text(self) -> str:
        """Return the table as plain text, aligned with spaces."""
        rows = [[column.title for column in self.columns], *self.text_rows()]
        widths = [max(len(row[k]) for row in rows) for k in range(len(self.columns))]
        lines = []
        for row in rows:
            cells = map(_align, row, widths, self.columns)
            lines.append("  ".join(cells).rstrip())
        return "\n".join([self.title, *lines, *self.notes])

    def markdown(self) -> str:
        """Return the table as a Markdown pipe table."""
        rules = ["---" if column.is_text else "---:" for column in self.columns]
        lines = [f"**{self.title}**", ""]
        lines.append(_pipe_row([column.title for column in self.columns]))
        lines.append(f"|{'|'.join(rules)}|")
        lines += [_pipe_row(row) for row in self.text_rows()]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)

    def html(self) -> str:
        """Return a ``section`` element with the table and its notes."""
        titles = [column.title for column in self.columns]
        rows = "\n".join(self._html_row("td", row) for row in self.text_rows())
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f'<section class="numbers"><h2>{escape(self.title)}</h2><div><table>'
            f"<thead>{self._html_row('th', titles)}</thead>"
            f"<tbody>\n{rows}\n</tbody></table></div>{notes}</section>"
        )

    def _html_row(self, tag: str, row: Sequence[str]) -> str:
        cells = []
        for column, cell in zip(self.columns, row, strict=True):
            kind = "" if column.is_text else ' class="number"'
            cells.append(f"<{tag}{kind}>{escape(cell)}</{tag}>")
        return f"<tr>{''.join(cells)}</tr>"

    def rich(self) -> "RichTable":
        """Return the table for a rich console."""
        from rich.markup import escape as escape_markup
        from rich.table import Table as RichTable

        table = RichTable(
            title=escape_markup(self.title),
            caption=escape_markup("\n".join(self.notes)) or None,
            title_justify="left",
        )
        for column in self.columns:
            title = escape_markup(column.title)
            table.add_column(title, justify="left" if column.is_text else "right")
        for row in self.text_rows():
            table.add_row(*map(escape_markup, row))
        return table


def _align(
    cell: str,
    width: int,
    column: Column,
) -> str:
    return cell.ljust(width) if column.is_text else cell.rjust(width)


def _pipe_row(row: Sequence[str]) -> str:
    cells = [cell.replace("|", "\\|") for cell in row]
    return f"| {' | '.join(cells)} |"
