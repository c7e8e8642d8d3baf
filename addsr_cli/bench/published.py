"""Numbers that others published, to be laid beside ours: data with its source, in ``assets/published.json``."""

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
    ``data`` how to get and lay out the pictures.
    """

    name: str
    title: str
    source: str
    protocol: str
    data: str
    rows: dict[str, dict[str, float]]


def preset(name: str) -> Published:
    """A table by name, or from a JSON file that holds one. Raises UsageError and UnreadableInput."""
    held = _read(DATA)
    if name in held:
        return _table(name, held[name], DATA)
    path = Path(name)
    if path.suffix.lower() != ".json":
        known = ", ".join(held)
        raise UsageError(
            f"There is no table {name} on record.",
            f"Use {known}, or a .json file with title, source and rows.",
        )
    return _table(path.stem, _read(path), path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UnreadableInput(
            f"{path} is not readable as JSON: {exc}", "Give a file as the documentation shows."
        ) from exc
    if not isinstance(found, dict):
        raise UnreadableInput(f"{path} holds no JSON object.", "Give title, source and rows.")
    return found


def _table(name: str, raw: dict[str, Any], path: Path) -> Published:
    try:
        rows = {
            str(method): {str(metric): float(value) for metric, value in values.items()}
            for method, values in raw["rows"].items()
        }
        return Published(
            name=name,
            title=str(raw.get("title", name)),
            source=str(raw["source"]),
            protocol=str(raw.get("protocol", "not stated")),
            data=str(raw.get("data", "")),
            rows=rows,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        problem = f"{path} is not a table: {exc}"
        raise UnreadableInput(
            problem, 'It needs "source" and "rows": {method: {metric: number}}.'
        ) from exc
