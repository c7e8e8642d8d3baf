"""``addsr upscale``: photos in, larger photos out."""

import math
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.duplicates import DuplicateSamples
from addsr_cli.cli.escape import printable
from addsr_cli.cli.exit_codes import SOME_FAILED
from addsr_cli.cli.formatting import format_bytes, format_seconds, pluralize
from addsr_cli.cli.open_files import open_files
from addsr_cli.cli.records import (
    job_record,
    plan_record,
    print_failure,
    print_failure_record,
    print_result,
    result_record,
    skipped_record,
)
from addsr_cli.cli.request import UpscaleOptions
from addsr_cli.cli.takes_options import takes_options
from addsr_cli.errors import AddsrError, OutputRefused, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from addsr_cli.cli.inputs import CheckedInput, Skipped
    from addsr_cli.cli.jobs import Work
    from addsr_cli.engine.job import Job, RejectedInput
    from addsr_cli.engine.plan import Plan
    from addsr_cli.engine.result import Result
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.imageio import Photo
    from addsr_cli.settings import Settings


@takes_options
def upscale(
    images: options.Images,
    request: UpscaleOptions,
    compare: options.Compare = False,
    skip_existing: options.SkipExisting = False,
    preview: options.Preview = None,
) -> None:
    """Upscale one or several photos."""
    from addsr_cli.cli.inputs import Input, check_streams, read_inputs
    from addsr_cli.cli.jobs import JobOptions, gather
    from addsr_cli.cli.preview import parse_preview
    from addsr_cli.engine.job import Job, RejectedInput

    console = request.console
    settings = request.settings
    write_options = request.write_options()
    job_options = JobOptions(
        images=images,
        output=request.output,
        samples=request.samples,
        format=write_options.format,
        compare=compare,
        dry_run=request.dry_run,
        skip_existing=skip_existing,
        overwrite=request.overwrite,
        preview=parse_preview(preview) if preview else None,
    )
    check_streams(images, to_stdout=job_options.to_stdout)
    inputs = read_inputs(images, console)
    unreadable = [item for item in inputs if isinstance(item, RejectedInput)]
    _print_rejected(unreadable, console)
    if not any(isinstance(item, Input) for item in inputs):
        _exit_if_failed([_record_unprocessed(item, console) for item in unreadable])
        return
    upscaler = _upscaler(request, _largest_result(inputs, settings), console)
    settings = upscaler.complete(settings)
    naming = request.naming(upscaler.spec.name, upscaler.steps(settings))
    work = gather(inputs, settings, write_options, naming, job_options)
    _print_rejected(
        [item for item in work if isinstance(item, RejectedInput) and item not in unreadable],
        console,
    )
    _print_skipped(work, console)
    console.info(f"model {upscaler.spec.name}: {upscaler.located.reason}")
    if not request.dry_run:
        _remove_partial_outputs([item for item in work if isinstance(item, Job)])
    errors = _run_all(work, upscaler, request)
    if request.open and not request.dry_run:
        done = [item for item, error in zip(work, errors, strict=True) if error is None]
        files = [item.page or item.output for item in done if isinstance(item, Job)]
        open_files(files, console)
    _exit_if_failed(errors)


def _run_all(
    work: "Sequence[Work]",
    upscaler: "Upscaler",
    request: UpscaleOptions,
) -> list[AddsrError | None]:
    """Upscale every job, or show its plan; return the errors in the order of ``work``."""
    from addsr_cli.engine.job import Job

    console = request.console
    titles = iter(_progress_titles(work))
    duplicates = DuplicateSamples(request.samples)
    errors: list[AddsrError | None] = []
    for item in work:
        if isinstance(item, Job):
            if request.dry_run:
                action = partial(_show_plan, item, upscaler, console)
            else:
                action = partial(_upscale_job, item, next(titles), duplicates, upscaler, console)
            errors.append(_run_job(item.label, action, console))
        else:
            errors.append(_record_unprocessed(item, console))
    return errors


def _largest_result(inputs: "Sequence[CheckedInput]", settings: "Settings") -> int:
    """Return the pixels of the largest result; of those that are refused, none counts."""
    from addsr_cli.cli.inputs import Input

    largest = 0
    for item in inputs:
        if isinstance(item, Input):
            with suppress(UsageError):  # the photo has this error of its own
                largest = max(largest, math.prod(settings.output_size(*item.header.size)))
    return largest


