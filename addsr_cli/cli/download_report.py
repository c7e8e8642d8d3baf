"""What a download would take: every file with source, size and licence, and the total."""

from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.errors import ModelUnavailable

if TYPE_CHECKING:
    from addsr_cli.models.component import Source
    from addsr_cli.weights.download_plan import PlannedComponent


def print_plan(
    name: str,
    plan: "tuple[PlannedComponent, ...]",
    console: Console,
) -> None:
    """Print every file with source, size and licence, and the total."""
    for record in plan_records(name, plan):
        console.result(_line(record), record)


def announce(
    name: str,
    plan: "tuple[PlannedComponent, ...]",
    console: Console,
) -> None:
    """Say size and licences before the first byte is downloaded.

    Raises ModelUnavailable when a component that has sources cannot be downloaded.
    """
    from addsr_cli.models.component import licences

    for planned in plan:
        if planned.problem and planned.component.sources:
            raise ModelUnavailable(planned.problem)
    total = plan_records(name, plan)[-1]
    size = f"{_qualifier(total)}{format_bytes(total['to_fetch'])}"
    terms = licences(planned.component for planned in plan)
    console.info(f"{name}: {size} to download. Licences: {terms}")


def plan_records(name: str, plan: "tuple[PlannedComponent, ...]") -> list[dict[str, Any]]:
    """Return one record per file, or per file of a component that is not available; then a total.

    ``about`` is an approximate size, where ``size`` is unknown; ``here`` says whether the file is
    in the cache.
    """
    records = [record for planned in plan for record in _file_records(name, planned)]
    sizes = [record["size"] or record["about"] for record in records]
    missing = [record["size"] or record["about"] or 0 for record in records if not record["here"]]
    total = {
        "model": name,
        "component": "total",
        "size": sum(size or 0 for size in sizes),
        "to_fetch": sum(missing),
        "unknown": sum(size is None for size in sizes),
        "exact": all(record["size"] is not None for record in records),
    }
    return [*records, total]


def _file_records(name: str, planned: "PlannedComponent") -> list[dict[str, Any]]:
    component = planned.component
    common: dict[str, Any] = {
        "model": name,
        "component": component.name,
        "licence": component.licence,
    }
    if planned.manifest is None:  # no source answered: addsr's own list has approximate sizes
        source = _listed_source(planned)
        records = [
            common
            | {
                "file": spec.path,
                "source": source,
                "size": spec.size,
                "about": spec.approximate_size,
                "here": False,
            }
            for spec in component.files
        ]
        records[-1]["problem"] = planned.problem
        return records
    source = _address(planned.manifest.source, planned.manifest.revision)
    return [
        common
        | {
            "file": file.path,
            "source": source,
            "size": file.size,
            "about": None,
            "here": file.cached,
        }
        for file in planned.manifest.files
    ]


def _listed_source(planned: "PlannedComponent") -> str:
    """Return the first source that addsr lists for a component."""
    from addsr_cli.models.seesr.published import STUDENT
    from addsr_cli.weights.download_plan import GOOGLE_DRIVE_URL

    sources = planned.component.sources
    if sources:
        return _address(sources[0], sources[0].revision)
    return GOOGLE_DRIVE_URL if planned.component.name == STUDENT.name else "no source"


def _address(source: "Source", revision: str) -> str:
    if source.kind == "file":
        return f"imported from {source.repo}"
    return source.repo if source.kind == "url" else f"{source.repo}@{revision}"


def _line(record: dict[str, Any]) -> str:
    if record["component"] == "total":
        qualifier = _qualifier(record)
        size = f"{qualifier}{format_bytes(record['size'])}"
        return f"total {size}, to download {qualifier}{format_bytes(record['to_fetch'])}"
    size = "size unknown"
    if record["size"] is not None:
        size = format_bytes(record["size"])
    elif record["about"]:
        size = f"about {format_bytes(record['about'])}"
    cached = ", downloaded already" if record["here"] else ""
    file = f"{record['component']}/{record['file']}"
    line = f"{file}  {size}{cached}  {record['source']}  {record['licence']}"
    return f"{line}\n  {record['problem']}" if "problem" in record else line


def _qualifier(total: dict[str, Any]) -> str:
    """Return how exact a total is."""
    if total["unknown"]:
        return "at least "
    return "" if total["exact"] else "about "
