"""What the rest of the package knows about an architecture: one record, which loads nothing heavy.

A record holds data and functions; the functions import torch and the networks when they are called.
``registry`` lists the records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from addsr_cli.models.bundle import single_file
from addsr_cli.models.published import PublishedModel
from addsr_cli.schedulers import Scheduler

if TYPE_CHECKING:
    import torch

    from addsr_cli.models.one_pass import OnePassNetwork
    from addsr_cli.models.restorer import Restorer
    from addsr_cli.models.trainable import TrainableModel

# Resident memory of interpreter, libraries and codecs at the peak of upscaling one small photo
# (Linux, torch 2.13).
RUNTIME_BYTES = 300_000_000
Network: TypeAlias = "Restorer | OnePassNetwork"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A 3x3 convolution like those of a network, by which a machine's speed is measured.

    It has ``channels`` in and out and runs over ``side`` x ``side`` pixels of its own grid. Of its
    rate in FLOP/s the whole network reaches ``efficiency_fp32`` in float32 and ``efficiency_half``
    in half precision, as measured: other layers only move numbers.
    """

    channels: int = 320
    side: int = 64
    efficiency_fp32: float = 0.75
    efficiency_half: float = 0.7

    def efficiency(self, size: int) -> float:
        """Return the network's share of the rate at ``size`` bytes per number."""
        return self.efficiency_fp32 if size == 4 else self.efficiency_half


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Cost of running a model, for planning. Bytes are those of float32, per canvas pixel.

    ``network`` is the working memory over the pixels that the network sees at once. In half
    precision it is ``network_half``, where that is not the half because some layers stay in
    float32; in strips of rows it is ``network_in_strips``. ``pictures`` is the memory of canvas,
    noise, latents and results over the part that is at work, ``latents`` that of what stays whole
    when blended tiles are run one by one; ``flop`` counts the operations of one step per pixel (a
    multiply-add is two), ``kernel`` stands for them. Of the ``parameters``, ``always_fp32`` stay in
    float32 at every precision. With ``by_rows``, pictures exist for two rows of tiles only, also
    where tiles are not blended. ``runtime`` is what interpreter and libraries take, in bytes.
    """

    parameters: int
    network: int
    pictures: int
    flop: int
    always_fp32: int = 0
    kernel: Kernel = Kernel()
    latents: int = 8
    by_rows: bool = False
    network_half: int | None = None
    network_in_strips: int | None = None
    runtime: int = RUNTIME_BYTES

    def activations(self, size: int, *, in_strips: bool = False) -> float:
        """Return the network's bytes per pixel at a precision of ``size`` bytes per number."""
        if in_strips and self.network_in_strips is not None:
            return self.network_in_strips * size / 4
        if size == 2 and self.network_half is not None:
            return self.network_half
        return self.network * size / 4

    def weights(self, size: int) -> int:
        """Return the bytes of all weights at a precision of ``size`` bytes per number."""
        wide = min(self.always_fp32, self.parameters)
        return 4 * wide + size * (self.parameters - wide)


