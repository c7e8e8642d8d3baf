"""``addsr batch``: a whole tree of photos, mirrored, resumable, one bad file at a time."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addsr_cli.cli.batch_progress import BatchProgress
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import error_line, format_bytes, format_seconds, pluralize
from addsr_cli.cli.records import EMPTY_RECORD, job_record, print_failure_record
from addsr_cli.cli.request import UpscaleOptions
from addsr_cli.cli.takes_options import takes_options
from addsr_cli.errors import OutputRefused, OutputVanished, UsageError
from addsr_cli.options import MACHINE, Option

if TYPE_CHECKING:
    from addsr_cli.batch.interrupt import Interrupts
    from addsr_cli.batch.pipeline import RunOptions
    from addsr_cli.batch.session import Session
    from addsr_cli.batch.shards import Shard
    from addsr_cli.batch.task import BatchConfig
    from addsr_cli.batch.work_queue import WorkQueue
    from addsr_cli.cli.launcher import Launcher
    from addsr_cli.engine.upscaler import Upscaler

SOME_FAILED, INTERRUPTED = 3, 130
TREE = "Tree"


@takes_options
def batch(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Argument(
            help="Folder of photos.",
            metavar="DIR",
            show_default=False,
        ),
    ],
    request: UpscaleOptions,
    include: Annotated[
        list[str] | None,
        Option("Only files that match; a glob, may be repeated.", TREE),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option("No files or folders that match; may be repeated.", TREE),
    ] = None,
    retry_failed: Annotated[bool, Option("Try again what failed in an earlier run.", TREE)] = False,
    fail_fast: Annotated[
        bool, Option("Stop at the first failure, with its exit code.", TREE)
    ] = False,
    watch: Annotated[bool, Option("Wait for new photos until Ctrl-C.", TREE)] = False,
    settle: Annotated[
        float,
        Option("With --watch: seconds that a file must not have changed.", TREE),
    ] = 2.0,
    batch_size: Annotated[
        str,
        Option(
            "auto, or how many photos of one size go through at once.",
            MACHINE,
        ),
    ] = "auto",
    devices: Annotated[
        str,
        Option("One process each: all, or as in 0,1 or cuda:0,cuda:1.", MACHINE),
    ] = "none",
    shard: Annotated[
        str | None,
        Option("Do only part I of N, as in 2/8, for job arrays.", MACHINE),
    ] = None,
) -> None:
    """Upscale a folder and all folders in it. Run it again to go on where it stopped."""
    from addsr_cli.batch import shards, walk

    walk.check_root(directory)
    console, fleet = request.console, None
    part, device = (shards.parse_shard(shard) if shard else shards.WHOLE), request.machine.device
    if shard and (shards.is_launched() or devices != "none"):
        raise UsageError("The work is shared out already.", "Leave out --shard.")
    if shards.is_launched() and devices != "none":
        raise UsageError("The launcher shares the work out already.", "Leave out --devices.")
    if shards.is_launched():
        part, device = shards.from_launcher(device)
    elif devices != "none":
        from addsr_cli.cli.launcher import Launcher, named, words_of

        names = named(devices)
        fleet, device = Launcher(names, words_of(context), str(directory)), names[0]
    try:
        session = _session(
            directory,
            request,
            part,
            device,
            console,
            retry_failed=retry_failed,
            steady=watch,
        )
        session.include, session.exclude = include or (), exclude or ()
        many = _many(batch_size, fail_fast=fail_fast, traces=request.console.debug)
        if request.dry_run:
            _tell_plan(session, session.look(), console)
        else:
            _watch(session, console, many, fleet, settle) if watch else _once(
                session, console, many, fleet
            )
    finally:
        if shards.is_launched():
            shards.leave_process_group()


def _session(
    root: Path,
    request: UpscaleOptions,
    part: "Shard",
    device: str,
    console: Console,
    *,
    retry_failed: bool,
    steady: bool,
) -> "Session":
    from addsr_cli.batch.session import Session
    from addsr_cli.cli.model_choice import chosen
    from addsr_cli.engine.upscaler import Upscaler

    output = _output(root, request)
    name = chosen(request.model, device, console, fetch=not request.dry_run)
    upscaler = Upscaler(name, replace(request.machine, device=device))
    order = _order(root, output, request, upscaler, retry_failed=retry_failed)
    upscaler.plan(16, 16)  # a wrong --device or --tile shows before a file is blamed
    console.info(f"model {upscaler.spec.name}: {upscaler.located.reason}")
    return Session(
        upscaler=upscaler,
        order=order,
        shard=part,
        steady=steady,
    )


def _order(
    root: Path,
    output: Path,
    request: UpscaleOptions,
    upscaler: "Upscaler",
    *,
    retry_failed: bool,
) -> "BatchConfig":
    from addsr_cli.batch.task import BatchConfig

    settings = request.settings
    return BatchConfig(
        root=root,
        output=output,
        settings=settings,
        options=request.write_options(),
        naming=request.naming(upscaler.spec.name, upscaler.steps(settings)),
        model_sha256=upscaler.digest(),
        retry_failed=retry_failed,
    )


def _output(root: Path, request: UpscaleOptions) -> Path:
    """Where the tree is mirrored: ``-o``, or the folder's name with what is asked of the size. Raises UsageError."""
    if request.output:
        output = Path(request.output)
        if request.output == "-" or output.is_file():
            raise UsageError(
                f"-o {request.output} is not a folder.", "A batch writes a tree of files."
            )
    else:
        sides = ("width", "height", "longest", "shortest")
        asked = [
            f"{side}{getattr(request.settings, side)}"
            for side in sides
            if getattr(request.settings, side) is not None
        ]
        whole = Path(os.path.abspath(root))  # noqa: PTH100 (not resolve: a link keeps its own name)
        output = whole.with_name(
            f"{whole.name}_{asked[0] if asked else f'x{request.settings.scale or 4:.3g}'}"
        )
        output = output if root.is_absolute() else Path(os.path.relpath(output))
    if output.resolve() == root.resolve():
        raise UsageError("Outputs do not go among the inputs.", "Give -o another folder.")
    return output