def _upscaler(request: UpscaleOptions, pixels: int, console: Console) -> "Upscaler":
    """Choose the model without loading it; called last, since its imports take seconds."""
    from addsr_cli.cli.model_choice import check_like, choose_model
    from addsr_cli.engine.upscaler import Upscaler

    located = choose_model(
        request.model,
        request.machine.device,
        console,
        download=not request.dry_run,
        pixels=pixels,
    )
    upscaler = Upscaler(located, request.machine)
    check_like(request.like, request.model, upscaler)
    return upscaler


def _print_rejected(rejected: "Sequence[RejectedInput]", console: Console) -> None:
    """Print at once why inputs cannot be upscaled; their JSON records follow in order."""
    for item in rejected:
        console.error(item.error, item.label)


def _print_skipped(work: "Sequence[Work]", console: Console) -> None:
    """Print how many inputs are skipped, and why."""
    from addsr_cli.cli.inputs import ADDSR_OUTPUT, Skipped

    reasons = Counter(item.reason for item in work if isinstance(item, Skipped))
    if reasons:
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        hint = (
            "; to upscale an output of addsr, give it as the only input"
            if ADDSR_OUTPUT in reasons
            else ""
        )
        console.info(f"skipped {pluralize(reasons.total(), 'file')}: {counts}{hint}")


def _record_unprocessed(item: "RejectedInput | Skipped", console: Console) -> AddsrError | None:
    """Print the JSON record of an input that is not upscaled; return its error, if it has one."""
    from addsr_cli.engine.job import RejectedInput

    if isinstance(item, RejectedInput):
        print_failure_record(item.label, item.error, console)
        return item.error
    if console.json:
        console.result("", skipped_record(item))
    return None


def _remove_partial_outputs(jobs: "Sequence[Job]") -> None:
    """Remove partial files of killed runs from the output folders."""
    from addsr_cli.files import remove_partial_files

    paths = [path for job in jobs for path in job.outputs]
    for folder in {path.resolve().parent for path in paths}:
        remove_partial_files(folder)


def _progress_titles(work: "Sequence[Work]") -> list[str]:
    """Titles of the progress bars: the name, with its number when there are several photos."""
    from addsr_cli.engine.job import Job

    labels = [item.label for item in work if isinstance(item, Job)]
    if len(labels) == 1:
        return labels
    return [
        f"file {number} of {len(labels)}: {label}" for number, label in enumerate(labels, start=1)
    ]


def _run_job(label: str, action: "Callable[[], None]", console: Console) -> AddsrError | None:
    """Run one job and return its error, if it failed. Raise UsageError, which ends the command."""
    from addsr_cli.engine.job import picture_out_of_memory

    try:
        action()
    except UsageError:
        raise
    except (AddsrError, MemoryError) as exc:
        error = picture_out_of_memory(exc) if isinstance(exc, MemoryError) else exc
        print_failure(label, error, console)
        return error
    return None


def _exit_if_failed(errors: "Sequence[AddsrError | None]") -> None:
    """Exit with the error's own code if it was the only input, else with SOME_FAILED."""
    failed = [error for error in errors if error]
    if failed:
        raise typer.Exit(failed[0].exit_code if len(errors) == 1 else SOME_FAILED)


def _read_photo(job: "Job") -> "Photo":
    """Decode in another thread: decoders ignore Ctrl-C, and this thread has to react to it."""
    from addsr_cli import imageio
    from addsr_cli.batch.worker import Worker

    worker = Worker("addsr-read")
    try:
        return worker.submit(partial(imageio.read, job.source, job.options.frames)).result()
    finally:
        worker.close()