@dataclass(frozen=True, kw_only=True)
class OfficialTiles:
    """How a model's own program cuts large pictures, in canvas pixels.

    Canvases of more than ``tile`` squared are cut into tiles of that side, which overlap by
    ``overlap``. Encoding is not tiled, and how decoding is remains the ``Restorer``'s business (see
    ``Conditioning.official_tiles``).
    """

    tile: int
    overlap: int


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: its architecture, cost, capabilities and sampling defaults.

    More steps than ``most_steps``, where it is set, would only harm the picture, and are not run.
    ``shortest_side`` is the least shorter side of the canvas, ``tile`` and ``overlap`` are the
    preferred tiling; all in pixels. Smaller tiles than ``smallest_tile`` are used only where memory
    or the user wants them; by default half of ``tile``. ``dials_decoder`` says that the fidelity a
    user asks for is a dial of the decoder, so that it changes neither steps nor blending.
    ``halo`` is how far the network sees beyond a tile where its
    receptive field is finite (see ``Restorer``): tiles then change nothing and may be of any size.
    Where it is None, the size of the tiles shows slightly in the picture. ``strip`` is the height
    of strips that a ``RowStreaming`` network runs fast in, 0 for others. ``latents`` names their
    space, "" where no other model has the same. ``native_scale`` is the
    factor of a network that answers in one pass, without steps, noise or text (``OnePassNetwork``);
    its canvas is its own output. None for models that sample at any size. ``official_tiles`` is
    known where this package can repeat how the model's own program cuts pictures.
    """

    name: str
    arch: str
    title: str
    licence: str
    footprint: Footprint
    reads_text: bool
    shortest_side: int = 0
    scheduler: Scheduler = "consistency"
    default_steps: int = 4
    most_steps: int | None = None
    guidance: float = 1.0
    tile: int = 768
    overlap: int = 64
    smallest_tile: int = 0
    halo: int | None = None
    strip: int = 0
    dials_decoder: bool = False
    latents: str = ""
    native_scale: int | None = None
    official_tiles: OfficialTiles | None = None

    @property
    def invents_by_seed(self) -> bool:
        """Whether another seed gives other detail: of a single step, only the rounding differs."""
        return self.native_scale is None and self.most_steps != 1


@dataclass(frozen=True, kw_only=True)
class SharedDecoder:
    """A decoder that other models with the same latents can take (``--decoder NAME``).

    Its weights are in ``folder`` of a bundle. ``latents`` are as in ``ModelSpec``. ``flop`` and
    ``parameters`` are what it adds, the former per pixel and picture. ``attach(network, bundle,
    options)`` replaces the decoder of a loaded network by that of the bundle in a folder; raises
    ModelUnavailable where it does not fit.
    """

    name: str
    folder: str
    latents: str
    parameters: int
    flop: int
    attach: Callable[["Restorer", Path, "LoadOptions"], None]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Where and how a model is brought into memory."""

    device: str
    dtype: "torch.dtype"
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What an architecture needs to know to build a student and its teacher.

    ``stage`` is "teacher" or "student"; ``teacher`` names the model to distil, "" for the default,
    and ``locate`` finds its file by that name (see ``weights.loader``). ``init`` is a weights file
    to start from, ``dtype`` that of frozen weights, ``lora`` a rank, 0 for none.
    """

    stage: str
    teacher: str
    locate: Callable[[str], Path]
    dtype: "torch.dtype"
    init: Path | None = None
    lora: int = 0
    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One training step, as far as its cost depends on it.

    ``crop`` is in pixels per side; ``bytes_per_number`` is that of activations. Per sample,
    ``earlier_passes`` without gradients precede the trained step, and the teacher answers
    ``teacher_passes`` times; ``decodes_teacher`` says whether its answers are decoded. With
    ``accumulates`` the student runs once more for its own turn.
    """

    crop: int
    batch_size: int
    bytes_per_number: int
    earlier_passes: float
    teacher_passes: float
    decodes_teacher: bool
    accumulates: bool


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Cost of student and teacher; losses, gradients and optimizer come on top.

    ``copies`` are the bytes of trained weights in the precision of the run, ``activations`` those
    of a whole batch; ``tflop`` counts one sample.
    """

    parameters: int
    trained: int
    frozen: int
    copies: int
    activations: int
    tflop: float


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """What ``--arch NAME`` trains, and with which defaults.

    ``defaults`` are settings of ``TrainConfig`` by stage, ``presets`` those that a preset adds, by
    its name; ``recipe`` are settings of ``Recipe`` that replace the preset's. ``needs`` names
    hardware without which training is refused unless the user names a device. ``teacher`` is the
    title of the teacher where it has to exist already, so that there is no stage that trains one.
    ``lora`` says whether low-rank training is possible, ``small`` whether the model is exported
    with every checkpoint, ``random`` that all networks are random, those of the discriminator too,
    so that nothing is downloaded.
    """

    name: str
    build: Callable[[TrainingOptions], "TrainableModel"]
    cost: Callable[[TrainingOptions, Workload], TrainingCost]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    teacher: str = ""
    lora: bool = False
    small: bool = True
    random: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages that can be trained."""
        return ("student",) if self.teacher else ("teacher", "student")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One family of networks.

    ``name`` is the ``arch`` of its bundles. With ``one_network`` a model is a single file, called
    ``single_file``, and needs no ``bundle.json``. The functions take the path of that file, else of
    ``bundle.json``:

    - ``spec`` describes the model there; raises ModelUnavailable;
    - ``load`` brings it into memory; raises ModelUnavailable;
    - ``problems`` reads the weights and returns what is wrong with them, as clauses.

    ``suffixes`` are those of files that other programs wrote and that can be loaded as they are.
    ``random``, where there is one, builds a published model with random weights, described by
    ``random_spec``, to measure speed and memory. ``bundled`` are the models that ship with the
    package, ``published`` those that are downloaded; ``training`` is what can be trained. Its
    bundles lend their ``decoder`` to other models. ``paper`` describes the method, by default
    AddSR's.
    """

    name: str
    spec: Callable[[Path], ModelSpec]
    load: Callable[[Path, LoadOptions], Network]
    problems: Callable[[Path], tuple[str, ...]]
    one_network: bool = False
    paper: str = "https://arxiv.org/abs/2404.01717"
    decoder: SharedDecoder | None = None
    suffixes: tuple[str, ...] = ()
    random: Callable[[LoadOptions], "Restorer"] | None = None
    random_spec: ModelSpec | None = None
    bundled: tuple[ModelSpec, ...] = ()
    published: tuple[PublishedModel, ...] = ()
    training: tuple[TrainingSetup, ...] = ()

    @property
    def single_file(self) -> str:
        """Name of the weights file of a model of ``one_network``."""
        return single_file(self.name)
