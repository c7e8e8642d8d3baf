"""Muon for convolutions: momentum whose every update is brought close to an orthogonal matrix.

Jordan et al. 2024. torch's own Muon takes only two-dimensional weights and computes in bfloat16, which many processors
emulate at a hundredth of the speed; this one reads a kernel (out, in, kh, kw) as a matrix of ``out`` rows and runs the
iteration on its Gram matrix in float32, where most of the arithmetic is on small squares.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic Newton-Schulz step, as in the reference implementation
ITERATIONS = 5
RMS_OF_ADAM = 0.2  # scales updates to the size AdamW's have, so that one learning rate serves both (Liu et al. 2025)


def orthogonalise(matrix: Tensor) -> Tensor:
    """U S' V^T with all singular values S' near 1, from ``matrix`` = U S V^T (rows, columns); float32."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp(min=1e-7)
    gram = x @ x.T
    eye = torch.eye(len(gram), device=x.device)
    a, b, c = COEFFICIENTS
    product = eye
    for _ in range(ITERATIONS):
        factor = a * eye + b * gram + c * (gram @ gram)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised; for weights of two or more dimensions."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["momentum"])

    def _update(self, weight: Tensor, grad: Tensor, lr: float, momentum: float) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        average = state["momentum"].lerp_(grad, 1 - momentum)
        direction = grad.lerp(average, momentum)
        flat = orthogonalise(direction.flatten(1))
        rows, columns = flat.shape
        scale = RMS_OF_ADAM * max(rows, columns) ** 0.5
        weight.add_(flat.view_as(weight), alpha=-lr * scale)
