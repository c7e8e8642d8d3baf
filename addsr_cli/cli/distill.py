"""``addsr distill``: train a model on a folder of photos."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes, format_seconds
from addsr_cli.errors import UsageError

if TYPE_CHECKING:
    from addsr_cli.train.config import TrainConfig
    from addsr_cli.train.recipe import Recipe
    from addsr_cli.train.trainer import TrainProgress

PLAIN = (
    *("teacher", "d_lr", "lora", "init", "steps", "batch_size", "accumulate", "lr"),
    *(
        "decay",
        "warmup",
        "ema",
        "crop",
        "usm",
        "tags",
        "precompute",
        "validation",
        "workers",
        "save_every",
        "keep",
    ),
    *("lettering", "sample_every", "log_every", "checkpointing", "ema_on_cpu", "tracker"),
)
IN_RECIPE = {
    **{
        name: name
        for name in (
            "adversarial",
            "discriminator",
            "r1",
            "teacher_samples",
            "teacher_sees",
            "rollout",
        )
    },
    **{name: name for name in ("anchor_l1", "anchor_lpips", "teacher_share")},
    **{"first_latent": "first_latent", "distill_weight": "distill", "distill_space": "space"},
}
RUN, STUDENT, DATA, ENGINE = "Run", "Losses and roll-out", "Data", "Engine"


def _option(
    flag: str,
    text: str,
    panel: str,
    *more: str,
) -> Any:  # noqa: ANN401 (typer's own)
    return typer.Option(
        flag,
        *more,
        help=text,
        rich_help_panel=panel,
    )


def distill(
    data: Annotated[Path | None, _option("--data", "Folder of sharp, large photos.", DATA)] = None,
    pairs: Annotated[
        Path | None,
        _option(
            "--pairs", "Folder with hr/ and lr/ (a quarter as large), in place of --data.", DATA
        ),
    ] = None,
    output: Annotated[
        Path | None,
        _option(
            "--output", "Checkpoints, samples, log, export. [default: runs/ARCH-STAGE]", RUN, "-o"
        ),
    ] = None,
    arch: Annotated[
        Literal["addsr", "nano", "tiny"],
        _option("--arch", "Which network; tiny is a smoke test.", RUN),
    ] = "addsr",
    stage: Annotated[
        Literal["student", "teacher"],
        _option(
            "--stage", "student distils a teacher; teacher trains one on the originals alone.", RUN
        ),
    ] = "student",
    preset: Annotated[
        Literal["paper", "official", "lowmem"],
        _option("--preset", "The paper's, the released trainer's, or for a 16 GB card.", RUN),
    ] = "paper",
    teacher: Annotated[
        str | None,
        _option(
            "--teacher",
            "Model to distil, or a Real-ESRGAN file. [default: seesr; nano for --arch nano]",
            STUDENT,
        ),
    ] = None,
    ta: Annotated[
        Literal["exponential", "linear", "none"] | None,
        _option(
            "--ta", "How the distillation loss grows over the steps; none is plain ADD.", STUDENT
        ),
    ] = None,
    mu: Annotated[
        float | None, _option("--mu", "Weight at the first step. [default: 0.5]", STUDENT)
    ] = None,
    nu: Annotated[
        float | None, _option("--nu", "Its growth per step. [default: 2.1]", STUDENT)
    ] = None,
    adversarial: Annotated[
        float | None,
        _option(
            "--adversarial",
            "Weight of the adversarial loss. [default: 0.02; 0.0005 for nano]",
            STUDENT,
        ),
    ] = None,
    distill_weight: Annotated[
        float | None,
        _option("--distill-weight", "Weight of the distance to the teacher. [default: 1]", STUDENT),
    ] = None,
    discriminator: Annotated[
        Literal["dino", "vgg", "conv"] | None,
        _option(
            "--discriminator",
            "On features of DINO or VGG16, or conv on pixels. [default: by --arch]",
            STUDENT,
        ),
    ] = None,
    d_lr: Annotated[
        float | None, _option("--d-lr", "The discriminator's learning rate.", STUDENT)
    ] = None,
    r1: Annotated[
        float | None, _option("--r1", "Weight of the R1 penalty. [default: 0]", STUDENT)
    ] = None,
    teacher_samples: Annotated[
        int | None, _option("--teacher-samples", "Teacher timesteps per sample, averaged.", STUDENT)
    ] = None,
    teacher_share: Annotated[
        float | None,
        _option(
            "--teacher-share", "Share of samples compared with the teacher. [default: 1]", STUDENT
        ),
    ] = None,
    teacher_sees: Annotated[
        Literal["hr", "lr"] | None,
        _option("--teacher-sees", "The teacher's control image. [default: hr]", STUDENT),
    ] = None,
    distill_space: Annotated[
        Literal["pixel", "latent"] | None,
        _option(
            "--distill-space", "Where student and teacher are compared. [default: pixel]", STUDENT
        ),
    ] = None,
    rollout: Annotated[
        Literal["teacher-forced", "chained"] | None,
        _option(
            "--rollout",
            "What comes before the trained step: one pass from HR, or what inference runs.",
            STUDENT,
        ),
    ] = None,
    first_latent: Annotated[
        Literal["hr", "lr"] | None,
        _option("--first-latent", "What lies under the noise at 999.", STUDENT),
    ] = None,
    psr_train_weight: Annotated[
        str | None,
        _option(
            "--psr-train-weight",
            "A number or uniform:0.4,1.0. [default: 1.0; uniform:0.2,0.7 for nano]",
            STUDENT,
        ),
    ] = None,
    anchor_l1: Annotated[
        float | None, _option("--anchor-l1", "Weight of the L1 distance to HR.", STUDENT)
    ] = None,
    perception: Annotated[
        str | None,
        _option(
            "--perception",
            "Weights of the adversarial loss at t=999,749,499,249. [default: 1,1,1,1]",
            STUDENT,
        ),
    ] = None,
    anchor_lpips: Annotated[
        float | None, _option("--anchor-lpips", "Weight of LPIPS (VGG16) to HR.", STUDENT)
    ] = None,
    lora: Annotated[
        int | None, _option("--lora", "Train low-rank corrections of this rank.", STUDENT)
    ] = None,
    init: Annotated[
        Path | None, _option("--init", "Start from this .safetensors file.", RUN)
    ] = None,
    resume: Annotated[
        str | None, _option("--resume", "latest, or the path of a checkpoint.", RUN)
    ] = None,
    steps: Annotated[int | None, _option("--steps", "Optimiser steps in all.", RUN)] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", "Samples per batch and process.", RUN)
    ] = None,
    accumulate: Annotated[
        int | None, _option("--accumulate", "Batches per optimiser step. [default: 1]", RUN)
    ] = None,
    lr: Annotated[float | None, _option("--lr", "Highest learning rate.", RUN)] = None,
    decay: Annotated[
        Literal["cosine", "constant"] | None,
        _option("--decay", "How the learning rate goes on.", RUN),
    ] = None,
    warmup: Annotated[
        int | None, _option("--warmup", "Steps over which the learning rate rises.", RUN)
    ] = None,
    ema: Annotated[
        float | None, _option("--ema", "Decay of the averaged weights, which are exported.", RUN)
    ] = None,
    crop: Annotated[
        int | None, _option("--crop", "Side of the crops in pixels, a multiple of 16.", DATA)
    ] = None,
    degradation: Annotated[
        Literal["strong", "sensor", "camera", "mild", "clean", "chroma", "blocks", "print"] | None,
        _option("--degradation", "One recipe for all.", DATA),
    ] = None,
    mix: Annotated[str | None, _option("--mix", "Shares, as clean=0.4,strong=0.6.", DATA)] = None,
    scales: Annotated[
        str | None,
        _option(
            "--scales",
            "How many times smaller inputs are, as 1:4. [default: 1:4; 4 for addsr]",
            DATA,
        ),
    ] = None,
    lettering: Annotated[
        float | None,
        _option(
            "--lettering", "Share of crops with drawn text. [default: 0.07; 0 for addsr]", DATA
        ),
    ] = None,
    usm: Annotated[
        bool | None, _option("--usm/--no-usm", "Sharpen targets, as Real-ESRGAN does.", DATA)
    ] = None,
    tags: Annotated[
        Literal["auto", "none"] | None,
        _option(
            "--tags",
            "auto takes PHOTO.txt or reads them off the crop; none leaves text empty.",
            DATA,
        ),
    ] = None,
    precompute: Annotated[
        bool | None,
        _option("--precompute/--no-precompute", "Read the tags of every photo once, before.", DATA),
    ] = None,
    validation: Annotated[
        int | None,
        _option("--validation", "Photos kept out and measured in the end. [default: 0]", DATA),
    ] = None,
    workers: Annotated[
        int | None, _option("--workers", "Processes that prepare pairs; 0 for none.", ENGINE)
    ] = None,
    save_every: Annotated[
        int | None, _option("--save-every", "Steps between checkpoints.", ENGINE)
    ] = None,
    sample_every: Annotated[
        int | None, _option("--sample-every", "Steps between sample grids.", ENGINE)
    ] = None,
    log_every: Annotated[
        int | None, _option("--log-every", "Steps between log lines. [default: 20]", ENGINE)
    ] = None,
    keep: Annotated[
        int | None, _option("--keep", "Checkpoints to keep. [default: 2]", ENGINE)
    ] = None,
    checkpointing: Annotated[
        bool | None,
        _option("--checkpointing/--no-checkpointing", "Less memory for a third more time.", ENGINE),
    ] = None,
    ema_on_cpu: Annotated[
        bool | None,
        _option("--ema-on-cpu/--ema-on-device", "Where the averaged weights lie.", ENGINE),
    ] = None,
    tracker: Annotated[
        str | None, _option("--tracker", "tensorboard or wandb, if installed.", ENGINE)
    ] = None,
    memory: Annotated[
        str | None,
        _option("--memory", "With --dry-run: plan for a card of this size, such as 40G.", ENGINE),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a model. Stop it with Ctrl-C; the same command with --resume latest goes on as if it had never stopped."""
    chosen = dict(locals())
    from addsr_cli.train.config import TrainConfig, parse_mix, parse_scales
    from addsr_cli.train.recipe import run_defaults

    console = Console(
        json=json,
        quiet=quiet,
        debug=debug,
    )
    card = options.memory(memory, "--memory", card=True)
    if card and not dry_run:
        raise UsageError("--memory says for which card to plan.", "Add --dry-run.")
    given: dict[str, Any] = {name: chosen[name] for name in PLAIN if chosen[name] is not None}
    if mix or degradation:
        given["mix"] = parse_mix(mix) if mix else ((str(degradation), 1.0),)
    if scales:
        given["scales"] = parse_scales(scales)
    config = TrainConfig(
        **run_defaults(arch, stage, preset) | given,
        **_folders(data, pairs),
        output=output or Path("runs") / f"{arch}-{stage}",
        arch=arch,
        stage=stage,
        recipe=_recipe(chosen),
        seed=seed,
        device=device,
        precision=precision,
    )
    if dry_run:
        _show_plan(config, card, console)
        return
    from addsr_cli.train.trainer import Trainer

    trainer = Trainer(config, lambda progress: console.info(_line(progress)))
    main = trainer.accelerator.is_main_process  # of several processes one talks
    if main:
        console.info(f"{trainer.photos.summary()} in {config.data}")
    folder = trainer.run(resume)
    if main:
        console.result(str(folder), {"status": "ok", "output": str(folder), "steps": config.steps})


