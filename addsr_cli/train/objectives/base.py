"""The interface between the training loop and what it optimizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Training pairs: ``hr`` and ``canvas`` (B, 3, H, W), float32 in [0, 1].

    ``tags`` has a string for each, "" where they are not known; ``positions`` are the places of the
    samples in the run, from which everything random about them follows. ``reductions`` tell how
    many times smaller than HR each LR photo was. ``imitated`` (B, 3, H, W) takes the place of HR as
    what the student's picture should be, and, unless ``original_is_real``, as what a discriminator
    takes for real.
    """

    hr: Tensor
    canvas: Tensor
    tags: tuple[str, ...]
    positions: tuple[int, ...]
    reductions: tuple[float, ...] = ()
    imitated: Tensor | None = None
    original_is_real: bool = False

    @property
    def target(self) -> Tensor:
        """What the student's picture should be, (B, 3, H, W)."""
        return self.hr if self.imitated is None else self.imitated

    @property
    def real(self) -> Tensor:
        """What a discriminator takes for real, (B, 3, H, W)."""
        return self.hr if self.original_is_real else self.target

    @classmethod
    def of(cls, raw: dict[str, Any], device: torch.device) -> Self:
        """Return a batch of the data loader on a device."""
        return cls(
            hr=raw["hr"].to(device),
            canvas=raw["canvas"].to(device),
            tags=tuple(raw["tags"]),
            positions=tuple(raw["position"].tolist()),
            reductions=tuple(raw["reduction"].tolist()),
        )


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """Metrics of one step by name, and the loss of each sample with the index of its timestep.

    ``values`` are means over the ``samples`` that this process had in the step.
    """

    samples: int
    values: dict[str, float]
    by_timestep: tuple[tuple[int, float], ...] = ()


class Objective(Protocol):
    """A training step: losses, gradients and updates."""

    def step(
        self,
        batches: Sequence[Batch],
        lr: float,
        *,
        samples: int | None = None,
    ) -> StepMetrics:
        """Make one update from the accumulated batches.

        ``samples`` is the number of samples of all processes in this update, by default those of
        ``batches``: the loss is their mean. Raises AddsrError for a loss or gradient that is
        not finite, before weights move.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the student's weights that resuming needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        ...
