"""Results of single photos: JSON records, with the same fields for any outcome, and messages."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import format_bytes, format_seconds, pluralize
from addsr_cli.errors import AddsrError

if TYPE_CHECKING:
    from addsr_cli.cli.inputs import Skipped
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.plan import Plan
    from addsr_cli.engine.result import Result

EMPTY_RECORD: dict[str, Any] = {
    "input": None,
    "output": None,
    "status": None,
    "seconds": None,
    "peak_memory": None,
    "size_in": None,
    "size_out": None,
    "model": None,
    "steps": None,
    "seed": None,
    "tags": None,
    "prompt": None,
    "plan": None,
    "drift": None,
    "trust": None,
    "protected": None,
    "auto": None,
    "compare": None,
    "warnings": [],
    "error": None,
}


def job_record(job: "Job") -> dict[str, Any]:
    """Return what is known of a job before it runs."""
    return EMPTY_RECORD | {
        "input": job.label,
        "output": str(job.output) if job.output else None,
        "size_in": list(job.header.size),
        "size_out": list(job.size),
        "seed": job.settings.seed,
        "prompt": job.settings.prompt,
        "compare": str(job.page) if job.page else None,
    }


def result_record(job: "Job", result: "Result") -> dict[str, Any]:
    """Return the record of a finished job."""
    return job_record(job) | {
        "status": "ok",
        "seconds": {stage: round(time, 4) for stage, time in result.seconds.items()},
        "peak_memory": result.peak_memory,
        "model": result.model or None,
        "model_sha256": result.model_sha256 or None,
        "steps": result.steps,
        "tags": result.tags,
        "prompt": result.prompt or job.settings.prompt,
        "plan": plan_record(result.plan) if result.plan else None,
        "drift": _drift_record(result),
        "trust": _trust_record(job, result),
        "protected": [area.record() for area in result.protected],
        "auto": result.decision.record() if result.decision else None,
        "warnings": list(result.warnings),
    }


def _drift_record(result: "Result") -> dict[str, Any] | None:
    """Return the drift before encoding, and under ``written`` that of a lossy file."""
    if result.drift is None:
        return None
    written = result.written_drift
    return result.drift.record() | {"written": written.record() if written else None}


def _trust_record(job: "Job", result: "Result") -> dict[str, Any] | None:
    """Return shares in percent, and under ``map`` the path of the picture."""
    if result.trust is None:
        return None
    return result.trust.record() | {"map": str(job.trust_map) if job.trust_map else None}


def skipped_record(item: "Skipped") -> dict[str, Any]:
    """Return the record of a skipped input; the reason is its warning."""
    return EMPTY_RECORD | {
        "input": item.label,
        "output": str(item.output) if item.output else None,
        "status": "skipped",
        "warnings": [item.reason],
    }


def failure_record(label: str, exc: AddsrError) -> dict[str, Any]:
    """Return the record of a failed input."""
    return EMPTY_RECORD | {"input": label, "status": "failed", "error": exc.record()}


def plan_record(plan: "Plan") -> dict[str, Any]:
    """Return the record of a plan."""
    record = asdict(plan) | {
        "tiles": plan.tiles_per_step,
        "needed_bytes": plan.needed_bytes,
        "peak_bytes": plan.peak_bytes,
    }
    del record["footprint"]
    return record


def print_result(
    record: dict[str, Any],
    console: Console,
    *,
    summary: bool = True,
) -> None:
    """Print warnings, a summary and the path or record of a finished photo.

    Without ``summary`` only warnings go to stderr, for callers that show a progress bar. A picture
    written to stdout has no path, and its record would not belong there.
    """
    for warning in record["warnings"]:
        console.warn(f"{printable(record['input'])}: {warning}")
    if summary:
        _print_summary(record, console)
    if record["output"]:
        console.result(
            record["output"],
            record,
            already_shown=summary,
        )


def _print_summary(record: dict[str, Any], console: Console) -> None:
    plan = record["plan"]
    source = printable(record["input"])
    target = printable(record["output"] or "stdout")
    width, height = record["size_out"]
    how = "only resized"
    if plan:
        how = "one pass"
        if record["steps"]:
            how = f"{pluralize(record['steps'], 'step')}, seed {record['seed']}"
    duration = format_seconds(sum(record["seconds"].values()))
    console.info(f"{source} -> {target}: {width}x{height}, {how}, in {duration}")
    if record["auto"]:
        console.info(_auto_line(record["auto"]))
    if record["drift"]:
        console.info(_drift_line(record["drift"]))
    if record["trust"]:
        console.info(_trust_line(record["trust"]))
    if record["protected"]:
        console.info(_protected_line(record["protected"]))
    if record["prompt"]:
        console.detail(f"prompt: {record['prompt']}")
    if plan:
        console.detail(f"plan: {plan['why']}; peak memory {format_bytes(record['peak_memory'])}")
    console.detail(", ".join(f"{stage} {time:.2f} s" for stage, time in record["seconds"].items()))


def _auto_line(auto: dict[str, Any]) -> str:
    damage = auto["damage"]
    quality, blur = damage["jpeg_quality"], damage["blur"]
    estimates = [
        f"noise {damage['noise']:.1f} of 255",
        f"JPEG quality {quality}" if quality else "no JPEG compression",
        f"blur {blur:.1f} px" if blur is not None else "no edges to measure blur on",
    ]
    chosen = [f"fidelity {auto['fidelity']:g}"]
    if auto["steps"]:
        chosen.append(pluralize(auto["steps"], "step"))
    if auto["psr"] is not None:
        chosen.append(f"PSR {auto['psr']:.2g}")
    return f"auto: {', '.join(estimates)} -> {', '.join(chosen)}"


def _trust_line(trust: dict[str, Any]) -> str:
    text = f"invented detail: {trust['invented']:.1f} %"
    for kind in ("faces", "text"):
        shares = [area["invented"] for area in trust["areas"] if area["kind"] == kind]
        if shares:
            text += f", in {kind} up to {max(shares):.1f} %"
    if trust["spread"] is not None:
        text += f", {trust['spread']:.1f} of 255 levels vary with the seed"
    return f"{text}; shown in {printable(trust['map'])}" if trust["map"] else text


def _protected_line(areas: list[dict[str, Any]]) -> str:
    faces = sum(area["kind"] == "faces" for area in areas)
    parts = [
        pluralize(number, *names)
        for number, names in (
            (faces, ("face",)),
            (len(areas) - faces, ("line of text", "lines of text")),
        )
        if number
    ]
    return f"protected: {' and '.join(parts)}"


def _drift_line(drift: dict[str, Any]) -> str:
    text = (
        f"drift from the photo: mean {drift['mean']:.2f}, 99.9 % of it within "
        f"{drift['p999']:.2f} of 255 (limit: {drift['bound']:g})"
    )
    if drift["written"]:
        text += f"; in the file, after lossy encoding: {drift['written']['p999']:.2f}"
    return text


def print_failure(
    label: str,
    exc: AddsrError,
    console: Console,
) -> None:
    """Print the error of a photo, and its record with ``--json``."""
    console.error(exc, label)
    print_failure_record(label, exc, console)


def print_failure_record(
    label: str,
    exc: AddsrError,
    console: Console,
) -> None:
    """Print the record of a failed photo with ``--json``."""
    if console.json:
        console.result("", failure_record(label, exc))