def _folders(data: Path | None, pairs: Path | None) -> dict[str, Any]:
    """HR folder, and LR folder when pairs are given."""
    if (data is None) == (pairs is None):
        raise UsageError(
            "Give either --data or --pairs.", "--data takes a folder of sharp, large photos."
        )
    if pairs is None:
        return {"data": data, "pairs": None}
    found = {
        part: next((pairs / name for name in names if (pairs / name).is_dir()), None)
        for part, names in PAIRED
    }
    if None in found.values():
        raise UsageError(
            f"{pairs} does not hold hr/ and lr/.",
            "Put photos into hr/ and their quarters into lr/.",
        )
    return {"data": found["hr"], "pairs": found["lr"]}


PAIRED = (("hr", ("hr", "HR", "gt")), ("lr", ("lr", "LR")))


def _recipe(chosen: dict[str, Any]) -> "Recipe":
    """The preset with what was chosen otherwise."""
    from addsr_cli.train.recipe import preset, psr_range, timestep_weights

    recipe = preset(chosen["preset"], chosen["arch"], chosen["stage"])
    weights = {name: chosen[name] for name in ("mu", "nu") if chosen[name] is not None}
    if chosen["ta"]:
        weights["form"] = chosen["ta"]
    changes = {field: chosen[name] for name, field in IN_RECIPE.items() if chosen[name] is not None}
    if chosen["psr_train_weight"]:
        changes["psr"] = psr_range(chosen["psr_train_weight"])
    if chosen["perception"]:
        changes["perception"] = timestep_weights(chosen["perception"])
    return replace(recipe, ta=replace(recipe.ta, **weights), **changes)


def _line(p: "TrainProgress") -> str:
    losses = " ".join(f"{t}:{loss:.4f}" for t, loss in p.by_timestep.items())
    values = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in p.values.items())
    return (
        f"step {p.step}/{p.steps}  {values}  ({losses})  lr {p.lr:.1e}  {format_bytes(p.memory)}  "
        f"{1 / max(p.seconds_per_step, 1e-9):.2f} it/s  {format_seconds(p.seconds_left)} left"
    )


def _show_plan(config: "TrainConfig", card: int | None, console: Console) -> None:
    from addsr_cli.train.budget import budget
    from addsr_cli.train.data.dataset import find_photos

    found, plan = find_photos(config.data, config.crop, config.pairs), budget(config, card)
    console.info(f"{found.summary()} in {config.data}")
    console.result(plan.text(), plan.record())
