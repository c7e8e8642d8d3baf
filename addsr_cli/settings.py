"""What a user asks for: the picture (``Settings``) and how to run (``Machine``).

Both are frozen records of plain values that validate themselves. Their fields are also the options
of ``addsr upscale`` and of every other command that takes them.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from addsr_cli.area_kinds import AreaKind, area_kinds, check_parts
from addsr_cli.errors import UsageError
from addsr_cli.options import (
    MACHINE,
    QUALITY,
    SIZE,
    Option,
    check_choices,
    parse_auto,
    parse_memory,
    parse_pixels,
    parse_scale,
)

NATIVE_SCALE = 4  # the factor that all models are trained for
DEFAULT_FIDELITY = 0.5
DEFAULT_PSR = 0.4  # the value that the official AddSR pipeline runs with
LARGEST_SIDE = 300_000  # pixels
MAX_BLEND = 0.3  # share of the canvas at fidelity 1
MAX_GAIN = 0.4  # of what one step changes of the canvas, at fidelity 0
MAX_GUIDANCE = 20
MAX_CONDITIONING_SCALE = 4
MIN_TILE = 128

Auto = Literal["auto"]
Start = Literal["lr", "noise"]
Color = Literal["wavelet", "adain", "lab", "none"]
Tiles = Literal["auto", "official"]
Decoder = Literal["own", "cfw"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
DegradationName = Literal[
    "strong", "sensor", "camera", "mild", "clean", "chroma", "blocks", "print"
]

# Options that other dataclasses share
SeedOption = Annotated[
    int, Option("Seed of all noise: the same seed gives the same picture.", QUALITY)
]
TilesOption = Annotated[
    Tiles,
    Option(
        "official cuts and colours large pictures as AddSR's authors do, for comparisons with "
        "their results; needs more memory.",
        QUALITY,
    ),
]
DeviceOption = Annotated[str, Option("auto, cpu, cuda, cuda:N or mps.", MACHINE)]
PrecisionOption = Annotated[Precision, Option("Data type of the network.", MACHINE)]


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """Prompts for a model that reads text; None means the model's default.

    ``tags`` is ``auto`` (read from the photo), ``none``, or the tags themselves. ``guidance`` is
    the scale of classifier-free guidance, 0..20, off up to 1; it doubles the time.
    ``conditioning_scale``, 0..4, multiplies what the control image contributes.

    Raises UsageError outside these ranges.
    """

    prompt: Annotated[
        str, Option("Description of the photo, for models that read text.", QUALITY)
    ] = ""
    negative_prompt: Annotated[
        str | None,
        Option(
            "What the picture should not look like; needs --guidance.",
            QUALITY,
            default="the model's",
        ),
    ] = None
    added_prompt: Annotated[
        str | None,
        Option(
            "Quality terms that follow every prompt.",
            QUALITY,
            default="the model's",
        ),
    ] = None
    tags: Annotated[
        str,
        Option('auto reads them from the photo; none; or your own, such as "cat, sofa".', QUALITY),
    ] = "auto"
    guidance: Annotated[
        float | None,
        Option(
            "Above 1, follow the prompt more closely, at twice the time (0 to 20).",
            QUALITY,
            default="1",
        ),
    ] = None
    conditioning_scale: Annotated[
        float, Option("Weight of the photo against what the model invents, 0 to 4.", QUALITY)
    ] = 1.0

    def __post_init__(self) -> None:
        """Raise UsageError for a value out of range."""
        _check_range("--guidance", self.guidance, MAX_GUIDANCE)
        _check_range("--conditioning-scale", self.conditioning_scale, MAX_CONDITIONING_SCALE)


@dataclass(frozen=True, kw_only=True)
class Settings(PromptSettings):
    """Options of one upscaled photo; None means the default.

    Size: at most one of ``scale`` (default 4), ``width``, ``height``, ``longest``, ``shortest``
    (output pixels; the aspect is kept). ``steps`` 1..4, more for models that take more; ``psr``
    0..1 is the weight of the prediction in the next step's control image; ``fidelity`` 0..1 sets
    steps, PSR and a blend with the plain enlargement at once: 0 invents most, 0.5 is the default, 1
    stays closest to the photo. Explicit ``steps`` and ``psr`` win over it. ``max_drift`` 0..255
    bounds how far the result, shrunk to the photo's size, departs from the photo, in 1/255: mean
    and 99.9th percentile. ``trust_map`` measures what the result invented. ``tiles`` "official"
    cuts large pictures as the authors' program does, for comparisons with it. ``seed`` fixes all
    noise.

    Raises UsageError for a value out of range.
    """

    scale: Annotated[
        float | None,
        Option(
            "Enlarge by this factor, such as 4 or 2.5x.",
            SIZE,
            flags=("--scale", "-s"),
            default="4",
            parse=parse_scale,
            metavar="<float>",
        ),
    ] = None
    width: Annotated[int | None, Option("Output width in pixels, aspect ratio kept.", SIZE)] = None
    height: Annotated[int | None, Option("Output height in pixels, aspect ratio kept.", SIZE)] = (
        None
    )
    longest: Annotated[int | None, Option("Longer side of the output in pixels.", SIZE)] = None
    shortest: Annotated[int | None, Option("Shorter side of the output in pixels.", SIZE)] = None
    steps: Annotated[
        int | Auto | None,
        Option(
            "Denoising steps, 1 to 4, or auto. Fewer is faster and plainer.",
            QUALITY,
            default="4",
            parse=parse_auto("--steps", int),
            metavar="<int>",
        ),
    ] = None
    psr: Annotated[
        float | None,
        Option(
            "Weight of each step's prediction in the next step's control image, 0 to 1.",
            QUALITY,
            default="0.4",
        ),
    ] = None
    fidelity: Annotated[
        float | Auto | None,
        Option(
            "A single dial for steps, PSR and a blend with the plain enlargement: 0 invents most, "
            "1 stays closest to the photo, auto chooses by its noise, JPEG quality and blur.",
            QUALITY,
            default="0.5",
            parse=parse_auto("--fidelity", float),
            metavar="<float>",
        ),
    ] = None
    start: Annotated[Start, Option("Start from the noised photo or from pure noise.", QUALITY)] = (
        "lr"
    )
    max_drift: Annotated[
        float | None,
        Option(
            "Keep the result close to the photo: shrunk back, it equals the photo within this many "
            "of 255 levels, such as 2. For clean photos, since noise and JPEG blocks are kept too.",
            QUALITY,
            default="no bound",
        ),
    ] = None
    trust_map: Annotated[
        bool,
        Option(
            "Also write NAME_trust.png, which shows in orange what the result invented and in blue "
            "where it contradicts the photo, and print the share of invented detail.",
            QUALITY,
        ),
    ] = False
    protect: Annotated[
        str,
        Option(
            "Keep parts closer to the photo: faces, text, faces,text, or the path of a mask.",
            QUALITY,
            metavar="<parts>",
        ),
    ] = ""
    color: Annotated[
        Color | None,
        Option("How colours are matched to the photo.", QUALITY, default="wavelet"),
    ] = None
    tiles: TilesOption = "auto"
    seed: SeedOption = 0

    def __post_init__(self) -> None:
        """Raise UsageError for contradictions and for values out of range."""
        super().__post_init__()
        check_choices(self)
        sizes = [self.scale, self.width, self.height, self.longest, self.shortest]
        requested = [value for value in sizes if value is not None]
        if len(requested) > 1:
            raise UsageError(
                "Give only one of --scale, --width, --height, --longest and --shortest."
            )
        if requested and not (math.isfinite(requested[0]) and requested[0] > 0):
            raise UsageError(f"The output size must be above 0, not {requested[0]}.")
        if not (self.steps in (None, "auto") or (isinstance(self.steps, int) and self.steps > 0)):
            raise UsageError(f"--steps must be at least 1, not {self.steps}.")
        _check_range("--psr", self.psr, 1)
        _check_range("--fidelity", self.fidelity, 1)
        _check_range("--max-drift", self.max_drift, 255)
        check_parts(self.protect)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be from 0 to 2^63 - 1, not {self.seed}.")

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the output (width, height) of a photo of this size in pixels, at least 1x1.

        Raises UsageError above ``LARGEST_SIDE``.
        """
        factor = self._factor(width, height)
        if max(width, height) * factor > LARGEST_SIDE:
            raise UsageError(
                f"{width}x{height} px enlarged {factor:g} times is beyond {LARGEST_SIDE} px.",
                "Use a smaller size or factor.",
            )
        output_width = self.width or round(width * factor)
        output_height = self.height or round(height * factor)
        return max(1, output_width), max(1, output_height)

    def effective_steps(self, default: int) -> int:
        """Return the number of steps to run, at most for auto; ``default`` is the model's own."""
        if isinstance(self.steps, int):
            return self.steps
        if self.dial is None or self.dial <= DEFAULT_FIDELITY:
            return default
        fewer = (default - 1) * (2 * self.dial - 1)
        return max(1, round(default - fewer))

    @property
    def effective_psr(self) -> float:
        """PSR weight to run with: 0.8 at fidelity 0, 0.4 at 0.5, 0 at 1."""
        if self.psr is not None:
            return self.psr
        if self.dial is None:
            return DEFAULT_PSR
        return 2 * DEFAULT_PSR * (1 - self.dial)

    @property
    def effective_color(self) -> Color:
        """How colours are matched: by AdaIN, as in the official code, where tiles are its own."""
        if self.color is not None:
            return self.color
        return "adain" if self.tiles == "official" else "wavelet"

    @property
    def protected_kinds(self) -> tuple[AreaKind, ...]:
        """What ``protect`` lists; empty where it is the path of a mask."""
        return area_kinds(self.protect)

    @property
    def asks_for_size(self) -> bool:
        """Whether any size was set."""
        return any((self.scale, self.width, self.height, self.longest, self.shortest))

    @property
    def dial(self) -> float | None:
        """The fidelity where it is a number; None for auto too, until it is decided."""
        return None if isinstance(self.fidelity, str) else self.fidelity

    @property
    def is_auto(self) -> bool:
        """Whether anything waits for the photo."""
        return "auto" in (self.steps, self.fidelity)

    def blend(self, steps: int) -> float:
        """Return the share of the canvas in the result: 0 at fidelity 0.5, 0.3 at 1.

        For a single step down to -0.4 at fidelity 0: that much more of what the network changed.
        """
        if self.dial is None:
            return 0.0
        if self.dial < DEFAULT_FIDELITY:
            return MAX_GAIN * (2 * self.dial - 1) if steps == 1 else 0.0
        return MAX_BLEND * (2 * self.dial - 1)

    @property
    def uses_text(self) -> bool:
        """Whether anything here needs a model that reads text."""
        return (
            bool(self.prompt)
            or self.negative_prompt is not None
            or self.added_prompt is not None
            or self.tags not in ("auto", "none")
            or (self.guidance or 0) > 1
            or self.conditioning_scale != 1
        )

    def _factor(self, width: int, height: int) -> float:
        """Return the factor by which a photo of this size is enlarged."""
        if self.width:
            return self.width / width
        if self.height:
            return self.height / height
        if self.longest:
            return self.longest / max(width, height)
        if self.shortest:
            return self.shortest / min(width, height)
        return float(NATIVE_SCALE if self.scale is None else self.scale)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how to run; ``auto`` and None leave the choice to the planner.

    ``tile`` and ``overlap`` are in canvas pixels, multiples of 16; ``max_memory`` is in bytes.

    Raises UsageError for an unknown precision and for sizes that cannot be cut.
    """

    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    tile: Annotated[
        int | None,
        Option(
            "auto, or the side of a tile in output pixels.",
            MACHINE,
            default="auto",
            parse=parse_pixels("--tile"),
        ),
    ] = None
    overlap: Annotated[
        int | None,
        Option(
            "auto, or how far tiles overlap, in the same pixels.",
            MACHINE,
            default="auto",
            parse=parse_pixels("--overlap"),
        ),
    ] = None
    offload: Annotated[
        bool | None,
        Option(
            "Keep whole pictures in main memory and only tiles on the device.",
            MACHINE,
            flags=("--offload/--no-offload",),
        ),
    ] = None
    decoder: Annotated[
        Decoder,
        Option(
            "own, or cfw: that of an installed StableSR model, which --fidelity then dials.",
            QUALITY,
        ),
    ] = "own"
    compile: Annotated[
        bool, Option("Compile the network first; pays off for many photos.", MACHINE)
    ] = False
    max_memory: Annotated[
        int | None,
        Option(
            "Use no more memory than this, such as 2G.",
            MACHINE,
            parse=parse_memory,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise UsageError for what no planner could follow."""
        check_choices(self)
        if self.tile is not None and (self.tile < MIN_TILE or self.tile % 16):
            raise UsageError(f"--tile {self.tile} must be a multiple of 16, at least {MIN_TILE}.")
        if self.overlap is not None and (self.overlap < 0 or self.overlap % 16):
            raise UsageError(f"--overlap {self.overlap} must be a multiple of 16, 0 or more.")


def _check_range(
    flag: str,
    value: float | str | None,
    largest: float,
) -> None:
    """Raise UsageError unless the value is None or from 0 to ``largest``."""
    if value not in (None, "auto") and (isinstance(value, str) or not 0 <= value <= largest):
        raise UsageError(f"{flag} must be from 0 to {largest}, not {value}.")
