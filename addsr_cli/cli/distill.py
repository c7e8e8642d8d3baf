"""``addsr distill``: train a model on a folder of photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes, format_seconds
from addsr_cli.cli.takes_options import Only, OverridesOf, takes_options
from addsr_cli.errors import UsageError
from addsr_cli.settings import DegradationName
from addsr_cli.train.config import ArchOption, StageOption, TrainConfig, configure
from addsr_cli.train.option_panels import DATA, RUN, train_option
from addsr_cli.train.plan_options import PlannedGpus

if TYPE_CHECKING:
    from addsr_cli.train.trainer import TrainProgress

HR_NAMES = ("hr", "HR", "gt")
LR_NAMES = ("lr", "LR")


@takes_options
def distill(
    overrides: Annotated[dict[str, Any], OverridesOf(TrainConfig)],
    planned: PlannedGpus,
    console: Annotated[Console, Only("json", "quiet", "debug")],
    arch: ArchOption = "addsr",
    stage: StageOption = "student",
    preset: Annotated[
        Literal["paper", "official", "lowmem"],
        train_option("The paper's, the released trainer's, or for a GPU with 16 GB.", RUN),
    ] = "paper",
    resume: Annotated[
        str | None, train_option("latest, auto (latest if there is one), or a checkpoint.", RUN)
    ] = None,
    degradation: Annotated[
        DegradationName | None, train_option("One degradation for all crops.", DATA)
    ] = None,
    dry_run: options.DryRun = False,
) -> None:
    """Train a model. After Ctrl-C, the same command with --resume latest continues the run."""
    if (planned.memory or planned.gpu) and not dry_run:
        raise UsageError("--memory and --gpu name a GPU to plan for.", "Add --dry-run.")
    overrides |= _photo_folders(overrides.pop("data", None), overrides.pop("pairs", None))
    if degradation:
        overrides.setdefault("mix", ((degradation, 1.0),))
    config = configure(arch, stage, preset, overrides)
    if dry_run:
        show = _show_scaling if planned.gpu else _show_plan
        show(config, planned, console)
        return
    from addsr_cli.train.trainer import Trainer

    trainer = Trainer(config, lambda progress: console.info(_progress_line(progress)))
    is_main = trainer.accelerator.is_main_process  # one of several processes prints
    if is_main:
        console.info(trainer.photos.located())
    folder = trainer.run(resume)
    if is_main:
        record = {"status": "ok", "output": str(folder), "steps": config.steps}
        console.result(str(folder), record)


def _photo_folders(data: tuple[Path, ...] | None, pairs: Path | None) -> dict[str, Any]:
    """The HR folders as ``data``, and the LR folder as ``pairs`` when ``--pairs`` was used."""
    if (data is None) == (pairs is None):
        raise UsageError(
            "Give either --data or --pairs.", "--data takes a folder of sharp, large photos."
        )
    if data is not None:
        return {"data": data}
    hr = _first_folder(pairs, HR_NAMES)
    lr = _first_folder(pairs, LR_NAMES)
    if hr is None or lr is None:
        raise UsageError(
            f"{pairs} does not hold hr/ and lr/.",
            "Put photos into hr/ and their quarters into lr/.",
        )
    return {"data": (hr,), "pairs": lr}


def _first_folder(parent: Path | None, names: tuple[str, ...]) -> Path | None:
    folders = [parent / name for name in names] if parent else []
    return next((folder for folder in folders if folder.is_dir()), None)


def _progress_line(p: "TrainProgress") -> str:
    losses = " ".join(f"{t}:{loss:.4f}" for t, loss in p.by_timestep.items())
    values = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in p.values.items())
    steps_per_second = 1 / max(p.seconds_per_step, 1e-9)
    return (
        f"step {p.step}/{p.steps}  {values}  ({losses})  lr {p.lr:.1e}  {format_bytes(p.memory)}  "
        f"{steps_per_second:.2f} it/s  {format_seconds(p.seconds_left)} left"
    )


def _show_plan(
    config: TrainConfig,
    planned: PlannedGpus,
    console: Console,
) -> None:
    from addsr_cli.train.budget import budget
    from addsr_cli.train.data.dataset import photos_of
    from addsr_cli.train.data.rate import Preparation

    photos = photos_of(config)
    plan = budget(config, planned.memory)
    console.info(photos.located())
    preparation = Preparation.measured(photos, config, plan.samples_per_second(config))
    console.result(
        f"{plan.text()}\n{preparation.text()}",
        plan.record() | preparation.record(),
    )


def _show_scaling(
    config: TrainConfig,
    planned: PlannedGpus,
    console: Console,
) -> None:
    from addsr_cli.train.data.dataset import photos_of
    from addsr_cli.train.data.rate import Preparation
    from addsr_cli.train.scaling import GPUS, paces, plan_for, table

    assert planned.gpu is not None
    gpu = GPUS[planned.gpu]
    run = paces(config, gpu, planned.gpus, planned.network)
    plan = plan_for(config, gpu, planned.gpus)
    photos = photos_of(config)
    console.info(photos.located())
    preparation = Preparation.measured(photos, config, run[-1].per_second / planned.gpus)
    scaling = [pace.record(run[0]) for pace in run]
    console.result(
        f"{plan.text()}\n{table(run, planned.network)}\n{preparation.text()}",
        plan.record() | {"scaling": scaling} | preparation.record(),
    )
