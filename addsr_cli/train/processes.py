"""One run in several processes: who trains on which samples, and what all of them agree on.

The samples of a step are a range of positions. Process ``r`` of ``n`` takes every n-th of them,
from the r-th on, in batches that fit into its memory. Every sample weighs the same, so a run is the
same for any number of processes, up to rounding.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import distributed

from addsr_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class StepShare:
    """What process ``rank`` of ``processes`` has of each step's ``samples``.

    ``batch_size`` is the most that it takes at once. Raises UsageError where a process would have
    nothing to do.
    """

    samples: int
    batch_size: int
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        """Check that every process has a sample."""
        if self.samples < self.processes:
            raise UsageError(
                f"A step of {self.samples} samples cannot be shared by {self.processes} processes.",
                "Start fewer processes, or raise --total-batch.",
            )

    @property
    def batches(self) -> int:
        """Number of batches of this process in each step."""
        return sum(1 for _ in self.positions(0))

    def positions(self, first: int) -> Iterator[list[int]]:
        """Yield the positions of each batch in the step that begins at position ``first``."""
        own = range(first + self.rank, first + self.samples, self.processes)
        for start in range(0, len(own), self.batch_size):
            yield list(own[start : start + self.batch_size])


def join_restarted(backend: str, timeout: timedelta) -> None:
    """Join the processes that torchrun has restarted; do nothing at the first start.

    torchrun 2.13 hands restarted processes the store of their predecessors, in which they find
    addresses of processes that are gone and wait for them. A prefix keeps the starts apart. Over
    several machines the number of restarts differs, and torchrun must be told to open a new store:
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.
    """
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not restarts or not shared or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return
    processes = int(os.environ["WORLD_SIZE"])
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        processes,
        is_master=False,
        timeout=timeout,
    )
    distributed.init_process_group(
        backend,
        store=distributed.PrefixStore(f"restart-{restarts}", store),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=processes,
        timeout=timeout,
    )


def any_process(condition: bool, accelerator: Accelerator) -> bool:
    """Whether a condition holds in at least one process. All must ask together."""
    if accelerator.num_processes == 1:
        return condition
    flag = torch.tensor([condition], dtype=torch.int32, device=accelerator.device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)


def from_main(value: Any, accelerator: Accelerator) -> Any:  # noqa: ANN401 (the type of ``value``)
    """Return the main process's ``value`` in every process. All must ask together."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value