def _upscale_job(
    job: "Job",
    title: str,
    duplicates: DuplicateSamples,
    upscaler: "Upscaler",
    console: Console,
) -> None:
    from addsr_cli import imageio
    from addsr_cli.engine.trust_picture import write_trust_map

    # refuse a photo that does not fit into memory before decoding it
    channels, bit_depth = job.sample_layout
    upscaler.plan(*job.header.size, job.settings, channels=channels, bit_depth=bit_depth)
    with console.step_progress(title) as bar:
        photo = _read_photo(job)
        if job.crop:
            photo = imageio.crop(photo, job.crop)
        result = upscaler.upscale(photo, job.settings, bar, bit_depth=bit_depth)
    result = duplicates.add_warning(job, result)
    notes, started = list(result.warnings), perf_counter()
    texts = result.provenance(job.options)
    if job.output is None:
        data = imageio.encode(result.photo, job.options, texts, warn=notes.append)
        result = _with_written_drift(result, data, job, photo)
        _write_to_stdout(data)
    else:
        imageio.write(result.photo, job.output, job.options, texts, warn=notes.append)
        result = _with_written_drift(result, job.output, job, photo)
        write_trust_map(job, result)
        if job.page is not None:
            _write_page(job.page, job, photo, result)
            console.info(f"{printable(job.label)} compared in {printable(str(job.page))}")
    result = replace(
        result, warnings=tuple(notes), seconds=result.seconds | {"write": perf_counter() - started}
    )
    print_result(result_record(job, result), console)


def _with_written_drift(
    result: "Result",
    written: "Path | bytes",
    job: "Job",
    photo: "Photo",
) -> "Result":
    """Return the result with the drift that a lossy encoder has left, where drift was bounded."""
    from addsr_cli.engine.drift import drift_of_file

    if result.drift is None or job.options.is_exact or job.frames > 1:
        return result
    return replace(result, written_drift=drift_of_file(written, photo))


def _write_page(
    page: Path,
    job: "Job",
    photo: "Photo",
    result: "Result",
) -> None:
    from addsr_cli.cli.compare import write_page
    from addsr_cli.report import Picture

    process = "resized"
    if result.plan:
        process = f"{result.model}, one pass"
        if result.steps:
            process = f"{result.model}, {pluralize(result.steps, 'step')}, seed {job.settings.seed}"
    after = f"After: {process}"
    pictures = [Picture(photo=photo, label="Before"), Picture(photo=result.photo, label=after)]
    if result.trust is not None:
        shown = Picture(photo=result.trust.photo(), label="Invented (orange), drift (blue)")
        pictures.insert(1, shown)
    write_page(page, pictures, Path(job.label).name, overwrite=job.options.overwrite)


def _write_to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader is gone; ``cli.app`` handles that for every command
        raise
    except OSError as exc:
        raise OutputRefused(
            f"The picture cannot be written to stdout: {exc.strerror}.", "Write to a file with -o."
        ) from exc


def _show_plan(job: "Job", upscaler: "Upscaler", console: Console) -> None:
    from addsr_cli.engine.prediction import SpeedMeasurement

    channels, bit_depth = job.sample_layout
    plans = upscaler.plan(*job.header.size, job.settings, channels=channels, bit_depth=bit_depth)
    steps = upscaler.steps(job.settings) if plans else 0
    seconds = SpeedMeasurement(upscaler.spec).seconds(plans, steps)
    if seconds is not None:
        seconds *= job.frames
    text = (
        f"{printable(job.label)} {job.header.width}x{job.header.height} -> "
        f"{printable(str(job.output or 'stdout'))} {job.size[0]}x{job.size[1]}"
    )
    text += f", {job.frames} frames\n" if job.frames > 1 else "\n"
    if plans:
        text += _plan_text(upscaler, plans, steps) + (
            "" if seconds is None else f", about {format_seconds(seconds)}"
        )
    else:
        text += "  smaller than the photo: only resized, without the model"
    record = job_record(job) | {
        "status": "planned",
        "model": upscaler.spec.name if plans else None,
        "steps": steps,
        "plan": plan_record(plans[-1]) if plans else None,
        "passes": len(plans),
        "predicted_seconds": seconds,
    }
    console.result(text, record)


def _plan_text(upscaler: "Upscaler", plans: "Sequence[Plan]", steps: int) -> str:
    plan = plans[-1]
    how = f"{pluralize(steps, 'step')}, " if steps else ""
    tiles = f"{pluralize(plan.tiles_per_step, 'tile')} per {'step' if steps else 'pass'}"
    return (
        f"  model {upscaler.spec.name}, {how}{pluralize(len(plans), 'pass', 'passes')}, {tiles}\n"
        f"  {plan.why}\n"
        f"  about {format_bytes(plan.peak_bytes)} at its peak, "
        f"{format_bytes(plan.free_bytes)} free on {plan.device}"
    )
