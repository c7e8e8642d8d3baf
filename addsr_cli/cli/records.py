"""Results as JSON data, one object per image with the same fields whatever its end, and as a line for people."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console, counted, error_record, human_bytes, human_seconds
from addsr_cli.cli.escape import printable
from addsr_cli.errors import AddsrError

if TYPE_CHECKING:
    from addsr_cli.cli.inputs import Skipped
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.planner import Plan
    from addsr_cli.engine.upscaler import Result

FIELDS = (
    *(
        "input",
        "output",
        "status",
        "seconds",
        "peak_memory",
        "size_in",
        "size_out",
        "model",
        "steps",
        "seed",
    ),
    *("tags", "prompt", "plan", "compare", "warnings", "error"),
)
UNKNOWN: dict[str, Any] = dict.fromkeys(FIELDS) | {"warnings": []}


def job_record(job: "Job") -> dict[str, Any]:
    """What is known of a job before it runs."""
    return UNKNOWN | {
        "input": job.label,
        "output": str(job.output) if job.output else None,
        "size_in": list(job.header.size),
        "size_out": list(job.size),
        "seed": job.settings.seed,
        "prompt": job.settings.prompt,
        "compare": str(job.page) if job.page else None,
    }


def result_record(job: "Job", result: "Result") -> dict[str, Any]:
    """A job that is done."""
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
        "warnings": list(result.warnings),
    }


def skipped_record(item: "Skipped") -> dict[str, Any]:
    """An input that was left alone."""
    output = str(item.output) if item.output else None
    record = {"input": item.label, "output": output, "status": "skipped", "warnings": [item.reason]}
    return UNKNOWN | record


def failure_record(label: str, exc: AddsrError) -> dict[str, Any]:
    """An input that came to nothing."""
    return UNKNOWN | {"input": label, "status": "failed", "error": error_record(exc)}


def plan_record(plan: "Plan") -> dict[str, Any]:
    """A plan as JSON data."""
    record = asdict(plan) | {"tiles": plan.tiles_per_step, "needed_bytes": plan.needed_bytes}
    del record["footprint"]
    return record


def report_result(record: dict[str, Any], console: Console, *, line: bool = True) -> None:
    """Say what became of a photo; its path or record is data, unless the picture itself was.

    Without ``line`` only warnings are said, as a bar tells how far it is.
    """
    for note in record["warnings"]:
        console.say(f"warning: {printable(record['input'])}: {note}")
    if line:
        _say_result(record, console)
    if record["output"]:
        console.result(record["output"], record, said=line)


def _say_result(record: dict[str, Any], console: Console) -> None:
    width, height = record["size_out"]
    plan = record["plan"]
    made = f"{counted(record['steps'], 'step')}, seed {record['seed']}" if plan else "only resized"
    console.say(
        f"{printable(record['input'])} -> {printable(record['output'] or 'stdout')}: {width}x{height}, {made}, "
        f"in {human_seconds(sum(record['seconds'].values()))}"
    )
    if record["prompt"]:
        console.detail(f"prompt: {record['prompt']}")
    if plan:
        console.detail(f"plan: {plan['why']}; peak memory {human_bytes(record['peak_memory'])}")
    console.detail(", ".join(f"{stage} {time:.2f} s" for stage, time in record["seconds"].items()))


def report_failure(label: str, exc: AddsrError, console: Console) -> None:
    """Say why a photo came to nothing, in one line, and give its record."""
    tell_failure(label, exc, console)
    record_failure(label, exc, console)


def tell_failure(label: str, exc: AddsrError, console: Console) -> None:
    """Say why a photo came to nothing, in one line."""
    console.failed(exc, label)


def record_failure(label: str, exc: AddsrError, console: Console) -> None:
    """The record of a photo that came to nothing, where records are wanted."""
    if console.json:
        console.result("", failure_record(label, exc))
