"""One network's way from gradients to new weights: over processes, clipped, checked, applied."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from addsr_cli.errors import AddsrError
from addsr_cli.train.optim.gradient_averaging import average

HINT = "The last checkpoint is from before: resume from it with a lower --lr or --precision fp32."


class OptimizerStep:
    """Gradients of ``parameters`` are summed by ``backward`` and used by ``step``.

    They are averaged over processes once per step, whatever number of backward passes they come
    from. In half precision the loss is scaled, and a step whose gradients overflow is skipped,
    which is how the scale is found.
    """

    def __init__(
        self,
        what: str,
        parameters: Mapping[str, nn.Parameter],
        optimisers: Sequence[Optimizer],
        accelerator: Accelerator,
        clip: float | None,
    ) -> None:
        self.what, self.parameters, self.optimisers = what, dict(parameters), list(optimisers)
        self.accelerator, self.clip = accelerator, clip
        half = accelerator.mixed_precision == "fp16"
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=half)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss. Raises AddsrError when it is not finite: no weight has moved yet."""
        if not math.isfinite(value := loss.item()):
            raise AddsrError(f"The loss of the {self.what} became {value}.", HINT)
        torch.autograd.backward([self.scaler.scale(loss)])

    def step(self, lr: float) -> float:
        """Update the weights and forget the gradients; returns the gradients' norm before clipping."""
        self._average()
        for optimiser in self.optimisers:
            self.scaler.unscale_(optimiser)
            for group in optimiser.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
        gradients = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        norm = float(nn.utils.get_total_norm(gradients.values()))
        if self.clip is not None and math.isfinite(norm):
            nn.utils.clip_grads_with_norm_(self.parameters.values(), self.clip, torch.tensor(norm))
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise AddsrError(
                f"The gradient of {_culprit(gradients)} in the {self.what} became {norm}.", HINT
            )
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        self.scaler.update()
        return norm

    def _average(self) -> None:
        if self.accelerator.num_processes > 1:
            gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
            average(gradients, self.accelerator.num_processes)

    def state_dict(self) -> dict[str, Any]:
        """What a later process needs to go on."""
        return {
            "optimisers": [o.state_dict() for o in self.optimisers],
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def adamw(groups: list[dict[str, Any]], lr: float) -> torch.optim.AdamW:
    """The released trainer's optimiser (AddSR section 4.1)."""
    return torch.optim.AdamW(
        groups,
        lr,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
    )


def _culprit(gradients: Mapping[str, Tensor]) -> str:
    return next(
        (name for name, grad in gradients.items() if not torch.isfinite(grad).all()),
        "all weights together",
    )
