"""The record of the bundled networks of dense residual blocks, ``nano`` and ``small``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models import paper_settings
from addsr_cli.models.architecture import (
    Architecture,
    Footprint,
    Kernel,
    LoadOptions,
    ModelSpec,
    TrainingCost,
    TrainingOptions,
    TrainingSetup,
    Workload,
)

if TYPE_CHECKING:
    from addsr_cli.models.restorer import Restorer
    from addsr_cli.models.trainable import TrainableModel

KERNEL = Kernel(
    channels=64,
    side=128,
    efficiency_fp32=0.84,
    efficiency_half=0.79,
)
NANO = ModelSpec(
    name="nano",
    arch="nano",
    title="fast model trained by this project, bundled with the package",
    licence="Apache-2.0 and BSD-3-Clause",
    footprint=Footprint(
        parameters=3_095_212,
        network=260,
        network_half=95,
        network_in_strips=130,
        pictures=120,
        flop=397_000,
        kernel=KERNEL,
    ),
    reads_text=False,
    default_steps=1,
    most_steps=1,
    tile=1344,
    overlap=0,
    halo=112,
    strip=256,
)
SMALL = ModelSpec(
    name="small",
    arch="nano",
    title="sharper and slower model trained by this project, bundled with the package",
    licence="Apache-2.0 and BSD-3-Clause",
    footprint=Footprint(
        parameters=5_356_675,
        network=600,
        network_half=490,
        network_in_strips=420,
        pictures=120,
        flop=757_000,
        kernel=KERNEL,
    ),
    reads_text=False,
    default_steps=1,
    most_steps=1,
    tile=1024,
    overlap=0,
    halo=160,
    strip=256,
)
DENSE_BLOCKS_OF_NANO = 12  # a network with more of them is planned like ``small``


def _spec(file: Path) -> ModelSpec:
    from addsr_cli.models.nano.layers import BLOCK
    from addsr_cli.models.nano.restorer import stored_config

    config = stored_config(file)
    if config is None:
        return NANO
    spec = SMALL if sum(config.groups) > DENSE_BLOCKS_OF_NANO else NANO
    return replace(spec, most_steps=None, halo=BLOCK * config.halo)


def _load(file: Path, options: LoadOptions) -> "Restorer":
    from addsr_cli.models.nano.doubling import split_into_phases
    from addsr_cli.models.nano.restorer import load_nano

    nano = load_nano(file)
    nano.net.eval().requires_grad_(False)
    split_into_phases(nano.net)
    nano.net.to(device=options.device, dtype=options.dtype)
    if options.compiled:
        nano.net.compile()
    return cast("Restorer", nano)


def _problems(file: Path) -> tuple[str, ...]:
    """Load the model: loading checks names, shapes and values."""
    from addsr_cli.models.nano.restorer import load_nano

    try:
        load_nano(file)
    except ModelUnavailable as exc:
        return (exc.message,)
    return ()


def _build(options: TrainingOptions) -> "TrainableModel":
    from addsr_cli.models.nano.training import build_trainable

    return build_trainable(options)


def _cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    from addsr_cli.models.nano.training import training_cost

    return training_cost(options, work)


def _build_tiny(options: TrainingOptions) -> "TrainableModel":
    from addsr_cli.models.nano.training import TINY, build_trainable

    return build_trainable(options, TINY)


def _tiny_cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    from addsr_cli.models.nano.training import TINY, training_cost

    return training_cost(options, work, TINY)


# There is no text, the teacher may know four timesteps only, and a network this small has to train
# on what inference shows it.
RECIPE = {
    "discriminator": "conv",
    "timesteps": "official",
    "first_latent": "lr",
    "rollout": "chained",
    "psr": (0.2, 0.7),
    "teacher_timesteps": "student",
    "teacher_samples": 1,
    "adversarial": 0.0005,
    "text_dropout": 0.0,
}
TRAIN_NANO = TrainingSetup(
    name="nano",
    build=_build,
    cost=_cost,
    defaults={"student": {"steps": 3000, "lr": 2e-4, "d_lr": 3e-4}},
    recipe=RECIPE,
)
TRAIN_TINY = TrainingSetup(
    name="tiny-nano",
    build=_build_tiny,
    cost=_tiny_cost,
    defaults={
        "student": {**paper_settings.RUN, "crop": 64},
        "teacher": {"batch_size": 2, "crop": 64},
    },
    presets={
        "paper": paper_settings.PAPER,
        "official": paper_settings.OFFICIAL,
        "lowmem": paper_settings.PAPER,
    },
    recipe={"discriminator": "conv"},
)
ARCHITECTURE = Architecture(
    name="nano",
    spec=_spec,
    load=_load,
    problems=_problems,
    one_network=True,
    bundled=(NANO, SMALL),
    training=(TRAIN_NANO, TRAIN_TINY),
)
