"""What a run will cost, before it starts: parameters, memory by part, arithmetic, hours.

Of the full model the counts are exact and the activations those that autograd saves at 512 px,
counted on the meta device. A nano and its teacher are small enough to be asked: both run once on a
small picture.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from addsr_cli import hardware
from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.schedule import STEPS, T_MAX
from addsr_cli.train.build import DTYPES, machine_for
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.trainable import trainable_nano

GIB = 1024**3
PAIR, TRAINED, ENCODER, PER_RANK = (
    1_615_791_764,
    386_739_280,
    1_086_480,
    607_232,
)  # UNet and ControlNet, at full size
CODEC, TEXT, TAGGER, EYES, HEADS = 83_653_863, 340_387_840, 212_117_045, 43_722_240, 7_630_720
SAVED, SAVED_AGAIN = (
    4.65 * GIB,
    0.72 * GIB,
)  # activations of a 512 px sample in half precision; with checkpointing
PASSING, PASSING_AGAIN = (
    2.8 * GIB,
    1.5 * GIB,
)  # the largest working set beside them: decoder, or one block again
ENCODE, STUDENT, ROLLOUT, TEACHER, DECODE, TRAIN_DECODE, TAG = (
    1.12,
    4.6,
    2.3,
    2.0,
    2.51,
    5.0,
    0.4,
)  # TFLOP at 512 px
USABLE = 0.92  # of a card's memory: the rest is for the driver's context and for fragments
PROBE = 64  # pixels per side of the picture that a nano runs on to be measured
WAYS = 3  # forward, and twice that backward
REACHED = 0.4  # of the measured matrix rate that training reaches


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What VGG16 or a discriminator costs: numbers, bytes that autograd saves and FLOP one way, per pixel.

    ``saved`` is what lies in memory when a picture and its original are judged, in float32 and in
    half precision.
    """

    parameters: int
    saved: tuple[int, int]
    flop: int