def _many(batch_size: str, *, fail_fast: bool, traces: bool) -> "RunOptions":
    from addsr_cli.batch.pipeline import RunOptions

    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise UsageError(
            f"--batch-size {batch_size} is not a number of photos.", "Use auto, or 1 or more."
        )
    return RunOptions(
        batch_size=None if batch_size == "auto" else int(batch_size),
        fail_fast=fail_fast,
        traces=traces,
    )


def _gauge(session: "Session", console: Console) -> BatchProgress:
    return BatchProgress(console, str(session.order.root), session.order.naming.samples)


def _once(
    session: "Session",
    console: Console,
    many: "RunOptions",
    fleet: "Launcher | None",
) -> None:
    from addsr_cli.batch import shards

    agenda = session.look()
    _tell_start(session, agenda, console)
    gauge = _gauge(session, console)
    if fleet:
        fleet.known = {str(session.order.root / entry.input) for entry in agenda.failed}
    with _interrupts(console, fleet) as interrupts:
        try:
            with gauge.shown(len(agenda.todo) + len(agenda.rejected), _pixels(agenda)):
                code = fleet.run(gauge, console) if fleet else 0
                if not fleet:
                    session.run(agenda, gauge, interrupts.stopping, many)
        except OutputVanished:
            raise  # what was done went with the folder, so there is nothing to sum up
        except BaseException:
            _leave(session, gauge, agenda, console)
            raise
        else:
            _leave(session, gauge, agenda, console)
    if interrupts.asked:
        raise typer.Exit(INTERRUPTED)
    if shards.is_launched():
        shards.wait_for_others()
        session.leave()  # by now with the failures of all
    _exit(code or _code(session, many, failed_before=len(agenda.failed)))


def _leave(
    session: "Session",
    gauge: BatchProgress,
    agenda: "WorkQueue",
    console: Console,
) -> None:
    with suppress(OutputRefused):  # the disk is full, which is being told of already
        session.leave()
    _tell_end(session, gauge, agenda, console)


def _watch(
    session: "Session",
    console: Console,
    many: "RunOptions",
    fleet: "Launcher | None",
    settle: float,
) -> None:
    gauge = _gauge(session, console)
    console.info(f"watching {printable(str(session.order.root))}; Ctrl-C ends it")
    with _interrupts(console, fleet) as interrupts:
        try:
            code = fleet.run(gauge, console) if fleet else 0
            if not fleet:
                session.watch(gauge, interrupts.stopping, many, settle)
        finally:
            console.info(f"{gauge.ok} done, {gauge.failures} failed; {gauge.speed()}")
    _exit(code or _code(session, many, failed_before=0))


