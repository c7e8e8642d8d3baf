"""Published results to compare with: data with its sources, in ``assets/published.json``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addsr_cli.errors import UnreadableInput, UsageError

DATA = Path(__file__).parent / "assets" / "published.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published table: ``rows`` maps method to values by metric, under our metrics' names.

    ``source`` is where it was printed, ``protocol`` how it was measured as far as that is known,
    ``data`` how to get and arrange the pictures.
    """

    name: str
    title: str
    source: str
    protocol: str
    data: str
    rows: dict[str, dict[str, float]]


def load_table(name: str) -> Published:
    """A table by name, or from a JSON file. Raises UsageError and UnreadableInput."""
    tables = _read_object(DATA)
    if name in tables:
        return _parse_table(name, tables[name], DATA)
    path = Path(name)
    if path.suffix.lower() != ".json":
        raise UsageError(
            f"There is no published table {name}.",
            f"Use {', '.join(tables)}, or a .json file with title, source and rows.",
        )
    return _parse_table(path.stem, _read_object(path), path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UnreadableInput(
            f"{path} cannot be read as JSON: {exc}", "Give a file as the documentation shows."
        ) from exc
    if not isinstance(content, dict):
        raise UnreadableInput(f"{path} is not a JSON object.", "Give title, source and rows.")
    return content


def _parse_table(
    name: str,
    content: dict[str, Any],
    path: Path,
) -> Published:
    try:
        rows = {
            str(method): {str(metric): float(value) for metric, value in values.items()}
            for method, values in content["rows"].items()
        }
        return Published(
            name=name,
            title=str(content.get("title", name)),
            source=str(content["source"]),
            protocol=str(content.get("protocol", "not stated")),
            data=str(content.get("data", "")),
            rows=rows,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise UnreadableInput(
            f"{path} is not a table: {exc}",
            'It needs "source" and "rows": {method: {metric: number}}.',
        ) from exc
