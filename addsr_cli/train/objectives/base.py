"""What the training loop knows of what is being learnt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pairs: ``hr`` and ``canvas`` (B, 3, H, W), float32 in [0, 1], and the tags of each, "" where none are known."""

    hr: Tensor
    canvas: Tensor
    tags: tuple[str, ...]

    @classmethod
    def of(cls, raw: dict[str, Any], device: torch.device) -> Self:
        """From what the loader collated."""
        return cls(
            hr=raw["hr"].to(device),
            canvas=raw["canvas"].to(device),
            tags=tuple(raw["tags"]),
        )


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One step's figures by name, and each sample's loss with the index of its timestep."""

    values: dict[str, float]
    by_timestep: tuple[tuple[int, float], ...] = ()


class Objective(Protocol):
    """Gradients and updates: everything of a step but its data."""

    def step(self, batches: Sequence[Batch], number: int, lr: float) -> StepMetrics:
        """One update from the batches that are accumulated. Raises AddsrError before weights become unusable."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs besides the student's weights."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        ...
