"""The models addsr knows, as data."""

from dataclasses import dataclass

from addsr_cli.schedulers import Scheduler


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What running a model costs, for planning; bytes are those of float32, per pixel of the enlarged picture.

    ``network`` is working memory over the pixels that the network sees at once, ``pictures`` that
    of canvas, noise and latents over the whole picture; ``flop`` is the work of one step per pixel
    (a multiply-add counts as two). Of the ``parameters``, ``always_fp32`` stay in float32 whatever
    the precision.
    """

    parameters: int
    network: int
    pictures: int
    flop: int
    always_fp32: int = 0

    def weights(self, size: int) -> int:
        """Bytes of all weights in a precision of ``size`` bytes a number."""
        wide = min(self.always_fp32, self.parameters)
        return 4 * wide + size * (self.parameters - wide)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: its name, what it is, what it costs, whether it reads text, how it is sampled.

    ``shortest`` is the least shorter side of its canvas, ``tile`` and ``overlap`` its favourite
    tiling; all in pixels. ``halo`` is what a tile sees around itself where the network's reach is
    finite (see ``Restorer``), so that tiles change nothing and may be of any size; where it is None
    the size of tiles shows a little in the picture.
    """

    name: str
    arch: str
    title: str
    licence: str
    footprint: Footprint
    reads_text: bool
    shortest: int = 0
    rule: Scheduler = "renoise"
    default_steps: int = 4
    guidance: float = 1.0
    tile: int = 768
    overlap: int = 64
    halo: int | None = None


NANO = ModelSpec(
    name="nano",
    arch="nano",
    title="small model trained by this project, bundled with the package",
    licence="Apache-2.0",
    footprint=Footprint(
        parameters=1_512_016,
        network=160,
        pictures=120,
        flop=38_900,
    ),
    reads_text=False,
    tile=1024,
    overlap=0,
    halo=112,
)
SEESR_FOOTPRINT = Footprint(
    parameters=2_251_900_000,
    network=4800,
    pictures=120,
    flop=15_800_000,
    always_fp32=212_117_045,
)
SMALL = ModelSpec(
    name="small",
    arch="nano",
    title="sharper and slower model trained by this project, bundled with the package",
    licence="Apache-2.0 and BSD-3-Clause",
    footprint=Footprint(
        parameters=5_328_067,
        network=420,
        pictures=120,
        flop=805_000,
    ),
    reads_text=False,
    default_steps=1,
    tile=1024,
    overlap=0,
    halo=160,
)
MODELS = {spec.name: spec for spec in (NANO, SMALL)}
