"""``addsr upscale``: photos in, larger photos out."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console, error_record, error_text, human_bytes, human_seconds
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.settings import Settings

if TYPE_CHECKING:
    from addsr_cli.cli.jobs import Job, Refused
    from addsr_cli.engine import Result, Upscaler
    from addsr_cli.imageio import Photo
    from addsr_cli.planner import Plan

SOME_FAILED = 3
FORMATS = {"jpg": "JPEG"}
FIELDS = (
    *("input", "output", "status", "seconds", "peak_memory", "size_in", "size_out", "model", "steps", "seed"),
    *("tags", "prompt", "plan", "compare", "warnings", "error"),
)
UNKNOWN: dict[str, Any] = dict.fromkeys(FIELDS) | {"warnings": []}


def upscale(
    images: options.Images,
    output: options.Output = None,
    scale: options.Scale = None,
    width: options.Width = None,
    height: options.Height = None,
    longest: options.Longest = None,
    shortest: options.Shortest = None,
    model: options.Model = "auto",
    steps: options.Steps = None,
    prompt: options.Prompt = "",
    negative_prompt: options.NegativePrompt = None,
    added_prompt: options.AddedPrompt = None,
    tags: options.Tags = "auto",
    guidance: options.Guidance = None,
    conditioning_scale: options.ConditioningScale = 1.0,
    psr: options.Psr = None,
    fidelity: options.Fidelity = None,
    start: options.StartPoint = "lr",
    color: options.ColorMethod = "wavelet",
    seed: options.Seed = 0,
    samples: options.Samples = 1,
    format: options.Format = None,
    quality: options.Quality = None,
    lossless: options.Lossless = False,
    bit_depth: options.BitDepth = None,
    name: options.Name = "{stem}_x{scale}{ext}",
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
    compare: options.Compare = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    tile: options.Tile = "auto",
    overlap: options.Overlap = "auto",
    offload: options.Offload = None,
    compile: options.Compile = False,
    max_memory: options.MaxMemory = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Upscale one or several photos."""
    from addsr_cli.cli.choice import chosen
    from addsr_cli.cli.jobs import Refused, Wish, gather
    from addsr_cli.engine import Machine, Upscaler
    from addsr_cli.imageio import WriteOptions

    console = Console(json=json, quiet=quiet, verbose=verbose, debug=debug)
    settings = Settings(
        scale=scale,
        width=width,
        height=height,
        longest=longest,
        shortest=shortest,
        steps=steps,
        psr=psr,
        fidelity=fidelity,
        start=start,
        color=color,
        seed=seed,
        prompt=prompt,
        negative_prompt=negative_prompt,
        added_prompt=added_prompt,
        tags=tags,
        guidance=guidance,
        conditioning_scale=conditioning_scale,
    )
    machine = Machine(
        device=device,
        precision=precision,
        tile=options.pixels(tile, "--tile"),
        overlap=options.pixels(overlap, "--overlap"),
        offload=offload,
        max_memory=options.memory(max_memory),
        compile=compile,
    )
    wanted = WriteOptions(
        format=FORMATS.get(format or "", format),
        quality=quality,
        lossless=lossless,
        bit_depth=bit_depth,
        metadata=not no_metadata,
        overwrite=overwrite,
    )
    upscaler = Upscaler(chosen(model, device, console, fetch=not dry_run), machine)
    count = upscaler.steps(settings)
    wish = Wish(
        output=output,
        name=name,
        samples=samples,
        model=upscaler.spec.name,
        steps=count,
        compare=compare,
        dry_run=dry_run,
    )
    work = gather(images, settings, wanted, wish)
    console.say(f"model {upscaler.spec.name}: {upscaler.located.reason}")
    failed = []
    for item in work:
        try:
            if isinstance(item, Refused):
                raise item.error
            (_show_plan if dry_run else _run)(item, upscaler, console)
        except UsageError:
            raise
        except AddsrError as exc:
            failed.append(exc)
            _report_failure(item, exc, console)
    if failed:
        raise typer.Exit(failed[0].exit_code if len(work) == 1 else SOME_FAILED)


