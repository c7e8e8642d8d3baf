"""``addsr batch``: upscale all photos of a folder; resumable, and one bad file does not stop it."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addsr_cli.cli import batch_messages
from addsr_cli.cli.batch_progress import BatchProgress
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.exit_codes import INTERRUPTED, SOME_FAILED
from addsr_cli.cli.open_files import open_files
from addsr_cli.cli.request import UpscaleOptions
from addsr_cli.cli.takes_options import takes_options
from addsr_cli.errors import OutputRefused, OutputVanished, UsageError
from addsr_cli.options import MACHINE, Option

if TYPE_CHECKING:
    from addsr_cli.batch.config import BatchConfig
    from addsr_cli.batch.interrupt import InterruptHandler
    from addsr_cli.batch.pipeline import RunOptions
    from addsr_cli.batch.session import Session
    from addsr_cli.batch.shards import Shard
    from addsr_cli.batch.work_queue import WorkQueue
    from addsr_cli.cli.launcher import Launcher
    from addsr_cli.engine.upscaler import Upscaler

NO_DEVICES = "none"
TREE = "Tree"  # the help's panel for options about the folder


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
        Option("Only files that match this glob; may be repeated.", TREE),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        Option("Skip files and folders that match this glob; may be repeated.", TREE),
    ] = None,
    retry_failed: Annotated[
        bool, Option("Retry files that failed in an earlier run.", TREE)
    ] = False,
    fail_fast: Annotated[
        bool, Option("Stop at the first failure, with its exit code.", TREE)
    ] = False,
    watch: Annotated[
        bool, Option("Keep running and upscale new photos until Ctrl-C.", TREE)
    ] = False,
    settle: Annotated[
        float, Option("With --watch: seconds for which a new file must not have changed.", TREE)
    ] = 2.0,
    batch_size: Annotated[
        str, Option("How many photos of one size to upscale at once: auto or a number.", MACHINE)
    ] = "auto",
    devices: Annotated[
        str,
        Option("One process per device: all, or a list such as 0,1 or cuda:0,cuda:1.", MACHINE),
    ] = NO_DEVICES,
    shard: Annotated[
        str | None, Option("Process only part I of N, as in 2/8; for job arrays.", MACHINE)
    ] = None,
) -> None:
    """Upscale all photos of a folder and its subfolders. Run it again to resume."""
    from addsr_cli.batch import shards, walk

    walk.check_root(directory)
    console = request.console
    own_device = request.machine.device
    part, device, launcher = _placement(
        context,
        directory,
        own_device,
        devices,
        shard,
    )
    try:
        session = _session(
            directory,
            request,
            part,
            device,
            console,
            retry_failed=retry_failed,
            shard_by_name=watch,
        )
        session.include = include or ()
        session.exclude = exclude or ()
        run_options = _run_options(
            batch_size,
            fail_fast=fail_fast,
            keep_tracebacks=console.debug,
        )
        if request.dry_run:
            batch_messages.print_plan(session, session.scan(), console)
        elif watch:
            _watch(
                session,
                console,
                run_options,
                launcher,
                quiet_seconds=settle,
            )
        else:
            _run(session, console, run_options, launcher)
            if request.open and not shards.is_launched():
                open_files([session.config.output], console)
    finally:
        if shards.is_launched():
            shards.leave_process_group()


def _placement(
    context: typer.Context,
    directory: Path,
    device: str,
    devices: str,
    shard: str | None,
) -> "tuple[Shard, str, Launcher | None]":
    """Return the shard and device of this process, and a launcher of others. Raises UsageError."""
    from addsr_cli.batch import shards

    if shard and devices != NO_DEVICES:
        raise UsageError("--shard and --devices both split the work.", "Leave out one of them.")
    if shards.is_launched():
        for flag, is_set in (("--shard", shard), ("--devices", devices != NO_DEVICES)):
            if is_set:
                raise UsageError(
                    f"torchrun or accelerate launch splits the work already, without {flag}.",
                    f"Leave out {flag}.",
                )
        part, own_device = shards.from_launcher(device)
        return part, own_device, None
    if devices != NO_DEVICES:
        from addsr_cli.cli.launcher import Launcher, parse_devices, typed_options

        names = parse_devices(devices)
        launcher = Launcher(names, typed_options(context), str(directory))
        return shards.WHOLE, names[0], launcher
    part = shards.parse_shard(shard) if shard else shards.WHOLE
    return part, device, None


def _session(
    root: Path,
    request: UpscaleOptions,
    shard: "Shard",
    device: str,
    console: Console,
    *,
    retry_failed: bool,
    shard_by_name: bool,
) -> "Session":
    from addsr_cli.batch.session import Session
    from addsr_cli.cli.model_choice import check_like, choose_model
    from addsr_cli.engine.upscaler import Upscaler

    _output_folder(root, request)  # refuses before anything is downloaded
    model = choose_model(
        request.model,
        device,
        console,
        download=not request.dry_run,
    )
    upscaler = Upscaler(model, replace(request.machine, device=device))
    check_like(request.like, request.model, upscaler)
    request = replace(request, settings=upscaler.complete(request.settings))
    output = _output_folder(root, request)  # named after the size, which may be the model's own
    config = _config(
        root,
        output,
        request,
        upscaler,
        retry_failed=retry_failed,
    )
    # A wrong --device or --tile is an error of the command, not of the first photo.
    upscaler.plan(16, 16)
    console.info(f"model {upscaler.spec.name}: {upscaler.located.reason}")
    return Session(
        upscaler=upscaler,
        config=config,
        shard=shard,
        shard_by_name=shard_by_name,
    )


def _config(
    root: Path,
    output: Path,
    request: UpscaleOptions,
    upscaler: "Upscaler",
    *,
    retry_failed: bool,
) -> "BatchConfig":
    from addsr_cli.batch.config import BatchConfig

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


def _output_folder(root: Path, request: UpscaleOptions) -> Path:
    """Return ``-o``, or a folder beside the root named after the size. Raises UsageError."""
    if request.output:
        output = Path(request.output)
        if request.output == "-" or output.is_file():
            raise UsageError(
                f"-o {request.output} is not a folder.", "Give a folder for the outputs."
            )
    else:
        output = _default_output_folder(root, request)
    if output.resolve() == root.resolve():
        raise UsageError(
            f"{str(root)!r} is also the folder of the inputs.", "Choose another folder with -o."
        )
    return output


def _default_output_folder(root: Path, request: UpscaleOptions) -> Path:
    """``photos`` -> ``photos_x4``, or as in ``photos_width1024``."""
    suffix = f"x{request.settings.scale or 4:.3g}"
    for side in ("width", "height", "longest", "shortest"):
        pixels = getattr(request.settings, side)
        if pixels is not None:
            suffix = f"{side}{pixels}"
            break
    absolute = Path(os.path.abspath(root))  # noqa: PTH100 (resolve() would follow links)
    output = absolute.with_name(f"{absolute.name}_{suffix}")
    return output if root.is_absolute() else Path(os.path.relpath(output))


def _run_options(
    batch_size: str,
    *,
    fail_fast: bool,
    keep_tracebacks: bool,
) -> "RunOptions":
    from addsr_cli.batch.pipeline import RunOptions

    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise UsageError(
            f"--batch-size {batch_size} is not a number of photos.", "Use auto, or 1 or more."
        )
    return RunOptions(
        batch_size=None if batch_size == "auto" else int(batch_size),
        fail_fast=fail_fast,
        keep_tracebacks=keep_tracebacks,
    )


def _progress(session: "Session", console: Console) -> BatchProgress:
    config = session.config
    return BatchProgress(console, str(config.root), config.naming.samples)


def _run(
    session: "Session",
    console: Console,
    run_options: "RunOptions",
    launcher: "Launcher | None",
) -> None:
    """Do what is in the folder now, in this process or in those of the launcher."""
    from addsr_cli.batch import shards

    queue = session.scan()
    batch_messages.print_start(session, queue, console)
    progress = _progress(session, console)
    if launcher:
        root = session.config.root
        launcher.known_failures = {str(root / entry.input) for entry in queue.already_failed}
    code = 0
    with _interrupt_handler(console, launcher) as interrupts:
        try:
            with progress.bar(queue.total, queue.input_pixels):
                if launcher:
                    code = launcher.run(progress, console)
                else:
                    session.run(
                        queue,
                        progress,
                        interrupts.should_stop,
                        run_options,
                    )
        except OutputVanished:  # together with the outputs, so there is nothing to summarize
            raise
        except BaseException:
            _summarize(session, progress, queue, console)
            raise
        _summarize(session, progress, queue, console)
    if interrupts.interrupted:
        raise typer.Exit(INTERRUPTED)
    if shards.is_launched():
        shards.wait_for_others()
        session.write_failures()  # again, now with the failures of all processes
    _exit(
        code
        or _exit_code(
            session,
            run_options,
            failed_before=bool(queue.already_failed),
        )
    )


def _summarize(
    session: "Session",
    progress: BatchProgress,
    queue: "WorkQueue",
    console: Console,
) -> None:
    with suppress(OutputRefused):  # the disk is full, which is reported already
        session.write_failures()
    batch_messages.print_summary(session, progress, queue, console)


def _watch(
    session: "Session",
    console: Console,
    run_options: "RunOptions",
    launcher: "Launcher | None",
    *,
    quiet_seconds: float,
) -> None:
    """Do what is in the folder and what arrives there, until Ctrl-C."""
    from addsr_cli.batch.watch import watch

    progress = _progress(session, console)
    root = printable(str(session.config.root))
    console.info(f"watching {root} for new photos; press Ctrl-C to stop")
    code = 0
    with _interrupt_handler(console, launcher) as interrupts:
        try:
            if launcher:
                code = launcher.run(progress, console)
            else:
                watch(
                    session,
                    progress,
                    interrupts.should_stop,
                    run_options,
                    quiet_seconds,
                )
        finally:
            counts = f"{progress.succeeded} done, {progress.failed} failed"
            console.info(f"{counts}; {progress.throughput()}")
    _exit(code or _exit_code(session, run_options, failed_before=False))


def _interrupt_handler(console: Console, launcher: "Launcher | None") -> "InterruptHandler":
    from addsr_cli.batch.interrupt import InterruptHandler

    def on_interrupt() -> None:
        console.info("Stopping after the files in progress; press Ctrl-C again to stop now.")
        if launcher:
            launcher.stop()

    return InterruptHandler(on_interrupt)


def _exit_code(
    session: "Session",
    run_options: "RunOptions",
    *,
    failed_before: bool,
) -> int:
    if run_options.fail_fast and session.first_error:
        return session.first_error.exit_code
    return SOME_FAILED if session.failures or failed_before else 0


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
