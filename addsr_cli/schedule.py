"""The noise schedule and its three formulas, in float32, shared by training and inference.

Symbols follow the papers: ``z`` a noisy latent, ``z0`` a clean one, ``t`` a timestep in 0..999,
``abar_t`` the cumulative product of ``1 - beta``. Source: AddSR eq. 2; the betas are Stable
Diffusion 2-base's "scaled_linear".
"""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from addsr_cli.errors import UsageError
from addsr_cli.schedulers import STEPS as STEPS
from addsr_cli.schedulers import Scheduler

Prediction = Literal["epsilon", "v", "sample"]

TRAIN_TIMESTEPS = 1000
T_MAX = 999  # the timestep to which the enlarged photo is noised before the first step


def steps(n: int) -> tuple[int, ...]:
    """Return AddSR's timesteps of an ``n``-step run: the first ``n`` of 999, 749, 499, 249.

    Raises UsageError unless ``1 <= n <= 4``.
    """
    if not 1 <= n <= len(STEPS):
        raise UsageError(
            f"--steps must be 1 to {len(STEPS)}, not {n}.", "Use --steps 1, 2, 3 or 4."
        )
    return STEPS[:n]


def scaled_linear_alphas_cumprod(beta_start: float = 0.00085, beta_end: float = 0.012) -> Tensor:
    """Return ``abar`` of Stable Diffusion: float32 (1000,), from 0.99915 down to 0.00466."""
    roots = torch.linspace(
        beta_start**0.5,
        beta_end**0.5,
        TRAIN_TIMESTEPS,
        dtype=torch.float32,
    )
    return torch.cumprod(1.0 - roots**2, dim=0)


def _from_both_ends(n: int) -> tuple[int, ...]:
    """Return ``n`` timesteps from 999 to 0, or 999 alone.

    Positions are added up and rounded half to even, as in the respacing of improved DDPM (Nichol &
    Dhariwal 2021), which StableSR uses: for some ``n``, such as 21, NumPy's ``linspace`` differs by
    one, since the sum of strides is not exact.
    """
    if n == 1:
        return (T_MAX,)
    stride = T_MAX / (n - 1)
    positions = accumulate([0.0, *[stride] * (n - 1)])
    return tuple(reversed([round(position) for position in positions]))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The noise schedule of a network, what it predicts, and its scheduler.

    ``scheduler`` "consistency" is AddSR's: the predicted clean latent under new noise, at the first
    N of four timesteps, as in multistep consistency sampling (Song et al. 2023, algorithm 1).
    The others are ancestral steps of DDPM (Ho et al. 2020, eq. 6 and 7, the smaller variance) over
    N evenly spaced timesteps, named as in diffusers: "leading" is SeeSR's, "trailing" that of
    SeeSR-Turbo, and "linspace", which begins at 999 and ends at 0, that of StableSR.

    ``t`` is an int, or an integer tensor (B,) with one timestep per sample. Results are float32
    whatever the inputs: at t=999 dividing by ``sqrt(abar)`` multiplies rounding errors by 14.6.
    """

    prediction: Prediction = "epsilon"
    scheduler: Scheduler = "consistency"
    alphas_cumprod: Tensor = field(
        default_factory=scaled_linear_alphas_cumprod,
        repr=False,
        compare=False,
    )

    def coefficients(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``sqrt(abar_t)`` and ``sqrt(1 - abar_t)``, float32.

        They are shaped to broadcast over ``like`` (B, C, h, w).
        """
        abar = self._abar(t, like)
        return abar.sqrt(), (1.0 - abar).sqrt()

    def _abar(self, t: int | Tensor, like: Tensor) -> Tensor:
        index = torch.as_tensor(t, device=self.alphas_cumprod.device)
        return self.alphas_cumprod[index].to(like.device).reshape(-1, *[1] * (like.ndim - 1))

    def add_noise(
        self,
        z0: Tensor,
        noise: Tensor,
        t: int | Tensor,
    ) -> Tensor:
        """``sqrt(abar_t) * z0 + sqrt(1 - abar_t) * noise``."""
        signal, sigma = self.coefficients(t, z0)
        return (signal * z0.float()).addcmul_(noise.float(), sigma)

    def timesteps(self, n: int) -> tuple[int, ...]:
        """Return the timesteps of an ``n``-step run, noisiest first. Raises UsageError."""
        if self.scheduler == "consistency":
            return steps(n)
        if not 1 <= n <= TRAIN_TIMESTEPS:
            raise UsageError(f"steps must be 1 to {TRAIN_TIMESTEPS}, not {n}.")
        if self.scheduler == "linspace":
            return _from_both_ends(n)
        if self.scheduler == "trailing":
            return tuple(round(TRAIN_TIMESTEPS - k * TRAIN_TIMESTEPS / n) - 1 for k in range(n))
        stride = TRAIN_TIMESTEPS // n
        return tuple(
            min(k * stride + 1, T_MAX) for k in reversed(range(n))
        )  # Stable Diffusion's offset of 1

    def advance(
        self,
        z: Tensor,
        z0: Tensor,
        noise: Tensor,
        t: int | Tensor,
        following: int | Tensor,
    ) -> Tensor:
        """Return the noisy latent at the ``following`` timestep.

        ``z`` is the noisy latent at ``t`` and ``z0`` the clean one predicted there.
        """
        if self.scheduler == "consistency":
            return self.add_noise(z0, noise, following)
        abar = self._abar(t, z).double()
        abar_next = self._abar(following, z).double()
        alpha = abar / abar_next
        of_z0 = abar_next.sqrt() * (1 - alpha) / (1 - abar)
        of_z = alpha.sqrt() * (1 - abar_next) / (1 - abar)
        sigma = ((1 - abar_next) / (1 - abar) * (1 - alpha)).sqrt()
        return of_z0.float() * z0.float() + of_z.float() * z.float() + sigma.float() * noise.float()

    def predict_z0(
        self,
        z: Tensor,
        output: Tensor,
        t: int | Tensor,
    ) -> Tensor:
        """Convert the network's ``output`` at ``z`` and ``t`` to the clean latent it predicts.

        - epsilon: ``z0 = (z - sqrt(1 - abar_t) * output) / sqrt(abar_t)`` (AddSR eq. 2)
        - v: ``z0 = sqrt(abar_t) * z - sqrt(1 - abar_t) * output``
        - sample: ``z0 = output``
        """
        signal, sigma = self.coefficients(t, z)
        if self.prediction == "sample":
            return output.float()
        if self.prediction == "v":
            return signal * z.float() - sigma * output.float()
        return (z.float() - sigma * output.float()) / signal
