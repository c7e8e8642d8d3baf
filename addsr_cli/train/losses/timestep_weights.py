"""Timestep-adaptive weights of the distillation loss: TA-ADD, ``d(s, t) = sqrt(abar_t) * f(p(s))`` (AddSR eq. 3, 4)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from addsr_cli.errors import UsageError
from addsr_cli.options import check_choices
from addsr_cli.schedulers import STEPS
from addsr_cli.train.option_panels import LOSSES, train_option

if TYPE_CHECKING:
    from torch import Tensor

    from addsr_cli.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class TaWeights:
    """How much the distillation loss counts against the adversarial one, by the student's timestep.

    ``exponential`` is ``mu * nu^(p(s) - 1)`` (eq. 3; the paper's 0.5 and 2.1), ``linear`` is
    ``gamma * p(s) + kappa`` (eq. 4), ``none`` is plain ADD: 1. ``p`` counts 999, 749, 499, 249 from
    1 to 4. Indexing ``official`` is the released trainer's, which looks up the timestep before the
    trained one and gives the last value where there is none.
    """

    form: Annotated[
        Literal["exponential", "linear", "none"],
        train_option(
            "How the weight of the distillation loss grows over the steps; none is plain ADD.",
            LOSSES,
            flags=("--ta",),
        ),
    ] = "exponential"
    mu: Annotated[float, train_option("Weight at the first step.", LOSSES)] = 0.5
    nu: Annotated[float, train_option("Growth of that weight per step.", LOSSES)] = 2.1
    gamma: float = 0.4
    kappa: float = 0.5
    indexing: Literal["target", "official"] = "target"

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown form and for weights that are not above 0."""
        check_choices(self)
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

    def factor(self, index: "Tensor") -> "Tensor":
        """Factors (B,), float32, of samples trained at ``STEPS[index]`` (B,).

        Raises IndexError for an index beyond the steps.
        """
        import torch  # here, because the options of this class are read without torch

        return torch.tensor(self.table(), device=index.device)[index]

    def __call__(self, schedule: "Schedule", index: "Tensor", t: "Tensor") -> "Tensor":
        """``d(s, t)`` (..., B): ``index`` (B,) says which of STEPS is trained, ``t`` (..., B) is the teacher's."""
        abar = schedule.alphas_cumprod.to(t.device)[t]
        return abar.sqrt() * self.factor(index)