def _run(job: "Job", upscaler: "Upscaler", console: Console) -> None:
    from addsr_cli import imageio

    with console.bar(job.label) as bar:
        photo = imageio.read(job.source)
        result = upscaler.upscale(photo, job.settings, bar)
    notes, started = list(result.warnings), perf_counter()
    if job.output is None:
        data = imageio.encode(result.photo, job.options, result.embedded(), warn=notes.append)
        _to_stdout(data)
    else:
        imageio.write(result.photo, job.output, job.options, result.embedded(), warn=notes.append)
        if job.page is not None:
            _write_page(job.page, job, photo, result)
            console.say(f"{job.label} compared in {job.page}")
    for note in notes:
        console.say(f"warning: {job.label}: {note}")
    result = replace(result, warnings=tuple(notes), seconds=result.seconds | {"write": perf_counter() - started})
    size = f"{result.photo.width}x{result.photo.height}"
    seconds = sum(result.seconds.values())
    console.say(
        f"{job.label} -> {job.output or 'stdout'}: {size}, {result.steps} steps, seed {job.settings.seed}, "
        f"{human_seconds(seconds)}"
    )
    if result.prompt:
        console.detail(f"prompt: {result.prompt}")
    console.detail(f"plan: {result.plan.why}; peak memory {human_bytes(result.peak_memory)}")
    console.detail(", ".join(f"{stage} {time:.2f} s" for stage, time in result.seconds.items()))
    if job.output is not None:
        console.result(str(job.output), _record(job, result))


def _write_page(page: Path, job: "Job", photo: "Photo", result: "Result") -> None:
    from addsr_cli.cli.compare import write_page
    from addsr_cli.report import Picture

    steps = f"{result.steps} step{'s' * (result.steps > 1)}"
    after = f"After: {result.model}, {steps}, seed {job.settings.seed}"
    pictures = [Picture(photo=photo, label="Before"), Picture(photo=result.photo, label=after)]
    write_page(page, pictures, Path(job.label).name, overwrite=job.options.overwrite)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader went away, which the caller of every command knows how to end
        raise
    except OSError as exc:
        raise OutputRefused(f"stdout does not take the picture: {exc.strerror}.", "Write to a file with -o.") from exc


def _show_plan(job: "Job", upscaler: "Upscaler", console: Console) -> None:
    from addsr_cli import hardware, planner

    plans = upscaler.plan(job.header.width, job.header.height, job.settings)
    steps = upscaler.steps(job.settings)
    rate = hardware.multiply_rate()
    seconds = sum(planner.predicted_seconds(upscaler.spec, plan, steps, rate) for plan in plans)
    plan = plans[-1]
    text = (
        f"{job.label} {job.header.width}x{job.header.height} -> {job.output or 'stdout'} {job.size[0]}x{job.size[1]}\n"
        f"  model {upscaler.spec.name}, {steps} steps, {len(plans)} pass(es), {plan.tiles()} tile(s) a step\n"
        f"  {plan.why}\n"
        f"  about {human_bytes(plan.needed_bytes)} of {human_bytes(plan.free_bytes)} free on {plan.device}"
        + (f", about {human_seconds(seconds)}" if plan.device == "cpu" else "")
    )
    record = _facts(job) | {
        "status": "planned",
        "model": upscaler.spec.name,
        "steps": steps,
        "plan": plan_record(plan),
        "passes": len(plans),
        "predicted_seconds": seconds if plan.device == "cpu" else None,
    }
    console.result(text, record)


def _report_failure(item: "Job | Refused", exc: AddsrError, console: Console) -> None:
    console.trace(exc)
    print(error_text(exc, item.label), file=sys.stderr, flush=True)
    if console.json:
        failure = {"input": item.label, "status": "failed", "error": error_record(exc)}
        console.result("", UNKNOWN | failure)


def _facts(job: "Job") -> dict[str, Any]:
    return UNKNOWN | {
        "input": job.label,
        "output": str(job.output) if job.output else None,
        "size_in": list(job.header.size),
        "size_out": list(job.size),
        "seed": job.settings.seed,
        "prompt": job.settings.prompt,
        "compare": str(job.page) if job.page else None,
    }


def _record(job: "Job", result: "Result") -> dict[str, Any]:
    return _facts(job) | {
        "status": "ok",
        "seconds": {stage: round(time, 4) for stage, time in result.seconds.items()},
        "peak_memory": result.peak_memory,
        "model": result.model,
        "model_sha256": result.model_sha256,
        "steps": result.steps,
        "tags": result.tags,
        "prompt": result.prompt or job.settings.prompt,
        "plan": plan_record(result.plan),
        "warnings": list(result.warnings),
    }


def plan_record(plan: "Plan") -> dict[str, Any]:
    """A plan as JSON data."""
    record = asdict(plan) | {"tiles": plan.tiles(), "needed_bytes": plan.needed_bytes}
    del record["footprint"]
    return record
