"""The models addsr knows, as data."""

from dataclasses import dataclass

from addsr_cli.rules import Rule


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What running a model costs, for planning; bytes are those of float32, per pixel of the enlarged picture.

    ``network`` is working memory over the pixels that the network sees at once, ``pictures`` that of canvas, noise and
    latents over the whole picture; ``flop`` is the work of one step per pixel (a multiply-add counts as two).
    """

    parameters: int
    network: int
    pictures: int
    flop: int


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: its name, what it is, what it costs, whether it reads text, how it is sampled.

    ``shortest`` is the least shorter side of its canvas, ``tile`` and ``overlap`` its favourite tiling; all in pixels.
    """

    name: str
    arch: str
    title: str
    licence: str
    footprint: Footprint
    reads_text: bool
    shortest: int = 0
    rule: Rule = "renoise"
    default_steps: int = 4
    guidance: float = 1.0
    tile: int = 768
    overlap: int = 64


NANO = ModelSpec(
    name="nano",
    arch="nano",
    title="small model trained by this project, bundled with the package",
    licence="Apache-2.0",
    footprint=Footprint(parameters=1_512_016, network=160, pictures=120, flop=38_900),
    reads_text=False,
    overlap=32,
)
SEESR_FOOTPRINT = Footprint(parameters=2_251_900_000, network=4800, pictures=120, flop=15_800_000)
MODELS = {spec.name: spec for spec in (NANO,)}