CONV = Judge(
    parameters=135_795,
    saved=(1090, 1090),
    flop=20_300,
)
VGG = Judge(
    parameters=14_714_688,
    saved=(2440, 2330),
    flop=611_700,
)  # the distance in float32 included
VGG_HEADS = Judge(
    parameters=299_908,
    saved=(3650, 3650),
    flop=96_600,
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """``memory`` in bytes by part; ``tflop`` of one step of one process; ``hours`` of the whole run.

    ``card``: bytes of a device that is not here; then nothing is known of its speed, and ``hours``
    is None.
    """

    parameters: int
    trained: int
    memory: dict[str, int]
    tflop: float
    hours: float | None
    card: int | None = None

    @property
    def needed(self) -> int:
        """Bytes in all."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        """Whether it fits the card that it was planned for, with room for the allocator; None without one."""
        return None if self.card is None else self.needed <= self.card * USABLE

    def text(self) -> str:
        """For people."""
        lines = [f"{self.parameters:,} parameters, {self.trained:,} of them trained"]
        lines += [f"  {size / GIB:8.2f} GiB  {part}" for part, size in self.memory.items()]
        lines += [f"  {self.needed / GIB:8.2f} GiB  in all", f"{self.tflop:.2f} TFLOP a step"]
        if self.card is not None:
            words = "fits into" if self.fits else "does not fit into"
            lines.append(f"{words} {self.card / GIB:.1f} GiB, of which {USABLE:.0%} are counted on")
            if not self.fits:
                lines.append(
                    "less is needed with --preset lowmem, --lora 32, or a smaller --batch-size or --crop"
                )
        if self.hours is not None:
            lines.append(f"about {self.hours:.1f} hours")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """For programs."""
        return {"status": "planned", **asdict(self), "memory_total": self.needed, "fits": self.fits}


def budget(config: TrainConfig, card: int | None = None) -> Budget:
    """The cost of a run here, or on a device of ``card`` bytes. Raises UsageError for a device that is not there."""
    if card is not None:
        return _counted(config, 4 if config.precision == "fp32" else 2, card)
    machine, mixed = machine_for(config)
    draft = _counted(config, 4 if mixed == "no" else 2)
    given = (
        ()
        if machine.kind == "cpu"
        else (hardware.LARGE_MATRIX[machine.kind], machine.device, DTYPES[mixed])
    )
    hours = draft.tflop * 1e12 * config.steps / (hardware.matmul_flops(*given) * REACHED) / 3600
    return replace(draft, hours=hours)


def _counted(config: TrainConfig, size: int, card: int | None = None) -> Budget:
    """All but the time; ``size`` is that of a number of the network in bytes."""
    parameters, trained, memory, tflop = (_full if config.arch == "addsr" else _nano)(config, size)
    judged, more = _judges(config, size)
    memory = {part: memory.get(part, 0) + judged.get(part, 0) for part in memory | judged}
    tflop = (tflop + more) * config.batch_size * config.accumulate
    return Budget(
        parameters=parameters,
        trained=trained,
        memory=memory,
        tflop=tflop,
        hours=None,
        card=card,
    )


def _full(config: TrainConfig, size: int) -> tuple[int, int, dict[str, int], float]:
    trained = ENCODER + config.lora * PER_RANK if config.lora else TRAINED
    own = ENCODER if config.lora else TRAINED  # what the student has besides the teacher's
    area, wide = (config.crop / 512) ** 2, size // 2
    saved, passing = (SAVED_AGAIN, PASSING_AGAIN) if config.checkpointing else (SAVED, PASSING)
    projected = config.recipe.adversarial > 0 and config.recipe.discriminator == "dino"
    memory = {
        "frozen networks": size * (PAIR + CODEC + TEXT)
        + 4 * TAGGER
        + (4 * EYES if projected else 0),
        "trained weights": 4 * trained
        + (size * own if size < 4 else 0),  # and their copies in half precision
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "average": 0 if config.ema_on_cpu else 4 * trained,
        "discriminator": 16 * HEADS if projected else 0,
        "activations": int(wide * area * (config.batch_size * saved + passing)),
    }
    recipe, decodes = config.recipe, config.recipe.space == "pixel"
    taught = recipe.teacher_samples * recipe.teacher_share if recipe.distill else 0
    tflop = ENCODE + STUDENT + ROLLOUT + taught * (TEACHER + DECODE * decodes) + TRAIN_DECODE + TAG
    if config.accumulate > 1:
        tflop += STUDENT / 3 + DECODE
    return (
        PAIR + CODEC + TEXT + TAGGER,
        trained,
        memory,
        tflop * area * (4 / 3 if config.checkpointing else 1),
    )


def _nano(config: TrainConfig, size: int) -> tuple[int, int, dict[str, int], float]:
    learner, recipe = (
        trainable_nano(config.arch, config.stage, config.init, config.teacher),
        config.recipe,
    )
    trained = sum(p.numel() for p in learner.parameters.values())
    frozen = sum(p.numel() for p in learner.frozen.parameters())
    dtype = torch.float32 if size == 4 else torch.bfloat16
    saved, flop = _probed(learner.student, dtype)
    _, asked = _probed(learner.teacher, dtype) if recipe.distill else (0, 0.0)
    memory = {
        "frozen networks": 4 * frozen,
        "trained weights": 4 * trained,
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "average": 4 * trained,
        "activations": int(saved * config.crop**2 * config.batch_size),
    }
    passes = WAYS + _earlier(config) + (config.accumulate > 1)
    per_pixel = passes * flop + recipe.teacher_samples * recipe.teacher_share * asked
    return trained, trained, memory, config.crop**2 * per_pixel / 1e12


def _earlier(config: TrainConfig) -> float:
    """Passes without gradient before the trained step, for a sample in the middle."""
    first = 1 / 2 if config.recipe.timesteps == "official" else 1 / len(STEPS)
    middle = len(STEPS) / 2 if config.recipe.rollout == "chained" else 1
    return (1 - first) * middle


def _probed(restorer: Restorer, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes that autograd saves and FLOP of one pass, both per pixel, of a picture of PROBE x PROBE."""
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    side = PROBE // restorer.factor
    z, t, control = (
        torch.zeros(1, restorer.channels, side, side),
        torch.tensor([T_MAX]),
        torch.rand(1, 3, PROBE, PROBE),
    )
    counter = FlopCounterMode(display=False)
    mixed = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    with mixed, counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        restorer.decode(restorer.denoise(z, t, control, Conditioning()))
    saved = sum(
        each.untyped_storage().nbytes()
        for each in kept.values()
        if not isinstance(each, nn.Parameter)
    )
    return saved / PROBE**2, counter.get_total_flops() / PROBE**2


def _judges(config: TrainConfig, size: int) -> tuple[dict[str, int], float]:
    """Memory and TFLOP a sample of the losses that are networks: VGG16, and discriminators of small pictures."""
    recipe, pixels, half = config.recipe, config.crop**2, size < 4
    judge = (
        {"conv": CONV, "vgg": VGG_HEADS}.get(recipe.discriminator) if recipe.adversarial else None
    )
    memory, saved, flop = {}, 0, 0
    if recipe.anchor_lpips or judge is VGG_HEADS:
        looks = 3 + 2 * (
            config.accumulate > 1
        )  # original and picture, backwards to the picture, both again
        memory["frozen networks"] = size * VGG.parameters
        saved, flop = VGG.saved[half], looks * VGG.flop
    if judge:
        memory["discriminator"] = 16 * judge.parameters
        saved, flop = (
            saved + judge.saved[half],
            flop + (2 * WAYS + 2) * judge.flop,
        )  # learn from both, then be asked
    return memory | {"activations": saved * pixels * config.batch_size}, flop * pixels / 1e12
