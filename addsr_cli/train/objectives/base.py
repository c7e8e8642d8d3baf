"""The interface between the training loop and what it optimizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Training pairs: ``hr`` and ``canvas`` (B, 3, H, W), float32 in [0, 1].

    ``tags`` has a string for each, "" where they are not known.
    """

    hr: Tensor
    canvas: Tensor
    tags: tuple[str, ...]

    @classmethod
    def of(cls, raw: dict[str, Any], device: torch.device) -> Self:
        """Return a batch of the data loader on a device."""
        return cls(
            hr=raw["hr"].to(device),
            canvas=raw["canvas"].to(device),
            tags=tuple(raw["tags"]),
        )


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """Metrics of one step by name, and the loss of each sample with the index of its timestep."""

    values: dict[str, float]
    by_timestep: tuple[tuple[int, float], ...] = ()


class Objective(Protocol):
    """A training step: losses, gradients and updates."""

    def step(
        self,
        batches: Sequence[Batch],
        number: int,
        lr: float,
    ) -> StepMetrics:
        """Make update ``number`` from the accumulated batches.

        Raises AddsrError for a loss or gradient that is not finite, before weights move.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the student's weights that resuming needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...