def _interrupts(console: Console, fleet: "Launcher | None") -> "Interrupts":
    from addsr_cli.batch.interrupt import Interrupts

    def tell() -> None:
        console.info("Stopping after the files in flight; Ctrl-C again stops now.")
        if fleet:
            fleet.stop()

    return Interrupts(tell)


def _code(session: "Session", many: "RunOptions", failed_before: int) -> int:
    if many.fail_fast and session.first_error:
        return session.first_error.exit_code
    return SOME_FAILED if session.failures + failed_before else 0


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _tell_start(session: "Session", agenda: "WorkQueue", console: Console) -> None:
    """What is to come, what was done before, and whether the disk will hold it."""
    from addsr_cli.batch import disk

    order = session.order
    need, free = disk.estimated_size(agenda.todo), disk.free_space(order.output)
    text = f"{len(agenda.todo) + len(agenda.rejected)} to do into {printable(str(order.output))}, about {format_bytes(need)}"
    if agenda.done or agenda.failed:
        text += f"; before: {len(agenda.done)} done" + (
            f", {len(agenda.failed)} failed" if agenda.failed else ""
        )
    if session.found and not session.found.photos:
        text = f"no photos in {printable(str(order.root))}"
    console.info(text)
    if agenda.unknown:
        lines = pluralize(agenda.unknown, "line")
        where = printable(str(order.output))
        console.warn(
            f"skipped {lines} of the journal in {where} that this program did not write so"
        )
    if need > free:
        console.warn(
            f"the outputs need about {format_bytes(need)}, but only {format_bytes(free)} are free"
        )
    for entry in agenda.done:
        output = str(order.output / entry.output)
        console.result(
            "", _brief(order, entry.input, "skipped", output=output)
        ) if console.json else None
    for entry in agenda.failed:
        console.result(
            "", _brief(order, entry.input, "failed", error=entry.error)
        ) if console.json else None


def _brief(
    order: "BatchConfig",
    name: str,
    status: str,
    **more: Any,  # noqa: ANN401 (JSON)
) -> dict[str, Any]:
    return EMPTY_RECORD | {"input": str(order.root / name), "status": status} | more


def _tell_end(
    session: "Session",
    gauge: BatchProgress,
    agenda: "WorkQueue",
    console: Console,
) -> None:
    parts = [f"{gauge.ok} done", f"{gauge.failures + len(agenda.failed)} failed"]
    if agenda.done:
        parts.append(f"{len(agenda.done)} done before")
    left = len(agenda.todo) + len(agenda.rejected) - gauge.ok - gauge.failures
    if left:
        parts.append(f"{left} left")
    if session.found and session.found.skipped:
        parts.append(f"skipped: {printable(session.found.summary())}")
    console.info(f"{', '.join(parts)}; {gauge.speed()}")
    if gauge.failures or agenda.failed:
        console.info(f"see {printable(str(session.order.output / 'failures.json'))}")


def _tell_plan(session: "Session", agenda: "WorkQueue", console: Console) -> None:
    """What would be done, and what it would take."""
    _tell_start(session, agenda, console)
    for task in agenda.todo:
        width, height = task.job.size
        record = job_record(task.job) | {"status": "planned", "model": session.upscaler.spec.name}
        if console.json or console.verbose:
            console.result(f"{task.job.label} -> {task.job.output} {width}x{height}", record)
    for lost in agenda.rejected:
        label = str(session.order.root / lost.name)
        console.info(f"will fail: {error_line(lost.error, label).removeprefix('error: ')}")
        print_failure_record(label, lost.error, console)
    for entry in agenda.failed:
        name, reason = session.order.root / entry.input, entry.error.get("message", "")
        console.info(printable(f"failed before: {name}: {reason}"))
    seconds, megapixels = session.seconds(agenda.todo), _pixels(agenda) / 1e6
    text = f"{pluralize(len(agenda.todo), 'photo')} of {megapixels:.2f} MP, {len(agenda.rejected)} that will fail"
    if session.found and session.found.skipped:
        text += f", skipped: {printable(session.found.summary())}"
    console.info(text + ("" if seconds is None else f", about {format_seconds(seconds)}"))


def _pixels(agenda: "WorkQueue") -> int:
    return sum(task.job.header.width * task.job.header.height for task in agenda.todo)
