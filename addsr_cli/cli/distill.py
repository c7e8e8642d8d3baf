"""``addsr distill``: train a model on a folder of photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console, human_seconds

if TYPE_CHECKING:
    from addsr_cli.train.trainer import Progress

MIX = "clean=0.2,mild=0.1,camera=0.42,strong=0.28"


def distill(
    data: Annotated[Path, typer.Option("--data", help="Folder of sharp, large photos.")],
    run: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Run folder: checkpoints, samples, log, export. [default: runs/ARCH-STAGE]"
        ),
    ] = None,
    arch: Annotated[Literal["nano", "tiny"], typer.Option(help="Which network; tiny is a smoke test.")] = "nano",
    stage: Annotated[Literal["teacher"], typer.Option(help="teacher trains from scratch.")] = "teacher",
    steps: Annotated[int, typer.Option(help="Optimiser steps in all.")] = 20_000,
    batch_size: Annotated[int, typer.Option(help="Samples per step and process.")] = 8,
    crop: Annotated[int, typer.Option(help="Side of the training crops in pixels, a multiple of 16.")] = 160,
    lr: Annotated[float, typer.Option(help="Highest learning rate; it falls to zero as a cosine.")] = 2.5e-3,
    mix: Annotated[str, typer.Option(help="Share of each degradation.")] = MIX,
    ssim_weight: Annotated[float, typer.Option(help="Weight of 1 - SSIM in the loss.")] = 0.8,
    first_step_share: Annotated[float, typer.Option(help="Share of samples trained at the first timestep.")] = 0.8,
    usm: Annotated[bool, typer.Option("--usm", help="Sharpen the targets, as Real-ESRGAN does.")] = False,
    init: Annotated[Path | None, typer.Option(help="Start from this model's weights (a .safetensors file).")] = None,
    resume: Annotated[str | None, typer.Option(help="latest, or the path of a checkpoint.")] = None,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    sample_every: Annotated[int, typer.Option(help="Steps between sample grids.")] = 500,
    log_every: Annotated[int, typer.Option(help="Steps between log lines.")] = 20,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep.")] = 2,
    workers: Annotated[int, typer.Option(help="Processes that prepare pairs; 0 for none.")] = 1,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a model. Stop it with Ctrl-C; the same command with --resume latest goes on as if it had never stopped."""
    from addsr_cli.train.config import TrainConfig, parse_mix
    from addsr_cli.train.trainer import Trainer

    console = Console(quiet=quiet)
    config = TrainConfig(
        data=data,
        output=run or Path("runs") / f"{arch}-{stage}",
        arch=arch,
        stage=stage,
        steps=steps,
        batch_size=batch_size,
        crop=crop,
        lr=lr,
        mix=parse_mix(mix),
        ssim_weight=ssim_weight,
        first_step_share=first_step_share,
        usm=usm,
        init=init,
        save_every=save_every,
        sample_every=sample_every,
        log_every=log_every,
        keep=keep,
        workers=workers,
        seed=seed,
        device=device,
        precision=precision,
    )
    trainer = Trainer(config, lambda progress: console.say(_line(progress)))
    console.say(f"{trainer.photos.summary()} in {data}")
    console.result(str(trainer.run(resume)), {})


def _line(p: "Progress") -> str:
    losses = " ".join(f"{t}:{loss:.4f}" for t, loss in p.by_timestep.items())
    return (
        f"step {p.step}/{p.steps}  loss {p.loss:.4f} ({losses})  grad {p.grad_norm:.3f}  lr {p.lr:.1e}  "
        f"{1 / max(p.seconds_per_step, 1e-9):.2f} it/s  {human_seconds(p.seconds_left)} left"
    )
