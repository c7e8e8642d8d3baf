"""What a fetch would take, in words and as records: every file, its source, size and licence, and the total."""

from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.errors import ModelUnavailable

if TYPE_CHECKING:
    from addsr_cli.weights.components import Source
    from addsr_cli.weights.download_plan import Needed


def show(name: str, parts: "tuple[Needed, ...]", console: Console) -> None:
    """Every file, source, size and licence, and the total, as data."""
    for record in plan_records(name, parts):
        console.result(_line(record), record)


def plan_records(name: str, parts: "tuple[Needed, ...]") -> list[dict[str, Any]]:
    """One record per file or unavailable component, then the total."""
    rows: list[dict[str, Any]] = []
    for part in parts:
        base = {"model": name, "component": part.component.name, "licence": part.component.licence}
        if part.manifest is None:  # then what is written down must do
            rows += [
                base
                | {
                    "file": file.path,
                    "source": _known(part),
                    "size": file.size,
                    "about": file.about,
                    "here": False,
                }
                for file in part.component.files
            ]
            rows[-1]["problem"] = part.problem
            continue
        source = _address(part.manifest.source, part.manifest.revision)
        rows += [
            base
            | {
                "file": file.path,
                "source": source,
                "size": file.size,
                "about": None,
                "here": file.here,
            }
            for file in part.manifest.files
        ]
    sizes = [(row["size"] or row["about"], row["here"]) for row in rows]
    total = {
        "size": sum(size or 0 for size, _ in sizes),
        "to_fetch": sum(size or 0 for size, here in sizes if not here),
    }
    sure = {
        "unknown": sum(size is None for size, _ in sizes),
        "exact": all(row["size"] is not None for row in rows),
    }
    return [*rows, {"model": name, "component": "total", **total, **sure}]


def _known(part: "Needed") -> str:
    """The first place that a component is written down for."""
    from addsr_cli.weights.components import STUDENT
    from addsr_cli.weights.download_plan import DRIVE

    sources = part.component.sources
    if not sources:
        return DRIVE if part.component.name == STUDENT.name else "no source"
    return _address(sources[0], sources[0].revision)


def _address(source: "Source", revision: str) -> str:
    if source.kind == "file":
        return f"brought along as {source.repo}"
    return source.repo if source.kind == "url" else f"{source.repo}@{revision}"


def announce(name: str, parts: "tuple[Needed, ...]", console: Console) -> None:
    """Size and licences, before the first byte. Raises ModelUnavailable when a part that has sources cannot be had."""
    from addsr_cli.weights.components import licences

    for part in parts:
        if part.problem and part.component.sources:
            raise ModelUnavailable(part.problem)
    total = plan_records(name, parts)[-1]
    terms = licences(part.component for part in parts)
    console.info(
        f"{name}: {_sure(total)}{format_bytes(total['to_fetch'])} to fetch. Licences: {terms}"
    )


def _line(record: dict[str, Any]) -> str:
    if record["component"] == "total":
        sure = _sure(record)
        return f"total {sure}{format_bytes(record['size'])}, to fetch {sure}{format_bytes(record['to_fetch'])}"
    size = format_bytes(record["size"]) if record["size"] is not None else "size unknown"
    if record["size"] is None and record["about"]:
        size = f"about {format_bytes(record['about'])}"
    here = ", here already" if record["here"] else ""
    line = f"{record['component']}/{record['file']}  {size}{here}  {record['source']}  {record['licence']}"
    return f"{line}\n  {record['problem']}" if "problem" in record else line


def _sure(total: dict[str, Any]) -> str:
    """How far a sum can be trusted."""
    return "at least " if total["unknown"] else "" if total["exact"] else "about "
