"""The record of StableSR's networks: StableSR, StableSR-Turbo and StableSR-768v."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from addsr_cli.models.architecture import (
    Architecture,
    Footprint,
    LoadOptions,
    ModelSpec,
    SharedDecoder,
)
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.seesr.architecture import LATENTS
from addsr_cli.models.stablesr.published import PUBLISHED

if TYPE_CHECKING:
    from addsr_cli.models.restorer import Restorer

PARTS = ("unet", "adapter", "vae", "fusion", "text_encoder", "tokenizer", "scheduler")
OVERLAP = 256  # pixels; the authors' default
# Per pixel, as counted on the networks: convolutions and what else does not depend on the tile, and
# attention, per latent pixel of a tile
STEP_FLOP = 3_080_000  # UNet and time-aware encoder
ATTENTION_FLOP = 147
CODEC_FLOP = 26_900_000  # once: encoder, its features again, fusion, decoder
FUSION_FLOP = 12_900_000  # of these, what the plain encoder and decoder do not need


def step_flop(tile: int) -> int:
    """Return the operations of one step per pixel, for tiles of so many pixels per side."""
    return STEP_FLOP + ATTENTION_FLOP * (tile // 8) ** 2


STABLESR = ModelSpec(
    name="stablesr",
    arch="stablesr",
    title="StableSR",
    licence="unknown",
    footprint=Footprint(
        parameters=1_440_000_000,
        network=5200,
        pictures=120,
        flop=step_flop(512),
    ),
    reads_text=True,
    shortest_side=512,
    scheduler="linspace",
    default_steps=200,
    tile=512,
    smallest_tile=512,
    overlap=OVERLAP,
    dials_decoder=True,
    latents=LATENTS,
)


def _spec(record: Path) -> ModelSpec:
    """Describe a bundle. The networks know one size of tile: that which they were trained at."""
    bundle = Bundle.read(record.parent)
    return replace(
        STABLESR,
        name=bundle.name,
        title=f"bundle in {record.parent}",
        licence=bundle.licence,
        footprint=replace(
            STABLESR.footprint,
            parameters=bundle.parameters,
            flop=step_flop(bundle.shortest_side) + CODEC_FLOP // bundle.default_steps,
        ),
        shortest_side=bundle.shortest_side,
        scheduler=bundle.scheduler,
        default_steps=bundle.default_steps,
        guidance=bundle.guidance,
        tile=bundle.shortest_side,
        smallest_tile=bundle.shortest_side,
        overlap=min(OVERLAP, bundle.shortest_side // 2),
    )


def _load(record: Path, options: LoadOptions) -> "Restorer":
    from addsr_cli.models.stablesr.loading import load_bundle

    stablesr = load_bundle(
        record.parent,
        device=options.device,
        dtype=options.dtype,
    )
    if options.compiled:
        stablesr.unet.unet.compile()
        stablesr.unet.adapter.encoder.compile()
    return cast("Restorer", stablesr)


def _problems(record: Path) -> tuple[str, ...]:
    """Check the values of all weights; keys and shapes are checked when the model loads."""
    from addsr_cli.models.checks import problems_in

    return problems_in(record.parent)


def _attach(network: "Restorer", folder: Path, options: LoadOptions) -> None:
    from addsr_cli.models.seesr.stable_diffusion import StableDiffusion
    from addsr_cli.models.stablesr.loading import attach_fusion

    attach_fusion(cast("StableDiffusion", network), folder, options.device, options.dtype)


CFW = SharedDecoder(
    name="cfw",
    folder="fusion",
    latents=LATENTS,
    parameters=44_393_728,
    flop=FUSION_FLOP,
    attach=_attach,
)
ARCHITECTURE = Architecture(
    name="stablesr",
    spec=_spec,
    load=_load,
    problems=_problems,
    paper="https://arxiv.org/abs/2305.07015",
    published=PUBLISHED,
    decoder=CFW,
)
