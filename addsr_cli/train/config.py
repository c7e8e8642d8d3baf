"""What a training run is: one frozen, validated record, saved beside its checkpoints."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from addsr_cli.degradation import RECIPES, SCALE
from addsr_cli.errors import UsageError
from addsr_cli.train.recipe import Recipe

PATHS = ("data", "output", "init", "pairs")
ARCHS = ("addsr", "nano", "tiny")
EVERYDAY = (
    ("clean", 0.16),
    ("mild", 0.12),
    ("camera", 0.30),
    ("strong", 0.16),
    ("sensor", 0.08),
    ("chroma", 0.07),
    ("blocks", 0.08),
    ("print", 0.03),
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run.

    ``crop`` and ``batch_size`` shape a batch (HR pixels per side, samples per process);
    ``accumulate`` batches make a step. ``mix`` is the share of each degradation recipe; ``framing``
    "varied" also turns, shrinks and defocuses crops. ``steps`` is the length of the whole schedule:
    with ``decay`` "cosine" the learning rate falls to zero over it. ``init`` starts from another
    model's weights, ``teacher`` names the model to distil, "" the usual one.

    ``scales`` is the range of factors by which the LR is smaller than HR: the lowest and highest
    also happen by themselves, the highest half of the time. ``lettering`` is the share of crops
    with drawn text. ``recipe`` says what is learnt. ``validation`` photos are kept out of the
    training.
    """

    data: Path
    output: Path
    arch: str = "nano"
    stage: str = "teacher"
    recipe: Recipe = field(default_factory=Recipe)
    teacher: str = ""
    init: Path | None = None
    pairs: Path | None = None
    steps: int = 20_000
    batch_size: int = 8
    accumulate: int = 1
    crop: int = 128
    lr: float = 4e-4
    d_lr: float = 2e-5
    warmup: int = 100
    decay: str = "cosine"
    clip: float = 1.0
    ema: float = 0.999
    ema_on_cpu: bool = False
    checkpointing: bool = False
    lora: int = 0
    framing: str = "varied"
    scales: tuple[float, float] = (1.0, 4.0)
    lettering: float = 0.07
    mix: tuple[tuple[str, float], ...] = EVERYDAY
    usm: bool = False
    tags: str = "auto"
    precompute: bool = False
    validation: int = 0
    seed: int = 0
    workers: int = 1
    precision: str = "auto"
    device: str = "auto"
    tracker: str | None = None
    save_every: int = 500
    sample_every: int = 500
    log_every: int = 20
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        self._check_words()
        if self.crop % (4 * SCALE) or self.crop < 64:
            raise UsageError(f"--crop {self.crop} must be a multiple of {4 * SCALE}, at least 64.")
        counts = (
            self.steps,
            self.batch_size,
            self.accumulate,
            self.save_every,
            self.sample_every,
            self.log_every,
        )
        if min(*counts, self.keep) < 1:
            raise UsageError(
                "Steps, batch size, accumulate and the save, sample, log and keep counts must be at least 1."
            )
        unknown = [name for name, _ in self.mix if name not in RECIPES]
        shares = [share for _, share in self.mix]
        if unknown or not 0.999 < sum(shares) < 1.001 or min(shares) < 0:
            raise UsageError(
                f"The degradation mix must name {', '.join(RECIPES)} with shares that add up to 1."
            )
        if not (min(self.lr, self.d_lr, self.clip) > 0 and min(self.seed, self.warmup) >= 0):
            raise UsageError("Learning rates and clip must be above 0; warm-up and seed 0 or more.")
        if (
            not 0 <= self.lettering <= 1
            or not 0 <= self.ema < 1
            or min(self.workers, self.validation) < 0
        ):
            raise UsageError(
                "lettering must be in 0..1, ema in 0..1 (1 excluded), workers 0 or more."
            )
        if not 1 <= self.scales[0] <= self.scales[1] <= SCALE:
            raise UsageError(f"The scales must lie between 1 and {SCALE}, the lower one first.")

    def _check_words(self) -> None:
        words = {
            "arch": ARCHS,
            "stage": ("teacher", "student"),
            "decay": ("cosine", "constant"),
            "framing": ("varied", "plain"),
            "tags": ("auto", "none"),
        }
        for name, allowed in words.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"--{name} must be {' or '.join(allowed)}, not {getattr(self, name)}."
                )
        if self.arch == "addsr" and self.stage == "teacher":
            raise UsageError(
                "--arch addsr has its teacher: SeeSR.", "Use --stage student, or --arch nano."
            )
        if self.lora < 0 or (self.lora and self.arch != "addsr"):
            raise UsageError("--lora is a rank of 1 or more, for --arch addsr.")

    def portable(self) -> Self:
        """Without the folders of this machine, for what is given to others: names alone."""
        bare: dict[str, Any] = {
            name: Path(p.name) for name in PATHS if (p := getattr(self, name)) is not None
        }
        teacher = (
            Path(self.teacher).name if Path(self.teacher).exists() else self.teacher
        )  # ORG/REPO stays
        return replace(self, **bare, teacher=teacher)

    def to_json(self) -> str:
        """Readable form, the inverse of ``from_json``."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what ``to_json`` wrote."""
        raw: dict[str, Any] = json.loads(text)
        known = {each.name for each in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        for key in PATHS:
            values[key] = Path(values[key]) if values.get(key) else None
        values["recipe"] = Recipe.from_json(values["recipe"]) if "recipe" in values else Recipe()
        if "scales" in values:
            values["scales"] = tuple(values["scales"])
        values["mix"] = tuple((str(name), float(share)) for name, share in values["mix"])
        return cls(**values)


def parse_scales(text: str) -> tuple[float, float]:
    """``1:4``, or ``4`` for one alone, as lowest and highest factor."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high or low)
    except ValueError as exc:
        raise UsageError(f"--scales {text} is not understood.", "Write it as 1:4, or 4.") from exc


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """``clean=0.2,mild=0.1,camera=0.42,strong=0.28`` as pairs."""
    try:
        return tuple(
            (name.strip(), float(share))
            for name, share in (part.split("=") for part in text.split(","))
        )
    except ValueError as exc:
        raise UsageError(
            f"--mix {text} is not understood.",
            "Write it as clean=0.2,mild=0.1,camera=0.42,strong=0.28.",
        ) from exc
