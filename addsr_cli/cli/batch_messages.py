"""What ``addsr batch`` prints before and after its work, and for a dry run."""

from typing import TYPE_CHECKING, Any

from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import error_line, format_bytes, format_seconds, pluralize
from addsr_cli.cli.records import EMPTY_RECORD, job_record, print_failure_record

if TYPE_CHECKING:
    from pathlib import Path

    from addsr_cli.batch.session import Session
    from addsr_cli.batch.work_queue import WorkQueue
    from addsr_cli.cli.batch_progress import BatchProgress


def print_start(
    session: "Session",
    queue: "WorkQueue",
    console: Console,
) -> None:
    """Print what is to be done and what earlier runs did, and warn if the disk is too small."""
    from addsr_cli.batch.output_folder import estimated_size, free_space

    config = session.config
    output = printable(str(config.output))
    needed = estimated_size(queue.pending)
    free = free_space(config.output)
    if session.photo_tree and not session.photo_tree.photos:
        console.info(f"no photos in {printable(str(config.root))}")
    else:
        size = f", about {format_bytes(needed)}" if queue.total else ""
        photos = pluralize(queue.total, "photo")
        console.info(f"{photos} to upscale into {output}{size}{_earlier_runs(queue)}")
    if queue.unknown_lines:
        lines = pluralize(queue.unknown_lines, "line")
        console.warn(f"ignored {lines} of the journal in {output} that addsr did not write")
    if needed > free:
        console.warn(
            f"the outputs need about {format_bytes(needed)}, but only {format_bytes(free)} are free"
        )
    if console.json:
        _print_earlier_records(config.root, config.output, queue, console)


def _earlier_runs(queue: "WorkQueue") -> str:
    counts = []
    if queue.already_done:
        counts.append(f"{len(queue.already_done)} done")
    if queue.already_failed:
        counts.append(f"{len(queue.already_failed)} failed")
    return f"; earlier runs: {', '.join(counts)}" if counts else ""


def _print_earlier_records(
    root: "Path",
    output: "Path",
    queue: "WorkQueue",
    console: Console,
) -> None:
    record: dict[str, Any]
    for entry in queue.already_done:
        record = {
            "input": str(root / entry.input),
            "status": "skipped",
            "output": str(output / entry.output),
        }
        console.result("", EMPTY_RECORD | record)
    for entry in queue.already_failed:
        record = {"input": str(root / entry.input), "status": "failed", "error": entry.error}
        console.result("", EMPTY_RECORD | record)


def print_summary(
    session: "Session",
    progress: "BatchProgress",
    queue: "WorkQueue",
    console: Console,
) -> None:
    """Print how many files are done, failed, left and skipped, and the throughput."""
    failed = progress.failed + len(queue.already_failed)
    counts = [f"{progress.succeeded} done", f"{failed} failed"]
    if queue.already_done:
        counts.append(f"{len(queue.already_done)} already done")
    left = queue.total - progress.succeeded - progress.failed
    if left:
        counts.append(f"{left} left")
    counts += _skipped(session)
    throughput = f"; {progress.throughput()}" if progress.succeeded else ""
    console.info(f"{', '.join(counts)}{throughput}")
    if failed:
        again = "; --retry-failed tries them again" if queue.already_failed else ""
        console.info(f"see {printable(str(session.config.output / 'failures.json'))}{again}")


def print_plan(
    session: "Session",
    queue: "WorkQueue",
    console: Console,
) -> None:
    """Print what a run would do, and how long it would take."""
    print_start(session, queue, console)
    root = session.config.root
    for task in queue.pending:
        width, height = task.job.size
        record = job_record(task.job) | {"status": "planned", "model": session.upscaler.spec.name}
        if console.json or console.verbose:
            console.result(f"{task.job.label} -> {task.job.output} {width}x{height}", record)
    for rejected in queue.rejected:
        label = str(root / rejected.name)
        message = error_line(rejected.error, label).removeprefix("error: ")
        console.info(f"will fail: {message}")
        print_failure_record(label, rejected.error, console)
    for entry in queue.already_failed:
        message = entry.error.get("message", "")
        console.info(printable(f"failed before: {root / entry.input}: {message}"))
    parts = [
        f"{pluralize(len(queue.pending), 'photo')}, {queue.input_pixels / 1e6:.2f} MP in all",
        f"{len(queue.rejected)} will fail",
        *_skipped(session),
    ]
    seconds = session.predicted_seconds(queue.pending)
    if seconds is not None:
        parts.append(f"about {format_seconds(seconds)}")
    console.info(", ".join(parts))


def _skipped(session: "Session") -> list[str]:
    tree = session.photo_tree
    if tree is None or not tree.skipped:
        return []
    return [f"skipped: {printable(tree.skipped_summary())}"]
