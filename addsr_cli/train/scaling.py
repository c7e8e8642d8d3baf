"""How a run would scale over GPUs that are not in this machine, from published figures of them.

A step takes the arithmetic of one process's share and then the exchange of gradients: a ring sends
``2 (n - 1) / n`` times their bytes over the slowest link. With a sharded optimizer the new weights
follow, ``(n - 1) / n`` times their bytes. What a run reaches of both is an assumption (``REACHED``,
``LINK_REACHED``); a run prints its true pace.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from addsr_cli.train.budget import GIB, REACHED, Budget, budget
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.processes import StepShare

LINK_REACHED = 0.5  # of a link's rate
MACHINE_GPUS = 8  # more of them are in several machines


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """``memory`` in bytes, dense bf16 ``flops`` per second, ``link`` in bytes/s each way."""

    memory: int
    flops: float
    link: float


# NVIDIA's data sheets; NVLink for A100 and later SXM GPUs, PCIe 4.0 x16 for the others
GPUS = {
    "a100-40g": Gpu(memory=40 * GIB, flops=312e12, link=300e9),
    "a100-80g": Gpu(memory=80 * GIB, flops=312e12, link=300e9),
    "h100": Gpu(memory=80 * GIB, flops=989e12, link=450e9),
    "h200": Gpu(memory=141 * GIB, flops=989e12, link=450e9),
    "l40s": Gpu(memory=48 * GIB, flops=362e12, link=32e9),
    "rtx4090": Gpu(memory=24 * GIB, flops=165e12, link=32e9),
    "rtx3090": Gpu(memory=24 * GIB, flops=71e12, link=32e9),
}


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """The run on ``gpus``: seconds of a step's arithmetic and exchange, samples in a step."""

    gpus: int
    samples: int
    compute: float
    exchange: float
    hours: float

    @property
    def per_second(self) -> float:
        """Samples per second of all GPUs."""
        return self.samples / (self.compute + self.exchange)

    def record(self, alone: "Throughput") -> dict[str, Any]:
        """Return the pace with its efficiency, 1 where n GPUs are n times as fast as one."""
        efficiency = self.per_second / (self.gpus * alone.per_second)
        return {**asdict(self), "samples_per_second": self.per_second, "efficiency": efficiency}


def paces(
    config: TrainConfig,
    gpu: Gpu,
    gpus: int,
    network: float,
) -> list[Throughput]:
    """Return the pace on 1, 2, 4, ... and ``gpus`` GPUs, with ``network`` in Gbit/s.

    Raises UsageError when a step has too few samples for them.
    """
    StepShare(samples=config.step_samples(gpus), batch_size=config.batch_size, processes=gpus)
    doubled = [2**k for k in range(gpus.bit_length()) if 2**k < gpus]
    return [_pace(config, gpu, n, network) for n in (*doubled, gpus)]


def plan_for(
    config: TrainConfig,
    gpu: Gpu,
    gpus: int,
) -> Budget:
    """Return the budget of one of several processes, each on a GPU."""
    own = math.ceil(config.step_samples(gpus) / gpus)
    batch_size = min(config.batch_size, own)
    alone = replace(
        config,
        total_batch=0,
        batch_size=batch_size,
        accumulate=math.ceil(own / batch_size),
    )
    return budget(alone, gpu.memory, gpus)


def table(run: list[Throughput], network: float) -> str:
    """Return the paces as text."""
    lines = ["   GPUs  samples/step  s/step  exchange  samples/s  efficiency  hours"]
    for pace in run:
        seconds = pace.compute + pace.exchange
        efficiency = pace.record(run[0])["efficiency"]
        lines.append(
            f"  {pace.gpus:5d}  {pace.samples:12d}  {seconds:6.2f}  {pace.exchange / seconds:8.0%}"
            f"  {pace.per_second:9.1f}  {efficiency:10.0%}  {pace.hours:5.1f}"
        )
    if run[-1].gpus > MACHINE_GPUS:
        lines.append(
            f"  beyond {MACHINE_GPUS} GPUs over a network of {network:g} Gbit/s (--network)"
        )
    if run[-1].samples > run[0].samples:
        alone = run[0].samples
        lines.append(
            f"  samples/step grow with the GPUs; --total-batch {alone} keeps them constant"
        )
    return "\n".join(lines)


def _pace(
    config: TrainConfig,
    gpu: Gpu,
    gpus: int,
    network: float,
) -> Throughput:
    plan = plan_for(config, gpu, gpus)
    compute = plan.tflop * 1e12 / (gpu.flops * REACHED)
    link = gpu.link if gpus <= MACHINE_GPUS else min(gpu.link, network * 1e9 / 8)
    rounds = 3 if config.shard_optimizer else 2  # weights are as large as their gradients
    sent = rounds * (gpus - 1) / gpus * plan.memory["gradients"]
    exchange = sent / (link * LINK_REACHED)
    return Throughput(
        gpus=gpus,
        samples=config.step_samples(gpus),
        compute=compute,
        exchange=exchange,
        hours=config.steps * (compute + exchange) / 3600,
    )
