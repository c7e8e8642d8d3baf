"""What a run will cost, before it starts: parameters, memory by part, arithmetic, hours.

Of the full model the counts are exact and the activations those that autograd saves at 512 px, counted on the meta
device; of nano everything follows from the network itself.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from addsr_cli import hardware
from addsr_cli.models.registry import NANO
from addsr_cli.train.build import DTYPES, machine_for
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.learner import nano_learner

GIB = 1024**3
PAIR, TRAINED, ENCODER, PER_RANK = 1_615_791_764, 386_739_280, 1_086_480, 607_232  # UNet and ControlNet, at full size
CODEC, TEXT, TAGGER, EYES, HEADS = 83_653_863, 340_387_840, 212_117_045, 43_722_240, 7_630_720
SAVED, SAVED_AGAIN = 4.65 * GIB, 0.72 * GIB  # activations of a 512 px sample in half precision; with checkpointing
PASSING, PASSING_AGAIN = 2.8 * GIB, 1.5 * GIB  # the largest working set beside them: decoder, or one block again
ENCODE, STUDENT, ROLLOUT, TEACHER, DECODE, TRAIN_DECODE, TAG = 1.12, 4.6, 2.3, 2.0, 2.51, 5.0, 0.4  # TFLOP at 512 px
NANO_SAVED = 1100  # bytes that autograd saves per HR pixel of nano, its discriminator included
NANO_JUDGE = 20_300  # FLOP per pixel of the convolutional discriminator, one way
USABLE = 0.92  # of a card's memory: the rest is for the driver's context and for fragments
REACHED = 0.4  # of the measured matrix rate that training reaches


@dataclass(frozen=True, kw_only=True)
class Budget:
    """``memory`` in bytes by part; ``tflop`` of one step of one process; ``hours`` of the whole run.

    ``card``: bytes of a device that is not here; then nothing is known of its speed, and ``hours`` is None.
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
                lines.append("less is needed with --preset lowmem, --lora 32, or a smaller --batch-size or --crop")
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
    given = () if machine.kind == "cpu" else (hardware.LARGE_MATRIX[machine.kind], machine.device, DTYPES[mixed])
    hours = draft.tflop * 1e12 * config.steps / (hardware.multiply_rate(*given) * REACHED) / 3600
    return replace(draft, hours=hours)


def _counted(config: TrainConfig, size: int, card: int | None = None) -> Budget:
    """All but the time; ``size`` is that of a number of the network in bytes."""
    made = _full(config, size) if config.arch == "addsr" else _nano(config)
    parameters, trained, memory, tflop = made
    tflop *= config.batch_size * config.accumulate
    return Budget(parameters=parameters, trained=trained, memory=memory, tflop=tflop, hours=None, card=card)


def _full(config: TrainConfig, size: int) -> tuple[int, int, dict[str, int], float]:
    trained = ENCODER + config.lora * PER_RANK if config.lora else TRAINED
    own = ENCODER if config.lora else TRAINED  # what the student has besides the teacher's
    area, wide = (config.crop / 512) ** 2, size // 2
    saved, passing = (SAVED_AGAIN, PASSING_AGAIN) if config.checkpointing else (SAVED, PASSING)
    projected = config.recipe.adversarial > 0 and config.recipe.discriminator == "dino"
    memory = {
        "frozen networks": size * (PAIR + CODEC + TEXT) + 4 * TAGGER + (4 * EYES if projected else 0),
        "trained weights": 4 * trained + (size * own if size < 4 else 0),  # and their copies in half precision
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "average": 0 if config.ema_on_cpu else 4 * trained,
        "discriminator": 16 * HEADS if projected else 0,
        "activations": int(wide * area * (config.batch_size * saved + passing)),
    }
    recipe, decodes = config.recipe, config.recipe.space == "pixel"
    tflop = ENCODE + STUDENT + ROLLOUT + recipe.teacher_samples * (TEACHER + DECODE * decodes) + TRAIN_DECODE + TAG
    if config.accumulate > 1:
        tflop += STUDENT / 3 + DECODE
    return PAIR + CODEC + TEXT + TAGGER, trained, memory, tflop * area * (4 / 3 if config.checkpointing else 1)


def _nano(config: TrainConfig) -> tuple[int, int, dict[str, int], float]:
    learner = nano_learner(config.arch, config.stage, config.init, config.teacher)
    trained = sum(p.numel() for p in learner.parameters.values())
    pixels, ways = config.crop**2, 3  # forward and twice that backward
    memory = {
        "frozen networks": 4 * trained,
        "trained weights": 4 * trained,
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "average": 4 * trained,
        "activations": NANO_SAVED * pixels * config.batch_size,
    }
    per_pixel = NANO.footprint.flop * trained / NANO.footprint.parameters
    passes = ways + 1.5 + (config.recipe.teacher_samples if config.stage == "student" else 0)
    judged = 3 * ways * NANO_JUDGE if config.stage == "student" and config.recipe.adversarial else 0
    return trained, trained, memory, pixels * (per_pixel * passes + judged) / 1e12
