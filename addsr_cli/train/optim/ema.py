"""Exponential moving average (EMA) of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averaged copy of parameters, float32.

    ``shadow = d * shadow + (1 - d) * p`` with ``d = min(decay, (1 + n) / (10 + n))`` at update
    ``n``. ``device`` is where the copy is stored, to save GPU memory.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        decay: float,
        device: torch.device | str | None = None,
    ) -> None:
        self.parameters = parameters
        self.decay = decay
        self.updates = 0
        self.shadow = {
            name: p.detach().to(device or p.device, torch.float32, copy=True)
            for name, p in parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in self.parameters.items():
            shadow = self.shadow[name]
            shadow.lerp_(p.detach().to(shadow.device, torch.float32), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the parameters to the averaged values, and restore them afterwards."""
        trained = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._load(self.shadow)
        try:
            yield
        finally:
            self._load(trained)

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    def state_dict(self) -> dict[str, object]:
        """Return the number of updates and the averaged values."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore ``state_dict``."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in state["shadow"].items():  # type: ignore[attr-defined]
            self.shadow[name].copy_(value)
