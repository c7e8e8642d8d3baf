"""What a run will cost, before it starts: parameters, memory by part, arithmetic, hours.

What student and teacher cost is said by their architecture (``TrainingSetup.cost``).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from addsr_cli import hardware
from addsr_cli.models.architecture import Workload
from addsr_cli.models.registry import training_setup
from addsr_cli.schedule import STEPS
from addsr_cli.train.build import DTYPES, machine_for, training_options
from addsr_cli.train.config import TrainConfig

GIB = 1024**3
EYES, HEADS = 43_722_240, 7_630_720  # parameters of DINO with DINOv2, and of the heads on them
USABLE = 0.92  # of a card's memory: the rest is for the driver's context and for fragments
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
    """Return all but the time; ``size`` is the bytes per number of the network."""
    options = training_options(config, torch.float32 if size == 4 else torch.bfloat16)
    cost = training_setup(config.arch).cost(options, _workload(config, size))
    memory = {
        "frozen networks": cost.frozen,
        "trained weights": 4 * cost.trained + cost.copies,
        "gradients": 4 * cost.trained,
        "optimiser": 8 * cost.trained,
        "average": 0 if config.ema_on_cpu else 4 * cost.trained,
        "discriminator": 0,
        "activations": cost.activations,
    }
    judged, more = _judges(config, size)
    return Budget(
        parameters=cost.parameters,
        trained=cost.trained,
        memory={part: own + judged.get(part, 0) for part, own in memory.items()},
        tflop=(cost.tflop + more) * config.batch_size * config.accumulate,
        hours=None,
        card=card,
    )


def _workload(config: TrainConfig, size: int) -> Workload:
    recipe = config.recipe
    return Workload(
        crop=config.crop,
        batch_size=config.batch_size,
        bytes_per_number=size,
        earlier_passes=_earlier(config),
        teacher_passes=recipe.teacher_samples * recipe.teacher_share if recipe.distill else 0,
        decodes_teacher=recipe.space == "pixel",
        accumulates=config.accumulate > 1,
    )


def _earlier(config: TrainConfig) -> float:
    """Passes without gradient before the trained step, for a sample in the middle."""
    first = 1 / 2 if config.recipe.timesteps == "official" else 1 / len(STEPS)
    middle = len(STEPS) / 2 if config.recipe.rollout == "chained" else 1
    return (1 - first) * middle


def _judges(config: TrainConfig, size: int) -> tuple[dict[str, int], float]:
    """Memory and TFLOP a sample of the losses that are networks: VGG16, and discriminators of small pictures."""
    recipe, pixels, half = config.recipe, config.crop**2, size < 4
    judge = (
        {"conv": CONV, "vgg": VGG_HEADS}.get(recipe.discriminator) if recipe.adversarial else None
    )
    memory, saved, flop = {}, 0, 0
    if recipe.adversarial and recipe.discriminator == "dino":
        memory["frozen networks"] = 4 * EYES
        memory["discriminator"] = 16 * HEADS
    if recipe.anchor_lpips or judge is VGG_HEADS:
        looks = 3 + 2 * (
            config.accumulate > 1
        )  # original and picture, backwards to the picture, both again
        frozen = memory.get("frozen networks", 0)
        memory["frozen networks"] = frozen + size * VGG.parameters
        saved, flop = VGG.saved[half], looks * VGG.flop
    if judge:
        memory["discriminator"] = 16 * judge.parameters
        saved, flop = (
            saved + judge.saved[half],
            flop + (2 * WAYS + 2) * judge.flop,
        )  # learn from both, then be asked
    return memory | {"activations": saved * pixels * config.batch_size}, flop * pixels / 1e12
