"""Muon (K. Jordan et al. 2024) for convolution kernels, with steps relative to their size.

The momentum of a kernel, as a matrix of output channels by everything else, is replaced by the
nearest matrix whose singular values are about 1: every direction moves equally far. A step
changes a kernel by ``lr`` times the norm that it had at the start, so that one learning rate fits
layers of any width. torch.optim.Muon takes matrices only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the iteration, from Muon's authors
ADAM_SHARE = 0.05  # AdamW's learning rate for all other parameters, in units of Muon's


def is_kernel(parameter: Tensor) -> bool:
    """Whether Muon trains a parameter: a kernel of a hidden layer that is not all zeros.

    Kernels with up to three output channels make pixels; zeros have no size to be relative to.
    """
    return parameter.ndim == 4 and parameter.shape[0] > 3 and bool(parameter.any())


class Muon(Optimizer):
    """Nesterov momentum, made orthogonal; ``lr`` is a share of each kernel's first norm."""

    def __init__(self, kernels: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(kernels, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is evaluated
        """Update every kernel that has a gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._update(kernel, group["lr"], self.state[kernel])

    def _update(
        self,
        kernel: nn.Parameter,
        lr: float,
        state: dict[str, Any],
    ) -> None:
        assert kernel.grad is not None
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
            state["norm"] = float(kernel.norm())
        momentum: Tensor = state["momentum"]
        momentum.mul_(MOMENTUM).add_(kernel.grad)
        gradient = kernel.grad.add(momentum, alpha=MOMENTUM)
        direction = orthogonalized(gradient.flatten(1)).view_as(kernel)
        size = float(direction.norm())
        if size > 0:
            kernel.add_(direction, alpha=-lr * state["norm"] / size)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix (m, n) with the same singular vectors and singular values near 1.

    Five Newton-Schulz iterations of odd degree five bring them to about 0.7 to 1.2.
    """
    first, third, fifth = QUINTIC
    x = matrix / (matrix.norm() + 1e-12)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x
