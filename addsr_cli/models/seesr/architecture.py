"""The record of SeeSR's networks: SeeSR itself, AddSR and SeeSR-Turbo."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from addsr_cli.models import paper_settings
from addsr_cli.models.architecture import (
    Architecture,
    Footprint,
    LoadOptions,
    ModelSpec,
    OfficialTiles,
    TrainingCost,
    TrainingOptions,
    TrainingSetup,
    Workload,
)
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.seesr.published import PUBLISHED

if TYPE_CHECKING:
    from addsr_cli.models.restorer import Restorer
    from addsr_cli.models.seesr.restorer import SeeSR
    from addsr_cli.models.trainable import TrainableModel

LATENTS = "Stable Diffusion 2"
PARTS = ("unet", "controlnet", "vae", "text_encoder", "tokenizer", "tagger")
FOOTPRINT = Footprint(
    parameters=2_251_900_000,
    network=4800,
    pictures=120,
    flop=15_800_000,
    always_fp32=212_117_045,  # the tagger
)
ADDSR_TILES = OfficialTiles(tile=2560, overlap=32)  # 320 and 4 pixels of the latent
RANDOM = ModelSpec(
    name="random",
    arch="seesr",
    title="the full model with random weights",
    licence="random numbers",
    footprint=FOOTPRINT,
    reads_text=True,
    latents=LATENTS,
    shortest_side=512,
    tile=768,
    overlap=192,
    official_tiles=ADDSR_TILES,
)


def _spec(record: Path) -> ModelSpec:
    bundle = Bundle.read(record.parent)
    return replace(
        RANDOM,
        name=bundle.name,
        title=f"bundle in {record.parent}",
        licence=bundle.licence,
        footprint=replace(FOOTPRINT, parameters=bundle.parameters),
        shortest_side=bundle.shortest_side,
        scheduler=bundle.scheduler,
        default_steps=bundle.default_steps,
        guidance=bundle.guidance,
        # SeeSR's own program has other tiles, and tiles its encoder too.
        official_tiles=ADDSR_TILES if bundle.scheduler == "consistency" else None,
    )


def _load(record: Path, options: LoadOptions) -> "Restorer":
    from addsr_cli.models.seesr.loading import load_bundle

    seesr = load_bundle(
        record.parent,
        device=options.device,
        dtype=options.dtype,
    )
    return _compiled(seesr, options)


def _random(options: LoadOptions) -> "Restorer":
    from addsr_cli.models.seesr.random_weights import random_seesr

    return _compiled(random_seesr(options.device, options.dtype), options)


def _compiled(seesr: "SeeSR", options: LoadOptions) -> "Restorer":
    if options.compiled:
        seesr.unet.compile()
        seesr.controlnet.compile()
    return cast("Restorer", seesr)


def _problems(record: Path) -> tuple[str, ...]:
    """Check the values of all weights; keys and shapes are checked when the model loads."""
    from addsr_cli.models.checks import problems_in

    return problems_in(record.parent)


def _build(options: TrainingOptions) -> "TrainableModel":
    from addsr_cli.models.seesr.training import TrainableSeeSR

    return TrainableSeeSR(
        options.locate(options.teacher or "seesr").parent,
        dtype=options.dtype,
        lora=options.lora,
        checkpointing=options.checkpointing,
    )


def _cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    from addsr_cli.models.seesr.training_cost import training_cost

    return training_cost(options, work)


def _build_tiny(options: TrainingOptions) -> "TrainableModel":
    from addsr_cli.models.seesr.tiny import TrainableTiny

    return TrainableTiny(options)


def _tiny_cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    from addsr_cli.models.seesr.tiny import tiny_cost

    return tiny_cost(options, work)


TRAIN_ADDSR = TrainingSetup(
    name="addsr",
    build=_build,
    cost=_cost,
    defaults={
        "student": {**paper_settings.RUN, "save_every": 5000, "sample_every": 1000},
    },
    presets={
        "paper": paper_settings.PAPER,
        "official": paper_settings.OFFICIAL,
        "lowmem": {
            **paper_settings.PAPER,
            "batch_size": 1,
            "accumulate": 6,
            "checkpointing": True,
            "ema_on_cpu": True,
            "shard_optimizer": True,
        },
    },
    needs="a CUDA GPU with 16 GB or more",
    teacher="SeeSR",
    lora=True,
    small=False,
)
TRAIN_TINY = TrainingSetup(
    name="tiny",
    build=_build_tiny,
    cost=_tiny_cost,
    defaults={"student": {**paper_settings.RUN, "crop": 64}},
    presets={
        "paper": paper_settings.PAPER,
        "official": paper_settings.OFFICIAL,
        "lowmem": paper_settings.PAPER,
    },
    teacher="a tiny random network",
    lora=True,
    random=True,
)
ARCHITECTURE = Architecture(
    name="seesr",
    spec=_spec,
    load=_load,
    problems=_problems,
    random=_random,
    random_spec=RANDOM,
    training=(TRAIN_ADDSR, TRAIN_TINY),
    published=PUBLISHED,
)
