"""An exponential moving average of weights, kept apart from the ones being trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Shadow of parameters, float32. Early on it follows faster: decay ``min(decay, (1+n)/(10+n))``.

    ``device`` keeps the shadow elsewhere, as in main memory while the parameters are on a small
    card.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        decay: float,
        device: torch.device | str | None = None,
    ) -> None:
        self.parameters, self.decay, self.updates = parameters, decay, 0
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
        """Let the parameters carry the averaged values for a while, then give them their own back, bit for bit."""
        own = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._load(self.shadow)
        try:
            yield
        finally:
            self._load(own)

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(values[name])

    def state_dict(self) -> dict[str, object]:
        """Everything needed to go on."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from ``state_dict``."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in state["shadow"].items():  # type: ignore[attr-defined]
            self.shadow[name].copy_(value)
