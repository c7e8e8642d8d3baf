"""What a training run is: one frozen, validated record, saved beside its checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from addsr_cli.errors import UsageError
from addsr_cli.models.registry import FALLBACK, TRAINING, training_setup
from addsr_cli.options import check_choices, with_overrides
from addsr_cli.settings import (
    NATIVE_SCALE,
    DegradationName,
    DeviceOption,
    PrecisionOption,
    SeedOption,
)
from addsr_cli.train.data.degradation_options import EVERYDAY, MIX_TEXT, parse_mix, parse_scales
from addsr_cli.train.option_panels import DATA, LOOP, LOSSES, RUN, train_option
from addsr_cli.train.recipe import Recipe, run_defaults
from addsr_cli.train.recipe import preset as preset_recipe

PATHS = ("output", "init", "pairs")
RENAMED = {"framing": "augmentation"}  # fields that older versions wrote under another name
BY_ARCH = "by --arch and --stage"

ArchOption = Annotated[
    str,
    train_option(
        "The network; tiny and tiny-nano are smoke tests.",
        RUN,
        metavar="|".join(TRAINING),
    ),
]
StageOption = Annotated[
    Literal["student", "teacher"],
    train_option("student distils a teacher; teacher trains one on the originals alone.", RUN),
]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run.

    ``data`` are folders, of which ``FOLDER:COUNT`` takes the first photos; all photos together are
    shuffled anew every epoch, by ``seed``.
    ``crop`` (HR pixels per side) and ``batch_size`` (samples per process) shape a batch;
    ``accumulate`` batches make an optimizer step, or ``total_batch`` samples of all processes.
    ``mix`` is the share of each degradation. ``augmentation`` "varied" also rotates, downscales and
    defocuses crops. ``steps`` is the length of the schedule: with ``decay`` "cosine" the learning
    rate falls to zero over it. ``init`` starts from another model's weights; ``teacher`` is the
    model to distil, "" for the default.

    ``scales`` is the range of factors by which LR is smaller than HR: half of the samples have the
    highest, a tenth the lowest. ``lettering`` is the share of crops with drawn text. ``recipe`` has
    the losses. ``validation`` photos are held out.
    """

    data: Annotated[
        tuple[Path, ...],
        train_option(
            "Folder of sharp, large photos, or FOLDER:COUNT for its first COUNT; repeatable.",
            DATA,
        ),
    ]
    output: Annotated[
        Path,
        train_option(
            "Folder for checkpoints, samples, log and export.",
            RUN,
            flags=("--output", "-o"),
            default="runs/ARCH-STAGE",
        ),
    ]
    arch: ArchOption = "nano"
    stage: StageOption = "teacher"
    recipe: Recipe = field(default_factory=Recipe)
    teacher: Annotated[
        str,
        train_option(
            "Model to distil, or a Real-ESRGAN file.",
            LOSSES,
            default="seesr; nano for --arch nano",
        ),
    ] = ""
    init: Annotated[Path | None, train_option("Start from this .safetensors file.", RUN)] = None
    pairs: Annotated[
        Path | None,
        train_option("Folder with hr/ and lr/ (a quarter as large), instead of --data.", DATA),
    ] = None
    steps: Annotated[
        int,
        train_option(
            "Total number of optimizer steps.",
            RUN,
            default=BY_ARCH,
        ),
    ] = 20_000
    batch_size: Annotated[
        int,
        train_option(
            "Samples per batch and process.",
            RUN,
            default=BY_ARCH,
        ),
    ] = 8
    accumulate: Annotated[int, train_option("Batches per optimizer step.", RUN)] = 1
    total_batch: Annotated[
        int,
        train_option(
            "Samples per step over all processes, instead of --accumulate.",
            RUN,
            default="--batch-size x --accumulate x processes",
        ),
    ] = 0
    crop: Annotated[
        int,
        train_option(
            "Side of the crops in pixels, a multiple of 16.",
            DATA,
            default=BY_ARCH,
        ),
    ] = 128
    lr: Annotated[
        float,
        train_option(
            "Peak learning rate.",
            RUN,
            default=BY_ARCH,
        ),
    ] = 4e-4
    d_lr: Annotated[
        float,
        train_option(
            "Learning rate of the discriminator.",
            LOSSES,
            default="by --arch",
        ),
    ] = 2e-5
    warmup: Annotated[
        int,
        train_option(
            "Steps over which the learning rate rises.",
            RUN,
            default="100; 0 for addsr",
        ),
    ] = 100
    decay: Annotated[
        Literal["cosine", "constant"],
        train_option(
            "Learning rate schedule after the warm-up.",
            RUN,
            default="cosine; constant for addsr",
        ),
    ] = "cosine"
    optimizer: Annotated[
        Literal["adamw", "muon"],
        train_option("AdamW, or Muon for kernels, with --lr relative to their norm.", RUN),
    ] = "adamw"
    weight_decay: Annotated[
        float,
        train_option(
            "Weight decay of AdamW; 0 makes it Adam.",
            RUN,
            default="0.01; 0 for addsr",
        ),
    ] = 0.01
    clip: Annotated[float, train_option("Clip the student's gradients to this norm.", RUN)] = 1.0
    ema: Annotated[
        float,
        train_option(
            "Decay of the averaged weights, which are exported.",
            RUN,
            default="0.999; 0.99 for addsr",
        ),
    ] = 0.999
    ema_on_cpu: Annotated[
        bool,
        train_option(
            "Where the averaged weights are kept.",
            LOOP,
            flags=("--ema-on-cpu/--ema-on-device",),
        ),
    ] = False
    checkpointing: Annotated[
        bool,
        train_option(
            "Recompute activations: less memory for a third more time.",
            LOOP,
            flags=("--checkpointing/--no-checkpointing",),
        ),
    ] = False
    shard_optimizer: Annotated[
        bool,
        train_option(
            "Divide the optimizer's state among the processes: less memory for more traffic.",
            LOOP,
            flags=("--shard-optimizer/--no-shard-optimizer",),
        ),
    ] = False
    lora: Annotated[
        int, train_option("Train low-rank updates (LoRA) of this rank; 0 for all weights.", LOSSES)
    ] = 0
    augmentation: Annotated[
        Literal["varied", "plain"],
        train_option(
            "varied also rotates, downscales and defocuses crops; plain flips them.",
            DATA,
            default="varied; plain for addsr",
        ),
    ] = "varied"
    scales: Annotated[
        tuple[float, float],
        train_option(
            "How many times smaller inputs are, such as 1:4.",
            DATA,
            default="1:4; 4 for addsr",
            parse=parse_scales,
        ),
    ] = (1.0, 4.0)
    lettering: Annotated[
        float,
        train_option("Share of crops with drawn text.", DATA, default="0.07; 0 for addsr"),
    ] = 0.07
    mix: Annotated[
        tuple[tuple[str, float], ...],
        train_option(
            "Share of each degradation, such as clean=0.4,strong=0.6.",
            DATA,
            default=f"{MIX_TEXT}; strong for addsr",
            parse=parse_mix,
        ),
    ] = EVERYDAY
    usm: Annotated[
        bool,
        train_option(
            "Sharpen targets, as Real-ESRGAN does.",
            DATA,
            flags=("--usm/--no-usm",),
        ),
    ] = False
    tags: Annotated[
        Literal["auto", "none"],
        train_option(
            "auto takes PHOTO.txt or reads tags from the crop; none leaves the text empty.", DATA
        ),
    ] = "auto"
    precompute: Annotated[
        bool,
        train_option(
            "Read the tags of every photo once, before training.",
            DATA,
            flags=("--precompute/--no-precompute",),
        ),
    ] = False
    validation: Annotated[
        int, train_option("Number of photos to hold out and measure at the end.", DATA)
    ] = 0
    seed: SeedOption = 0
    workers: Annotated[int, train_option("Processes that prepare samples; 0 for none.", LOOP)] = 1
    precision: PrecisionOption = "auto"
    device: DeviceOption = "auto"
    tracker: Annotated[str | None, train_option("tensorboard or wandb, if installed.", LOOP)] = None
    save_every: Annotated[
        int,
        train_option(
            "Steps between checkpoints.",
            LOOP,
            default="500; 5000 for addsr",
        ),
    ] = 500
    sample_every: Annotated[
        int,
        train_option(
            "Steps between sample grids.",
            LOOP,
            default="500; 1000 for addsr",
        ),
    ] = 500
    log_every: Annotated[int, train_option("Steps between log lines.", LOOP)] = 20
    keep: Annotated[int, train_option("Checkpoints to keep.", LOOP)] = 2

    def __post_init__(self) -> None:
        """Raise UsageError for a run that cannot train."""
        check_choices(self)
        self._check_arch()
        if self.crop % (4 * NATIVE_SCALE) or self.crop < 64:
            raise UsageError(
                f"--crop {self.crop} must be a multiple of {4 * NATIVE_SCALE}, at least 64."
            )
        if not self.data or (self.pairs and len(self.data) > 1):
            raise UsageError("--data needs a folder, unless --pairs is given.")
        counts = (
            self.steps,
            self.batch_size,
            self.accumulate,
            self.save_every,
            self.sample_every,
            self.log_every,
        )
        if min(*counts, self.keep, self.total_batch + 1) < 1:
            counted = "Steps, batch size, accumulate and the save, sample, log and keep counts"
            raise UsageError(f"{counted} must be at least 1.")
        names = get_args(DegradationName)
        unknown = [name for name, _ in self.mix if name not in names]
        shares = [share for _, share in self.mix]
        if unknown or not 0.999 < sum(shares) < 1.001 or min(shares) < 0:
            raise UsageError(
                f"The degradation mix must name {', '.join(names)} with shares that add up to 1."
            )
        if not (
            min(self.lr, self.d_lr, self.clip) > 0
            and min(self.seed, self.warmup, self.weight_decay) >= 0
        ):
            raise UsageError(
                "Learning rates and clip must be above 0; warm-up, weight decay and seed 0 or more."
            )
        if (
            not 0 <= self.lettering <= 1
            or not 0 <= self.ema < 1
            or min(self.workers, self.validation) < 0
        ):
            raise UsageError(
                "lettering must be in 0..1, ema in 0..1 (1 excluded), workers 0 or more."
            )
        if not 1 <= self.scales[0] <= self.scales[1] <= NATIVE_SCALE:
            raise UsageError(
                f"The scales must lie between 1 and {NATIVE_SCALE}, the lower one first."
            )

    def _check_arch(self) -> None:
        setup = training_setup(self.arch)
        if self.stage not in setup.stages:
            raise UsageError(
                f"--arch {self.arch} already has a teacher, {setup.teacher}.",
                f"Use --stage student, or --arch {FALLBACK}.",
            )
        if self.lora < 0 or (self.lora and not setup.lora):
            names = " or ".join(name for name, each in TRAINING.items() if each.lora)
            raise UsageError(f"--lora is a rank of 1 or more, for --arch {names}.")

    def step_samples(self, processes: int = 1) -> int:
        """Return the number of samples of an optimizer step, over all processes."""
        return self.total_batch or self.batch_size * self.accumulate * processes

    def portable(self) -> Self:
        """Without the folders of this machine, for what is given to others: names alone."""
        bare: dict[str, Any] = {
            name: Path(p.name) for name in PATHS if (p := getattr(self, name)) is not None
        }
        teacher = (
            Path(self.teacher).name if Path(self.teacher).exists() else self.teacher
        )  # ORG/REPO stays
        data = tuple(Path(entry.name) for entry in self.data)
        return replace(self, **bare, data=data, teacher=teacher)

    def to_json(self) -> str:
        """Readable form, the inverse of ``from_json``."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what ``to_json`` wrote."""
        written: dict[str, Any] = json.loads(text)
        raw = {RENAMED.get(name, name): value for name, value in written.items()}
        known = {each.name for each in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        for key in PATHS:
            values[key] = Path(values[key]) if values.get(key) else None
        data = values["data"]  # one folder in older versions
        values["data"] = tuple(map(Path, [data] if isinstance(data, str) else data))
        values["recipe"] = Recipe.from_json(values["recipe"]) if "recipe" in values else Recipe()
        if "scales" in values:
            values["scales"] = tuple(values["scales"])
        values["mix"] = tuple((str(name), float(share)) for name, share in values["mix"])
        return cls(**values)


def configure(
    arch: str,
    stage: str,
    preset: str,
    overrides: Mapping[str, Any],
) -> TrainConfig:
    """The run that a preset describes for a network and stage, with some values replaced.

    ``overrides`` holds values by field name; those of the recipe are a mapping under ``recipe``.
    The output folder defaults to ``runs/ARCH-STAGE``. Raises UsageError.
    """
    defaults = {
        "output": Path("runs") / f"{arch}-{stage}",
        **run_defaults(arch, stage, preset),
    }
    recipe = with_overrides(preset_recipe(preset, arch, stage), overrides.get("recipe", {}))
    return TrainConfig(
        **defaults | dict(overrides) | {"arch": arch, "stage": stage, "recipe": recipe}
    )
