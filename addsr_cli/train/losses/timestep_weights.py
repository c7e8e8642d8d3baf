"""TA-ADD's timestep-adaptive weight of the distillation loss (AddSR eq. 3 and 4).

``d(s, t) = sqrt(abar_t) * f(p(s))``, where ``s`` is the student's timestep, ``p(s)`` its position,
1 to 4, in 999, 749, 499, 249, and ``t`` the teacher's timestep:

- exponential: ``f(p) = mu * nu^(p - 1)`` (eq. 3; the paper's mu is 0.5, nu 2.1)
- linear: ``f(p) = gamma * p + kappa`` (eq. 4)
- none: ``f(p) = 1``, plain ADD
"""

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
    """The weight ``f`` and its parameters, and how it is looked up.

    Indexing "official" is the released trainer's: it looks up the timestep before the trained one,
    and takes the last value where there is none.
    """

    form: Annotated[
        Literal["exponential", "linear", "none"],
        train_option(
            "How the weight of the distillation loss grows over the steps; none is plain ADD.",
            LOSSES,
            flags=("--ta",),
        ),
    ] = "exponential"
    mu: Annotated[float, train_option("Weight of --ta exponential at 999.", LOSSES)] = 0.5
    nu: Annotated[float, train_option("Growth of that weight per step.", LOSSES)] = 2.1
    gamma: Annotated[
        float, train_option("Slope of --ta linear: the weight is gamma * p + kappa.", LOSSES)
    ] = 0.4
    kappa: Annotated[float, train_option("Offset of --ta linear.", LOSSES)] = 0.5
    indexing: Annotated[
        Literal["target", "official"],
        train_option(
            "Which timestep the weight is looked up for: the trained one, or the one before it.",
            LOSSES,
            flags=("--ta-index",),
            default="by --preset",
        ),
    ] = "target"

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown form and for weights that are not above 0."""
        check_choices(self)
        if not (self.mu > 0 and self.nu > 0 and min(self.table()) > 0):
            raise UsageError("The weights of --ta must be above 0 at every timestep.")

    def table(self) -> tuple[float, ...]:
        """Return ``f`` at each of 999, 749, 499, 249."""
        positions = range(1, len(STEPS) + 1)
        values = {
            "exponential": tuple(self.mu * self.nu ** (p - 1) for p in positions),
            "linear": tuple(self.gamma * p + self.kappa for p in positions),
            "none": tuple(1.0 for _ in positions),
        }[self.form]
        return values if self.indexing == "target" else (values[-1], *values[:-1])

    def factor(self, index: "Tensor") -> "Tensor":
        """Return ``f`` (B,), float32, of samples trained at ``STEPS[index]``.

        Raises IndexError for an index beyond the steps.
        """
        import torch  # here, because the options of this class are read without torch

        return torch.tensor(self.table(), device=index.device)[index]

    def __call__(
        self,
        schedule: "Schedule",
        index: "Tensor",
        t: "Tensor",
    ) -> "Tensor":
        """Return ``d(s, t)`` (..., B).

        The student's timesteps are ``STEPS[index]`` (B,), ``t`` (..., B) is the teacher's.
        """
        abar = schedule.alphas_cumprod.to(t.device)[t]
        return abar.sqrt() * self.factor(index)
