"""How a student is distilled: a frozen, validated record, and its presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self, get_args

from addsr_cli.errors import UsageError
from addsr_cli.models.registry import training_setup
from addsr_cli.options import check_choices
from addsr_cli.schedulers import STEPS
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.option_panels import LOSSES, train_option

PSR_OFF = (0.0, 0.0)
TeacherInput = Literal["control", "tagger", "text"]
TEACHER_INPUTS: tuple[TeacherInput, ...] = get_args(TeacherInput)


def psr_range(text: str) -> tuple[float, float]:
    """``1.0``, ``uniform:0.4,1.0`` or ``off`` -> lowest and highest weight."""
    if text == "off":
        return PSR_OFF
    low, _, high = text.removeprefix("uniform:").partition(",")
    try:
        return float(low), float(high or low)
    except ValueError as exc:
        problem = f"--psr-train-weight {text} is not understood."
        raise UsageError(problem, "Write a number, uniform:0.4,1.0, or off.") from exc


def parse_teacher_sees(text: str) -> tuple[TeacherInput, ...]:
    """``hr`` for all of the teacher's inputs, ``lr`` for none, or a list such as control,tagger."""
    named = {"hr": TEACHER_INPUTS, "lr": ()}
    if text in named:
        return named[text]
    items = [item.strip() for item in text.split(",")]
    if not set(items) <= set(TEACHER_INPUTS):
        raise UsageError(
            f"--teacher-sees {text} is not understood.",
            f"Write hr, lr, or those of {','.join(TEACHER_INPUTS)} that see HR.",
        )
    return tuple(name for name in TEACHER_INPUTS if name in items)


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
    """The choices of distillation; the defaults are the paper's (AddSR section 3).

    - ``ta``: TA-ADD's weights of the distillation loss.
    - ``timesteps``: the student's are drawn evenly, or half of them are 999 ("official"), or all
      ("first").
    - ``first_latent``: whose latent is noised at 999.
    - ``rollout``: what precedes the trained step. "refined": every earlier step, of which each
      prediction becomes the next control image, from HR's latent under new noise; "chained": the
      same from the student's own latents, as inference runs; "teacher-forced": the one step before.
    - ``psr``: range of the PSR weight, (0, 0) without PSR; ``psr_pixels``: the prediction in the
      control image lies in [0, 1], or in [-1, 1] ("signed", the released trainer's slip).
    - ``student_text``: the tags of the student's text are read from LR or from HR.
    - ``teacher_samples``: teacher timesteps per sample, averaged; ``teacher_timesteps``: drawn from
      all 1000 or from the student's four; ``teacher_noise``: under its own noise or the student's.
    - ``teacher_sees``: which of the teacher's inputs are HR's, the others being LR's: the control
      image, the tagger's image tokens, the text. ``teacher_share``: share of the samples that are
      compared with the teacher.
    - ``imitate``: share of the samples whose target is not HR but the teacher's picture of the same
      LR photo: for reconstruction, and as what the discriminator takes for real. A small network
      learns faster from an answer that its input determines. With ``original_share`` above 0, that
      share of the perceptual distance stays with HR, which the discriminator then takes for real.
    - ``space``: where student and teacher are compared.
    - ``distill``, ``adversarial``, ``r1``, ``anchor_l1`` (Charbonnier) and ``anchor_lpips`` (VGG16)
      are weights of losses, 0 for off; ``timestep_weights`` scale the adversarial loss at 999, 749,
      499 and 249.
    - ``dinov2_colors``: DINOv2 sees the canvas with normalized colors, or without ("raw").
    - ``text_dropout``: share of samples that train without text.
    """

    ta: TaWeights = field(default_factory=TaWeights)
    timesteps: Annotated[
        Literal["uniform", "official", "first"],
        train_option(
            "How the student's timesteps are drawn: evenly, half of them 999, or all of them 999.",
            LOSSES,
            default="by --arch and --preset",
        ),
    ] = "uniform"
    first_latent: Annotated[
        Literal["hr", "lr"],
        train_option(
            "Whose latent is noised at 999.",
            LOSSES,
            default="by --arch",
        ),
    ] = "hr"
    rollout: Annotated[
        Literal["refined", "chained", "teacher-forced"],
        train_option(
            "What precedes the trained step: all steps from HR's latents, the same from the "
            "student's own as inference runs them, or one step.",
            LOSSES,
            default="by --arch and --preset",
        ),
    ] = "refined"
    psr: Annotated[
        tuple[float, float],
        train_option(
            "PSR weight in training: a number, a range such as uniform:0.4,1.0, or off.",
            LOSSES,
            flags=("--psr-train-weight",),
            default="1.0; uniform:0.2,0.7 for nano",
            parse=psr_range,
        ),
    ] = (1.0, 1.0)
    psr_pixels: Annotated[
        Literal["unit", "signed"],
        train_option("Range of the prediction in the control image: 0 to 1, or -1 to 1.", LOSSES),
    ] = "unit"
    student_text: Annotated[
        Literal["lr", "hr"],
        train_option(
            "What the tags of the student's text are read from.",
            LOSSES,
            default="by --preset",
        ),
    ] = "lr"
    teacher_samples: Annotated[
        int,
        train_option(
            "Teacher timesteps per sample, averaged.",
            LOSSES,
            default="by --arch and --preset",
        ),
    ] = 1
    teacher_share: Annotated[
        float, train_option("Share of samples compared with the teacher.", LOSSES)
    ] = 1.0
    teacher_sees: Annotated[
        tuple[TeacherInput, ...],
        train_option(
            "Inputs of the teacher that come from HR: hr for all, lr for none, or a list of "
            f"{', '.join(TEACHER_INPUTS)}.",
            LOSSES,
            default="hr",
            parse=parse_teacher_sees,
        ),
    ] = TEACHER_INPUTS
    teacher_timesteps: Annotated[
        Literal["all", "student"],
        train_option(
            "What the teacher's timesteps are drawn from: all 1000, or the student's four.",
            LOSSES,
            flags=("--teacher-steps",),
            default="by --arch",
        ),
    ] = "all"
    teacher_noise: Annotated[
        Literal["own", "student"],
        train_option("The teacher's noise: its own, or the student's.", LOSSES),
    ] = "own"
    imitate: Annotated[
        float,
        train_option(
            "Share of samples whose target is the teacher's picture of the same LR, not HR.",
            LOSSES,
        ),
    ] = 0.0
    original_share: Annotated[
        float,
        train_option(
            "Share of the perceptual distance of imitating samples that stays with HR; above 0, "
            "the discriminator also takes HR for real.",
            LOSSES,
        ),
    ] = 0.0
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
            "Weight of the adversarial loss; 0 trains without a discriminator.",
            LOSSES,
            default="0.02; 0.0005 for nano",
        ),
    ] = 0.02
    discriminator: Annotated[
        Literal["dino", "vgg", "conv"],
        train_option(
            "Discriminator on features of DINO or VGG16, or on pixels.",
            LOSSES,
            default="by --arch",
        ),
    ] = "dino"
    dinov2_colors: Annotated[
        Literal["normal", "raw"],
        train_option("Colors of the canvas that DINOv2 sees: normalized, or as they are.", LOSSES),
    ] = "normal"
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
    text_dropout: Annotated[
        float,
        train_option(
            "Share of samples that train without text.",
            LOSSES,
            default="0; 0.5 for --preset official",
        ),
    ] = 0.0

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
        if not set(self.teacher_sees) <= set(TEACHER_INPUTS):
            raise UsageError(f"The teacher's inputs are {', '.join(TEACHER_INPUTS)}.")
        if not 0 <= self.psr[0] <= self.psr[1] <= 1:
            raise UsageError(
                "The PSR weight in training must be a number or a range within 0 and 1."
            )
        if (
            self.teacher_samples < 1
            or not 0 <= self.text_dropout <= 1
            or not 0 < self.teacher_share <= 1
            or not 0 <= self.imitate <= 1
            or not 0 <= self.original_share <= 1
        ):
            raise UsageError(
                "Teacher samples must be 1 or more; the shares of teacher, imitation and original "
                "and text dropout within 0 and 1."
            )

    @property
    def reconstruction(self) -> dict[str, float]:
        """Weights of the reconstruction losses by name."""
        return {"l1": self.anchor_l1, "lpips": self.anchor_lpips}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Return the recipe that ``dataclasses.asdict`` and JSON wrote, by older versions too."""
        raw = OLDER | {RENAMED.get(name, name): value for name, value in raw.items()}
        for switch, (name, choices) in SWITCHES.items():
            if switch in raw:
                raw[name] = choices[bool(raw.pop(switch))]
        sees = raw["teacher_sees"]
        return cls(
            **raw
            | {
                "ta": TaWeights(**raw["ta"]),
                "psr": tuple(raw["psr"]),
                "teacher_sees": parse_teacher_sees(sees) if isinstance(sees, str) else tuple(sees),
                "timestep_weights": tuple(raw["timestep_weights"]),
            }
        )


# fields of Recipe that older versions wrote under another name
RENAMED = {"perception": "timestep_weights", "blank": "text_dropout"}
# or as a switch: the choice for off and for on
SWITCHES = {
    "shared_noise": ("teacher_noise", ("own", "student")),
    "raw_condition": ("dinov2_colors", ("normal", "raw")),
}
# and what they did where they had no field
OLDER = {"student_text": "hr", "psr_pixels": "unit"}

PAPER = Recipe()
OFFICIAL = replace(
    PAPER,
    ta=TaWeights(indexing="official"),
    timesteps="official",
    rollout="teacher-forced",
    student_text="hr",
    teacher_samples=4,
    teacher_noise="student",
    dinov2_colors="raw",
    text_dropout=0.5,
)
PRESETS = {"paper": PAPER, "official": OFFICIAL, "lowmem": PAPER}
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
    return {**setup.defaults.get(stage, {}), **setup.presets.get(preset_name, {})}
