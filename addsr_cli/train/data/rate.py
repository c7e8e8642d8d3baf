"""Whether the processors keep up with the network: how fast samples are prepared, measured."""

import math
import time
from dataclasses import dataclass
from typing import Any, Self

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.dataset import PairDataset, Photos

MEASURED = 4  # samples, after a first one that loads libraries


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Samples per second that a worker prepares on this machine, and that a process takes.

    ``needed`` is None where the speed of the network is unknown. ``workers`` are those of the run.
    """

    per_worker: float
    needed: float | None
    workers: int

    @classmethod
    def measured(
        cls,
        photos: Photos,
        config: TrainConfig,
        needed: float | None,
    ) -> Self:
        """Prepare a few samples; the processor time counts, because a worker has one thread."""
        pairs = PairDataset(photos, config)
        pairs[0]
        start = time.process_time()
        for position in range(1, MEASURED + 1):
            pairs[position]
        seconds = (time.process_time() - start) / MEASURED
        return cls(
            per_worker=1 / max(seconds, 1e-9),
            needed=needed,
            workers=config.workers,
        )

    @property
    def workers_needed(self) -> int | None:
        """Number of workers that keep one process busy."""
        return None if self.needed is None else math.ceil(self.needed / self.per_worker)

    def text(self) -> str:
        """Return one line for a person."""
        line = f"one worker on this machine prepares {self.per_worker:.1f} samples/s"
        if self.needed is None or self.workers_needed is None:
            return line
        line += f", a process needs {self.needed:.1f}"
        enough = self.workers_needed <= max(self.workers, 1)
        return line if enough else f"{line}: use --workers {self.workers_needed}"

    def record(self) -> dict[str, Any]:
        """Return the fields of the JSON object."""
        return {
            "samples_per_second_and_worker": self.per_worker,
            "workers_needed": self.workers_needed,
        }
