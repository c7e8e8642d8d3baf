"""Published results to compare with: data with its sources, in ``assets``.

``addsr_tables.json`` holds every table of both AddSR papers as far as their texts hold numbers,
``published.json`` what others measured of AddSR. The two are never one table: protocols differ.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addsr_cli.errors import UnreadableInput, UsageError

ASSETS = Path(__file__).parent / "assets"
FILES = (ASSETS / "published.json", ASSETS / "addsr_tables.json")
# what the papers measured of each choice that ``--ablation`` names
ABLATION_TABLES = {
    "psr": ("addsr-v1-table5", "addsr-v4-table6"),
    "ta": (
        "addsr-v1-table6",
        "addsr-v4-table6",
        "addsr-v4-table7",
        "addsr-v4-table8",
        "addsr-v4-table9",
    ),
    "teacher": ("addsr-v1-table4", "addsr-v4-table5"),
}
# one data set from several tables
GROUPS = {
    "reallr200": (
        "RealLR200",
        ("addsr-v1-table3", "addsr-v1-table7", "addsr-v4-table4", "addsr-v4-table5"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """The rows of one published table on one data set; ``rows`` maps method to values by metric.

    Metrics have our names where their variant is known to be ours. ``edition`` marks those of a
    paper that does not state its variants, which stay in columns of their own. ``dataset`` is the
    name of the pictures, or of a degradation, "" for what needs none. ``source`` is where the table
    was printed, ``measured_by`` who measured it, ``protocol`` how, as far as that is known;
    ``doubts`` are what is missing or uncertain, ``data`` how to get and arrange the pictures.
    """

    name: str
    dataset: str
    title: str
    source: str
    measured_by: str
    protocol: str
    data: str
    edition: str
    doubts: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float | None]]

    def column(self, metric: str) -> str:
        """The title of a metric's column."""
        return f"{metric} ({self.edition})" if self.edition else metric

    def values(self, method: str) -> dict[str, float]:
        """The numbers of a method by column."""
        row = self.rows[method]
        return {self.column(metric): value for metric, value in row.items() if value is not None}


def names() -> list[str]:
    """The names of all tables."""
    return [*GROUPS, *_all_tables()]


def load_tables(name: str) -> tuple[Published, ...]:
    """The data sets of a table by name, or of a JSON file. Raises UsageError and UnreadableInput.

    A table whose numbers are missing has one data set without rows.
    """
    tables = _all_tables()
    if name in GROUPS:
        dataset, members = GROUPS[name]
        every = [table for member in members for table in load_tables(member)]
        return tuple(table for table in every if table.dataset == dataset)
    if name in tables:
        content, path = tables[name]
        return _parse_table(name, content, path)
    path = Path(name)
    if path.suffix.lower() != ".json":
        raise UsageError(
            f"There is no published table {name}.",
            f"Use {', '.join(names())}, or a .json file with title, source and rows.",
        )
    return _parse_table(path.stem, _read_object(path), path)


def beside(
    tables: Sequence[Published],
    case: str,
    folder: str,
) -> list[Published]:
    """The tables to show beside a test set: those of its pictures, or all where none names them.

    Pictures are named by the test set (``case``) or by its ``folder``. Tables that need no pictures
    stand beside every test set.
    """
    for wanted in (case, folder):
        matching = [table for table in tables if _plain(table.dataset) == _plain(wanted)]
        if matching:
            return [table for table in tables if table in matching or not table.dataset]
    return list(tables)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _all_tables() -> dict[str, tuple[dict[str, Any], Path]]:
    return {name: (content, path) for path in FILES for name, content in _read_object(path).items()}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UnreadableInput(
            f"{path} cannot be read as JSON: {exc}", "docs/bench.md shows the format."
        ) from exc
    if not isinstance(content, dict):
        raise UnreadableInput(f"{path} is not a JSON object.", "Give title, source and rows.")
    return content


def _parse_table(
    name: str,
    content: dict[str, Any],
    path: Path,
) -> tuple[Published, ...]:
    try:
        return tuple(
            Published(
                name=name,
                dataset=dataset,
                title=str(content.get("title", name)),
                source=str(content["source"]),
                measured_by=str(content.get("measured_by", "its authors")),
                protocol=str(content.get("protocol", "not stated")),
                data=str(content.get("data", "")),
                edition=str(content.get("edition", "")),
                doubts=tuple(map(str, content.get("doubts", ()))),
                rows=rows,
            )
            for dataset, rows in _datasets(content)
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise UnreadableInput(
            f"{path} is not a table: {exc}",
            'It needs "source" and "rows": {method: {metric: number}}.',
        ) from exc


def _datasets(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, float | None]]]]:
    """Rows by data set: ``datasets``, or ``rows`` alone with an optional ``dataset``."""
    if "datasets" not in content:
        yield str(content.get("dataset", "")), _rows(content["rows"])
        return
    for dataset, rows in (content["datasets"] or {"": {}}).items():
        yield str(dataset), _rows(rows)


def _rows(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    return {
        str(method): {
            str(metric): None if value is None else float(value) for metric, value in values.items()
        }
        for method, values in raw.items()
    }
