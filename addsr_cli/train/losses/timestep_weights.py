"""Timestep-adaptive weights of the distillation loss: TA-ADD, ``d(s, t) = sqrt(abar_t) * f(p(s))`` (AddSR eq. 3, 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from addsr_cli.errors import UsageError
from addsr_cli.schedule import STEPS, Schedule

FORMS = ("exponential", "linear", "none")
INDEXINGS = ("target", "official")


@dataclass(frozen=True, kw_only=True)
class TaWeights:
    """How much the distillation loss counts against the adversarial one, by the student's timestep.

    ``exponential`` is ``mu * nu^(p(s) - 1)`` (eq. 3; the paper's 0.5 and 2.1), ``linear`` is
    ``gamma * p(s) + kappa`` (eq. 4), ``none`` is plain ADD: 1. ``p`` counts 999, 749, 499, 249 from
    1 to 4. Indexing ``official`` is the released trainer's, which looks up the timestep before the
    trained one and gives the last value where there is none.
    """

    form: str = "exponential"
    mu: float = 0.5
    nu: float = 2.1
    gamma: float = 0.4
    kappa: float = 0.5
    indexing: str = "target"

    def __post_init__(self) -> None:
        """Refuse unknown words and weights that turn the loss around."""
        if self.form not in FORMS or self.indexing not in INDEXINGS:
            raise UsageError(
                f"--ta must be {', '.join(FORMS)}, its indexing {' or '.join(INDEXINGS)}."
            )
        if not (self.mu > 0 and self.nu > 0 and min(self.table()) > 0):
            raise UsageError("The weights of --ta must be above 0 at every timestep.")

    def table(self) -> tuple[float, ...]:
        """The factor at each of 999, 749, 499, 249."""
        positions = range(1, len(STEPS) + 1)
        values = {
            "exponential": tuple(self.mu * self.nu ** (p - 1) for p in positions),
            "linear": tuple(self.gamma * p + self.kappa for p in positions),
            "none": tuple(1.0 for _ in positions),
        }[self.form]
        return values if self.indexing == "target" else (values[-1], *values[:-1])

    def factor(self, index: Tensor) -> Tensor:
        """Factors (B,), float32, of samples trained at ``STEPS[index]`` (B,). Raises IndexError beyond them."""
        return torch.tensor(self.table(), device=index.device)[index]

    def __call__(self, schedule: Schedule, index: Tensor, t: Tensor) -> Tensor:
        """``d(s, t)`` (..., B): ``index`` (B,) says which of STEPS is trained, ``t`` (..., B) is the teacher's."""
        abar = schedule.alphas_cumprod.to(t.device)[t]
        return abar.sqrt() * self.factor(index)
