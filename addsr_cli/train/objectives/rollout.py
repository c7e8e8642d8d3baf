"""The student's roll-out: the sampling steps that lead to the trained one, and the trained step.

Samples of one batch train at different timesteps, so their chains of steps differ in length. They
end together: the longest chains begin, the others join later, and the trained step runs on the
whole batch at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.sampler import Autocast, InitialState, Refine, refine, sampling_steps, select
from addsr_cli.schedule import STEPS
from addsr_cli.train.objectives.draws import StudentDraws
from addsr_cli.train.recipe import PSR_OFF, Recipe


def signed_refine(
    prediction: Tensor,
    canvas: Tensor,
    weight: float | Tensor,
) -> Tensor:
    """PSR as the released trainer computes it: the prediction in [-1, 1], the canvas in [0, 1]."""
    return torch.lerp(canvas, prediction.clamp(0, 1) * 2 - 1, weight)


REFINE: dict[str, Refine] = {"unit": refine, "signed": signed_refine}


def roll_out(
    student: Restorer,
    recipe: Recipe,
    hr: Tensor,
    canvas: Tensor,
    cond: Conditioning,
    draws: StudentDraws,
    autocast: Autocast,
) -> Tensor:
    """Return the student's clean latents (B, C, h, w) at the timesteps ``STEPS[draws.index]``.

    With the roll-out "chained" the steps before the trained one are those of inference, from 999
    on. With "refined" they are the same, but all noisy latents are made of HR's latent; with
    "teacher-forced" there is one, at the timestep before. Gradients flow through the trained step
    alone.
    """
    chained = recipe.rollout == "chained"
    chains = Chains.of(recipe, draws)
    longest = chains.longest
    with torch.no_grad():
        of_hr = student.encode(hr, lambda _: draws.posterior)
        first = of_hr
        if recipe.first_latent == "lr":
            first = student.encode(canvas, lambda _: draws.posterior)
        # the released trainer starts from HR's latent wherever it trains a later step
        after_999 = draws.index > (0 if recipe.rollout == "teacher-forced" else chains.earlier)
        first = torch.where(after_999.view(-1, 1, 1, 1), of_hr, first)

    def entering(k: int) -> InitialState:
        mask = chains.entering(k)
        noise, t = chains.first_step(mask)
        return InitialState(
            z=student.schedule.add_noise(first[mask], noise, t),
            canvas=canvas[mask],
            cond=select(cond, mask),
        )

    noises = iter([chains.noise_after(k) for k in range(longest)])
    steps = sampling_steps(
        student,
        entering(0),
        timesteps=[chains.timesteps(k) for k in range(longest + 1)],
        noise=lambda _: next(noises),
        psr=None if recipe.psr == PSR_OFF else draws.psr[chains.order].view(-1, 1, 1, 1),
        joining={k: entering(k) for k in range(1, longest + 1) if chains.entering(k).any()},
        forced=None if chained else of_hr[chains.order],
        refine=REFINE[recipe.psr_pixels],
        autocast=autocast,
    )
    with torch.no_grad():
        for _ in range(longest):
            next(steps)
    return next(steps).z0[chains.order.argsort()]


def _earlier_steps(recipe: Recipe, index: Tensor) -> Tensor:
    """Number of steps (B,) before the trained one; none where it would use nothing of them."""
    if recipe.rollout == "chained":
        return index
    if recipe.psr == PSR_OFF:
        return torch.zeros_like(index)
    return index if recipe.rollout == "refined" else index.clamp(max=1)


@dataclass(frozen=True, kw_only=True)
class Chains:
    """Chains of steps that differ in length and end together; ``k`` counts the batch's steps."""

    index: Tensor  # (B,) where in STEPS the last step of each sample is
    earlier: Tensor  # (B,) number of steps before it
    noises: Tensor  # (4, B, C, h, w) noise of each sample at each of STEPS

    @classmethod
    def of(cls, recipe: Recipe, draws: StudentDraws) -> "Chains":
        """Return the chains of a recipe: teacher-forced ones keep one noise at all their steps."""
        if recipe.rollout == "teacher-forced":
            noises = draws.noise.expand(len(STEPS), *draws.noise.shape)
        else:
            noises = torch.cat([draws.chain, draws.noise[None]])
            noises[draws.index, torch.arange(len(draws.index))] = draws.noise
        return cls(
            index=draws.index,
            earlier=_earlier_steps(recipe, draws.index),
            noises=noises,
        )

    @property
    def longest(self) -> int:
        """Number of steps before the last one of the batch."""
        return int(self.earlier.max())

    @property
    def order(self) -> Tensor:
        """Samples (B,) in the order in which they enter the batch."""
        return self.earlier.argsort(descending=True, stable=True)

    def entering(self, k: int) -> Tensor:
        """Mask (B,) of the samples whose chain begins at step ``k``."""
        return self.earlier == self.longest - k

    def first_step(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and timesteps (n,) with which the chains of some samples begin."""
        position = (self.index - self.earlier)[mask]
        return self.noises[position, mask.nonzero()[:, 0]], _timesteps(position)

    def timesteps(self, k: int) -> Tensor:
        """Timesteps (n,) of the samples in the batch at step ``k``, in the order of entry."""
        _, position = self._running(k)
        return _timesteps(position)

    def noise_after(self, k: int) -> Tensor:
        """Noise (n, C, h, w) at their next timesteps for the samples in the batch at step ``k``."""
        rows, position = self._running(k)
        return self.noises[position + 1, rows]

    def _running(self, k: int) -> tuple[Tensor, Tensor]:
        """Samples in the batch at step ``k``, and where in STEPS each is."""
        steps_left = self.longest - k
        rows = self.order[self.earlier[self.order] >= steps_left]
        return rows, self.index[rows] - steps_left


def _timesteps(position: Tensor) -> Tensor:
    return torch.tensor(STEPS, device=position.device)[position]
