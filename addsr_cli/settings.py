"""What a person asks for: output size, quality and seed, as one frozen record with plain values."""

import math
from dataclasses import dataclass
from typing import Literal

from addsr_cli.errors import UsageError

NATIVE_SCALE = 4  # what every model here is trained for
DEFAULT_PSR = 0.4  # what the official AddSR pipeline really runs with
LARGEST_SIDE = 300_000
MAX_BLEND = 0.3  # share of the plain enlargement at full fidelity

Start = Literal["lr", "noise"]
Color = Literal["wavelet", "adain", "lab", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of one upscale; None means the default.

    Size: at most one of ``scale`` (default 4), ``width``, ``height``, ``longest``, ``shortest``
    (output pixels; the aspect is kept). ``steps`` 1..4, more for models that take more; ``psr``
    0..1 is the weight of the prediction in the next step's control image; ``fidelity`` 0..1 sets
    steps, PSR and a blend with the plain enlargement at once: 0 invents most, 0.5 is the default, 1
    stays closest to the photo. Explicit ``steps`` and ``psr`` win over it. ``seed`` fixes all
    noise.

    For models that read text: ``prompt``, ``negative_prompt`` and ``added_prompt`` (None means the
    model's own); ``tags`` is ``auto`` (read from the photo), ``none`` or the tags themselves;
    ``guidance`` 0..20 follows the words more closely above 1, at twice the time;
    ``conditioning_scale`` 0..4 weighs the control image.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    longest: int | None = None
    shortest: int | None = None
    steps: int | None = None
    psr: float | None = None
    fidelity: float | None = None
    start: Start = "lr"
    color: Color = "wavelet"
    seed: int = 0
    prompt: str = ""
    negative_prompt: str | None = None
    added_prompt: str | None = None
    tags: str = "auto"
    guidance: float | None = None
    conditioning_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense, in a sentence."""
        sizes = [self.scale, self.width, self.height, self.longest, self.shortest]
        given = [value for value in sizes if value is not None]
        if len(given) > 1:
            raise UsageError(
                "Give only one of --scale, --width, --height, --longest and --shortest."
            )
        if given and not (math.isfinite(given[0]) and given[0] > 0):
            raise UsageError(f"The output size must be above 0, not {given[0]}.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps must be at least 1, not {self.steps}.")
        for name, value in (("psr", self.psr), ("fidelity", self.fidelity)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"--{name} must be from 0 to 1, not {value}.")
        for name, value, most in (
            ("guidance", self.guidance, 20),
            ("conditioning-scale", self.conditioning_scale, 4),
        ):
            if value is not None and not 0 <= value <= most:
                raise UsageError(f"--{name} must be from 0 to {most}, not {value}.")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be from 0 to 2^63 - 1, not {self.seed}.")

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """Output size for an input of ``width`` x ``height`` pixels, each side at least 1."""
        factor = self._factor(width, height)
        if max(width, height) * factor > LARGEST_SIDE:
            raise UsageError(
                f"{width}x{height} px enlarged {factor:g} times is beyond {LARGEST_SIDE} px.",
                "Ask for less.",
            )
        exact = (self.width or round(width * factor), self.height or round(height * factor))
        return max(1, exact[0]), max(1, exact[1])

    def effective_steps(self, default: int) -> int:
        """Steps to run, of which ``default`` is the model's own choice."""
        if self.steps is not None:
            return self.steps
        if self.fidelity is None or self.fidelity <= 0.5:
            return default
        return max(1, round(default - (default - 1) * (2 * self.fidelity - 1)))

    @property
    def effective_psr(self) -> float:
        """PSR weight to run with: 0.8 at fidelity 0, 0.4 in the middle, 0 at fidelity 1."""
        if self.psr is not None:
            return self.psr
        return DEFAULT_PSR if self.fidelity is None else 2 * DEFAULT_PSR * (1 - self.fidelity)

    @property
    def blend(self) -> float:
        """Share of the plain enlargement in the result: 0 up to the middle, 0.3 at fidelity 1."""
        return 0.0 if self.fidelity is None else MAX_BLEND * max(0.0, 2 * self.fidelity - 1)

    @property
    def uses_text(self) -> bool:
        """Whether anything here needs a model that reads text."""
        said = (
            bool(self.prompt) or self.negative_prompt is not None or self.added_prompt is not None
        )
        return (
            said or self.tags != "auto" or (self.guidance or 0) > 1 or self.conditioning_scale != 1
        )

    def _factor(self, width: int, height: int) -> float:
        if self.width:
            return self.width / width
        if self.height:
            return self.height / height
        if self.longest:
            return self.longest / max(width, height)
        if self.shortest:
            return self.shortest / min(width, height)
        return float(NATIVE_SCALE if self.scale is None else self.scale)


def pass_sizes(size: tuple[int, int], target: tuple[int, int]) -> list[tuple[int, int]]:
    """Output sizes of the passes that lead from ``size`` to ``target``, each at most 4 times the one before.

    None when the target is smaller than the picture: making it smaller needs no network.
    """
    if target != size and all(after <= before for before, after in zip(size, target, strict=True)):
        return []
    sizes = [target]
    while any(after > NATIVE_SCALE * before for before, after in zip(size, sizes[0], strict=True)):
        width, height = sizes[0]
        sizes.insert(0, (math.ceil(width / NATIVE_SCALE), math.ceil(height / NATIVE_SCALE)))
    return sizes
