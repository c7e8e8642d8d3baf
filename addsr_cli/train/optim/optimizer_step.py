"""From the gradients of one network to new weights: averaged, clipped, checked, applied."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from addsr_cli.errors import AddsrError
from addsr_cli.train.optim.gradient_sum import add_over_processes
from addsr_cli.train.optim.muon import ADAM_SHARE, Muon, is_kernel

HINT = "The last checkpoint is intact: resume from it with a lower --lr or with --precision fp32."


class OptimizerStep:
    """Accumulates gradients of ``parameters`` in ``backward`` and applies them in ``step``.

    Gradients are added over processes once per step, whatever the number of backward passes. In
    half precision the loss is scaled, and a step whose gradients overflow is skipped; the scale
    adapts that way. With ``shard``, several processes divide the states of the optimizers.
    """

    def __init__(
        self,
        network: str,
        parameters: Mapping[str, nn.Parameter],
        optimizers: Sequence[Optimizer],
        accelerator: Accelerator,
        clip: float | None,
        *,
        shard: bool = False,
    ) -> None:
        self.network = network
        self.parameters = dict(parameters)
        self.optimizers = list(optimizers)
        if shard and accelerator.num_processes > 1:
            from addsr_cli.train.optim.sharded import ShardedOptimizer  # takes seconds to import

            self.optimizers = [ShardedOptimizer(optimizer) for optimizer in optimizers]
        self.accelerator = accelerator
        self.clip = clip
        half = accelerator.mixed_precision == "fp16"
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=half)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss.

        Raises AddsrError when it is not finite, before any weight has moved.
        """
        value = loss.item()
        if not math.isfinite(value):
            raise AddsrError(f"The loss of the {self.network} became {value}.", HINT)
        if loss.requires_grad:  # not where no sample of the batch is compared with the teacher
            torch.autograd.backward([self.scaler.scale(loss)])

    def step(self, lr: float) -> float:
        """Update the weights, clear the gradients, and return their norm before clipping.

        Raises AddsrError when a gradient is not finite and the loss is not scaled.
        """
        if self.accelerator.num_processes > 1:
            add_over_processes(list(self.parameters.values()))
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
        gradients = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        norm = float(nn.utils.get_total_norm(gradients.values()))
        finite = math.isfinite(norm)
        if self.clip is not None and finite:
            nn.utils.clip_grads_with_norm_(self.parameters.values(), self.clip, torch.tensor(norm))
        if not finite and not self.scaler.is_enabled():
            name = _first_non_finite(gradients)
            problem = f"The gradient of {name} in the {self.network} became {norm}."
            raise AddsrError(problem, HINT)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizers and of the loss scaler.

        All processes must ask together; of sharded states, the first gets the whole.
        """
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        for optimizer, saved in zip(
            self.optimizers,
            state["optimizers"],
            strict=True,
        ):
            optimizer.load_state_dict(saved)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def optimizers(
    name: str,
    groups: list[dict[str, Any]],
    lr: float,
    weight_decay: float,
) -> list[Optimizer]:
    """Return AdamW, or Muon for the kernels and AdamW for all other parameters."""
    if name == "adamw":
        return [adamw(groups, lr, weight_decay)]
    parameters = [p for group in groups for p in group["params"]]
    kernels = [p for p in parameters if is_kernel(p)]
    others = [p for p in parameters if not is_kernel(p)]
    slow = {"params": others, "lr_scale": ADAM_SHARE}
    return [Muon(kernels, lr), adamw([slow], lr, weight_decay)]


def adamw(
    groups: list[dict[str, Any]],
    lr: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Return AdamW with the released trainer's settings; without decay it is the paper's Adam."""
    return torch.optim.AdamW(
        groups,
        lr,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=weight_decay,
    )


def _first_non_finite(gradients: Mapping[str, Tensor]) -> str:
    for name, gradient in gradients.items():
        if not torch.isfinite(gradient).all():
            return name
    return "all weights together"
