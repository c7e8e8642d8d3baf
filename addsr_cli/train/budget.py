"""The cost of a run, before it starts: parameters, memory by part, arithmetic, hours.

The cost of student and teacher comes from their architecture (``TrainingSetup.cost``).
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from addsr_cli import hardware
from addsr_cli.models.architecture import Workload
from addsr_cli.models.registry import training_setup
from addsr_cli.schedule import STEPS
from addsr_cli.train.build import DTYPES, machine_for, training_options
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.recipe import PSR_OFF

GIB = 1024**3
DINO_PARAMETERS = 43_722_240  # of DINO and DINOv2 together
DINO_HEADS = 7_630_720
USABLE = 0.92  # of a GPU's memory: the rest is for the driver's context and fragmentation
FORWARD_BACKWARD = 3  # the backward pass costs twice the forward pass
REACHED = 0.4  # of the measured matmul FLOP/s


@dataclass(frozen=True, kw_only=True)
class LossNetwork:
    """Cost of VGG16 or of a discriminator: parameters, and bytes and FLOP per pixel.

    ``saved`` are the bytes that autograd saves for an image and its HR, in float32 and in half
    precision; ``flop`` is one forward pass.
    """

    parameters: int
    saved: tuple[int, int]
    flop: int


CONV = LossNetwork(
    parameters=135_795,
    saved=(1090, 1090),
    flop=20_300,
)
VGG = LossNetwork(
    parameters=14_714_688,
    saved=(2440, 2330),
    flop=611_700,
)
VGG_HEADS = LossNetwork(
    parameters=299_908,
    saved=(3650, 3650),
    flop=96_600,
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """``memory`` in bytes by part, ``tflop`` per step and process, ``hours`` of the whole run.

    A process has ``batches`` of up to ``batch_size`` samples in each step.
    ``card`` is the memory in bytes of a GPU that is not in this machine. Its speed is unknown, and
    ``hours`` is None.
    """

    parameters: int
    trained: int
    memory: dict[str, int]
    batches: int
    batch_size: int
    tflop: float
    hours: float | None
    card: int | None = None

    @property
    def needed(self) -> int:
        """Total memory in bytes."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        """Whether the run fits into ``card``; None without one."""
        return None if self.card is None else self.needed <= self.card * USABLE

    def samples_per_second(self, config: TrainConfig) -> float | None:
        """Pace of the run on this machine; None where the speed is unknown."""
        if self.hours is None:
            return None
        return config.steps * config.step_samples() / (3600 * self.hours)

    def text(self) -> str:
        """Return the plan as text."""
        lines = [f"{self.parameters:,} parameters, {self.trained:,} of them trained"]
        lines += [f"  {size / GIB:8.2f} GiB  {part}" for part, size in self.memory.items()]
        lines.append(f"  {self.needed / GIB:8.2f} GiB  in all")
        batches = "1 batch" if self.batches == 1 else f"{self.batches} batches"
        lines.append(f"{self.tflop:.2f} TFLOP a step, of {batches} of {self.batch_size}")
        if self.card is not None:
            words = "fits into" if self.fits else "does not fit into"
            lines.append(f"{words} {self.card / GIB:.1f} GiB, of which {USABLE:.0%} are counted on")
            if not self.fits:
                lines.append(
                    "less is needed with --preset lowmem, --lora 32, a smaller --batch-size "
                    "or --crop, or with several GPUs --shard-optimizer"
                )
        if self.hours is not None:
            lines.append(f"about {self.hours:.1f} hours")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {"status": "planned", **asdict(self), "memory_total": self.needed, "fits": self.fits}


def budget(
    config: TrainConfig,
    card: int | None = None,
    processes: int = 1,
) -> Budget:
    """Return the cost of a run on this machine, or for one of ``processes`` GPUs of ``card`` bytes.

    Raises UsageError for a device that this machine does not have.
    """
    if card is not None:
        return _count(config, 4 if config.precision == "fp32" else 2, card, processes)
    machine, mixed = machine_for(config)
    draft = _count(config, 4 if mixed == "no" else 2)
    if machine.kind == "cpu":
        peak = hardware.matmul_flops()
    else:
        side = hardware.LARGE_MATRIX[machine.kind]
        peak = hardware.matmul_flops(side, machine.device, DTYPES[mixed])
    seconds = draft.tflop * 1e12 * config.steps / (peak * REACHED)
    return replace(draft, hours=seconds / 3600)


def _count(
    config: TrainConfig,
    size: int,
    card: int | None = None,
    processes: int = 1,
) -> Budget:
    """Return the budget without the time; ``size`` is the bytes per number of the network."""
    options = training_options(config, torch.float32 if size == 4 else torch.bfloat16)
    cost = training_setup(config.arch).cost(options, _workload(config, size))
    memory = {
        "frozen networks": cost.frozen,
        "trained weights": 4 * cost.trained + cost.copies,
        "gradients": 4 * cost.trained,
        "optimiser": 8 * cost.trained // (processes if config.shard_optimizer else 1),
        "average": 0 if config.ema_on_cpu else 4 * cost.trained,
        "discriminator": 0,
        "activations": cost.activations,
    }
    loss_memory, loss_tflop = _loss_networks(config, size)
    return Budget(
        parameters=cost.parameters,
        trained=cost.trained,
        memory={part: own + loss_memory.get(part, 0) for part, own in memory.items()},
        batches=math.ceil(config.step_samples() / config.batch_size),
        batch_size=config.batch_size,
        tflop=(cost.tflop + loss_tflop) * config.step_samples(),
        hours=None,
        card=card,
    )


def _workload(config: TrainConfig, size: int) -> Workload:
    recipe = config.recipe
    return Workload(
        crop=config.crop,
        batch_size=config.batch_size,
        bytes_per_number=size,
        earlier_passes=_earlier_passes(config),
        teacher_passes=recipe.teacher_samples * recipe.teacher_share if recipe.distill else 0,
        decodes_teacher=recipe.space == "pixel",
        accumulates=config.step_samples() > config.batch_size,
    )


def _earlier_passes(config: TrainConfig) -> float:
    """Mean number of passes without gradient before the trained step."""
    recipe = config.recipe
    if recipe.rollout != "chained" and recipe.psr == PSR_OFF:
        return 0.0
    first = 1 / 2 if recipe.timesteps == "official" else 1 / len(STEPS)
    middle = 1 if recipe.rollout == "teacher-forced" else len(STEPS) / 2
    return (1 - first) * middle


def _loss_networks(config: TrainConfig, size: int) -> tuple[dict[str, int], float]:
    """Memory in bytes and TFLOP per sample of VGG16 and of the discriminator."""
    recipe = config.recipe
    pixels = config.crop**2
    half = size < 4
    heads = None
    if recipe.adversarial:
        heads = {"conv": CONV, "vgg": VGG_HEADS}.get(recipe.discriminator)
    memory = {}
    saved = 0
    flop = 0
    if heads is None and recipe.adversarial and not training_setup(config.arch).random:
        memory["frozen networks"] = 4 * DINO_PARAMETERS
        memory["discriminator"] = 16 * DINO_HEADS
    if recipe.anchor_lpips or heads is VGG_HEADS:
        # forward of HR and of the image, backward to the image; both again when accumulating
        passes = 3 + 2 * (config.step_samples() > config.batch_size)
        frozen = memory.get("frozen networks", 0)
        memory["frozen networks"] = frozen + size * VGG.parameters
        saved = VGG.saved[half]
        flop = passes * VGG.flop
    if heads:
        # its own update on HR and on the image, then the adversarial loss and its gradient
        memory["discriminator"] = 16 * heads.parameters
        saved += heads.saved[half]
        flop += (2 * FORWARD_BACKWARD + 2) * heads.flop
    return memory | {"activations": saved * pixels * config.batch_size}, flop * pixels / 1e12
