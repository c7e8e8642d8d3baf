"""An exponential moving average of weights, kept apart from the ones being trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Shadow of a module's parameters, float32. Early on it follows faster: decay ``min(decay, (1+n)/(10+n))``."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {name: p.detach().float().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the shadow towards the module."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in module.named_parameters():
            self.shadow[name].lerp_(p.detach().float(), 1 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Let the module carry the averaged weights for a while, then give it its own back, bit for bit."""
        own = {name: p.detach().clone() for name, p in module.named_parameters()}
        self._load(module, self.shadow)
        try:
            yield
        finally:
            self._load(module, own)

    @staticmethod
    @torch.no_grad()
    def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
        for name, p in module.named_parameters():
            p.copy_(weights[name])

    def state_dict(self) -> dict[str, object]:
        """Everything needed to go on."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from ``state_dict``."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in state["shadow"].items():  # type: ignore[attr-defined]
            self.shadow[name].copy_(value)
