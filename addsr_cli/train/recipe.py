"""How a student is distilled: a frozen, validated record, and its presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from addsr_cli.errors import UsageError
from addsr_cli.models.registry import training_setup
from addsr_cli.options import check_choices
from addsr_cli.schedulers import STEPS
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.option_panels import LOSSES, train_option


def psr_range(text: str) -> tuple[float, float]:
    """``1.0`` or ``uniform:0.4,1.0`` -> lowest and highest weight."""
    low, _, high = text.removeprefix("uniform:").partition(",")
    try:
        return float(low), float(high or low)
    except ValueError as exc:
        problem = f"--psr-train-weight {text} is not understood."
        raise UsageError(problem, "Write a number, or uniform:0.4,1.0.") from exc


def parse_timestep_weights(text: str) -> tuple[float, ...]:
    """``0.1,1,1,1`` -> weights at 999, 749, 499 and 249."""
    try:
        return tuple(float(weight) for weight in text.split(","))
    except ValueError as exc:
        raise UsageError(
            f"--timestep-weights {text} is not understood.", "Write four numbers: 0.1,1,1,1."
        ) from exc


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The choices of distillation (AddSR section 3; "official" is the released trainer's variant).

    - ``ta``: TA-ADD's weights of the distillation loss.
    - ``timesteps``: the student's are drawn evenly, or half of them are 999.
    - ``first_latent``: whose latent is noised at 999.
    - ``rollout``: before the trained step runs one pass from HR's latent, or the whole chain of
      inference.
    - ``psr``: range of the PSR weight.
    - ``teacher_samples``: teacher timesteps per sample, averaged; ``teacher_timesteps``: drawn from
      all 1000 or from the student's four; ``shared_noise``: with the student's noise.
    - ``teacher_sees``: the teacher's control image; ``teacher_share``: share of the samples that
      are compared with the teacher.
    - ``space``: where student and teacher are compared.
    - ``distill``, ``adversarial``, ``r1``, ``anchor_l1`` (Charbonnier) and ``anchor_lpips`` (VGG16)
      are weights of losses, 0 for off; ``timestep_weights`` scale the adversarial loss at 999, 749,
      499 and 249.
    - ``raw_condition``: DINOv2 sees the canvas without color normalization.
    - ``text_dropout``: share of samples that train without text.
    """

    ta: TaWeights = field(default_factory=TaWeights)
    timesteps: Literal["uniform", "official"] = "uniform"
    first_latent: Annotated[
        Literal["hr", "lr"],
        train_option(
            "Whose latent lies under the noise at 999.",
            LOSSES,
            default="by --arch",
        ),
    ] = "hr"
    rollout: Annotated[
        Literal["teacher-forced", "chained"],
        train_option(
            "What precedes the trained step: one pass from HR, or the steps that inference runs.",
            LOSSES,
            default="by --arch",
        ),
    ] = "teacher-forced"
    psr: Annotated[
        tuple[float, float],
        train_option(
            "PSR weight in training: a number, or a range such as uniform:0.4,1.0.",
            LOSSES,
            flags=("--psr-train-weight",),
            default="1.0; uniform:0.2,0.7 for nano",
            parse=psr_range,
        ),
    ] = (1.0, 1.0)
    teacher_samples: Annotated[
        int,
        train_option(
            "Teacher timesteps per sample, averaged.",
            LOSSES,
            default="by --arch and --preset",
        ),
    ] = 4
    teacher_share: Annotated[
        float, train_option("Share of samples compared with the teacher.", LOSSES)
    ] = 1.0
    teacher_sees: Annotated[
        Literal["hr", "lr"], train_option("The teacher's control image.", LOSSES)
    ] = "hr"
    teacher_timesteps: Literal["all", "student"] = "all"
    shared_noise: bool = False
    space: Annotated[
        Literal["pixel", "latent"],
        train_option(
            "Where student and teacher are compared.",
            LOSSES,
            flags=("--distill-space",),
        ),
    ] = "pixel"
    distill: Annotated[
        float,
        train_option(
            "Weight of the distance to the teacher.",
            LOSSES,
            flags=("--distill-weight",),
            default="1; 0 without a teacher",
        ),
    ] = 1.0
    adversarial: Annotated[
        float,
        train_option(
            "Weight of the adversarial loss.",
            LOSSES,
            default="0.02; 0.0005 for nano",
        ),
    ] = 0.02
    discriminator: Annotated[
        Literal["dino", "vgg", "conv"],
        train_option(
            "On features of DINO or of VGG16, or convolutions on pixels.",
            LOSSES,
            default="by --arch",
        ),
    ] = "dino"
    raw_condition: bool = False
    r1: Annotated[float, train_option("Weight of the R1 penalty.", LOSSES)] = 0.0
    anchor_l1: Annotated[
        float,
        train_option(
            "Weight of the L1 distance to HR.",
            LOSSES,
            flags=("--anchor-l1",),
            default="0; 1 for --stage teacher",
        ),
    ] = 0.0
    anchor_lpips: Annotated[
        float,
        train_option(
            "Weight of LPIPS (VGG16) to HR.",
            LOSSES,
            flags=("--anchor-lpips",),
        ),
    ] = 0.0
    timestep_weights: Annotated[
        tuple[float, ...],
        train_option(
            "Weights of the adversarial loss at t = 999, 749, 499, 249.",
            LOSSES,
            flags=("--timestep-weights",),
            default="1,1,1,1",
            parse=parse_timestep_weights,
        ),
    ] = (1.0, 1.0, 1.0, 1.0)
    text_dropout: float = 0.5

    def __post_init__(self) -> None:
        """Raise UsageError for unknown choices and for weights and shares out of range."""
        check_choices(self)
        weights = (self.distill, self.adversarial, *self.reconstruction.values())
        if not all(0 <= weight < math.inf for weight in (*weights, self.r1)) or sum(weights) == 0:
            raise UsageError("Loss weights must be 0 or more, and not all of them 0.")
        if len(self.timestep_weights) != len(STEPS) or not all(
            0 <= weight < math.inf for weight in self.timestep_weights
        ):
            problem = "--timestep-weights must be four weights of 0 or more"
            raise UsageError(f"{problem}, for t = 999, 749, 499 and 249.")
        if not 0 <= self.psr[0] <= self.psr[1] <= 1:
            raise UsageError(
                "The PSR weight in training must be a number or a range within 0 and 1."
            )
        if (
            self.teacher_samples < 1
            or not 0 <= self.text_dropout <= 1
            or not 0 < self.teacher_share <= 1
        ):
            raise UsageError(
                "Teacher samples must be 1 or more, teacher share and text dropout within 0 and 1."
            )

    @property
    def reconstruction(self) -> dict[str, float]:
        """Weights of the reconstruction losses by name."""
        return {"l1": self.anchor_l1, "lpips": self.anchor_lpips}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Return the recipe that ``dataclasses.asdict`` and JSON wrote, by older versions too."""
        raw = {RENAMED.get(name, name): value for name, value in raw.items()}
        return cls(
            **raw
            | {
                "ta": TaWeights(**raw["ta"]),
                "psr": tuple(raw["psr"]),
                "timestep_weights": tuple(raw["timestep_weights"]),
            }
        )


# fields of Recipe that older versions wrote under another name
RENAMED = {"perception": "timestep_weights", "blank": "text_dropout"}

PAPER = Recipe()
OFFICIAL = replace(
    PAPER,
    ta=TaWeights(indexing="official"),
    timesteps="official",
    shared_noise=True,
    raw_condition=True,
)
LOWMEM = replace(PAPER, teacher_samples=1)
PRESETS = {"paper": PAPER, "official": OFFICIAL, "lowmem": LOWMEM}
SCRATCH: dict[str, Any] = {
    "distill": 0.0,
    "adversarial": 0.0,
    "anchor_l1": 1.0,
}  # a teacher has no teacher


def preset(
    name: str,
    arch: str,
    stage: str = "student",
) -> Recipe:
    """Return the recipe that ``--preset`` names, adapted to a network and stage.

    Raises UsageError for an unknown name.
    """
    if name not in PRESETS:
        raise UsageError(f"--preset {name} is unknown.", f"Use {', '.join(PRESETS)}.")
    adapted = dict(training_setup(arch).recipe)
    if stage == "teacher":
        adapted |= SCRATCH
    return replace(PRESETS[name], **adapted)


def run_defaults(
    arch: str,
    stage: str,
    preset_name: str,
) -> dict[str, Any]:
    """Return the settings of ``TrainConfig`` that differ from its defaults, without the recipe."""
    setup = training_setup(arch)
    settings = dict(setup.defaults.get(stage, {}))
    if preset_name == "lowmem":
        settings |= setup.low_memory
    return settings
