"""Batches of the steps that are left of a run, in order; worker processes prepare them."""

import signal
from collections.abc import Iterator
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from addsr_cli.train.data.dataset import PairDataset
from addsr_cli.train.processes import StepShare

PREFETCHED = 4  # batches per worker


class StepSampler(Sampler[list[int]]):
    """Positions of one process's batches in ``steps`` steps, from position ``first`` on.

    ``PairDataset`` shuffles; the positions are in order.
    """

    def __init__(
        self,
        share: StepShare,
        first: int,
        steps: int,
    ) -> None:
        self.share = share
        self.starts = range(first, first + steps * share.samples, share.samples)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the batches of one step after another."""
        for start in self.starts:
            yield from self.share.positions(start)

    def __len__(self) -> int:
        """Return the number of batches left."""
        return len(self.starts) * self.share.batches


def loader(
    pairs: PairDataset,
    share: StepShare,
    first: int,
    steps: int,
) -> DataLoader[dict[str, Any]]:
    """Return this process's batches of ``steps`` steps from position ``first`` on."""
    workers = pairs.config.workers
    return DataLoader(
        pairs,
        batch_sampler=StepSampler(share, first, steps),
        num_workers=workers,
        worker_init_fn=_prepare_worker,
        prefetch_factor=PREFETCHED if workers else None,
        # a forked child of a process whose OpenMP threads have run can wait for them for ever
        multiprocessing_context="spawn" if workers else None,
    )


def _prepare_worker(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # Ctrl-C reaches all processes of a terminal; the run ends its workers after its last step
    signal.signal(signal.SIGINT, signal.SIG_IGN)
