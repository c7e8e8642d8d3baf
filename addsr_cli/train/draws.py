"""What is random in a training step besides the data, and a teacher's noisy latent: functions of (seed, step) alone."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from addsr_cli.models.restorer import Restorer
from addsr_cli.schedule import STEPS, TRAIN_TIMESTEPS
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Draws:
    """All that is random in one step besides the data: one entry per sample."""

    index: Tensor  # (B,) which of STEPS is trained
    noise: Tensor  # (B, C, h, w) of the trained step
    earlier: Tensor  # (B, C, h, w) of the roll-out before it
    from_lr: Tensor  # (B,) bool: the first step starts from the LR latent, else from noise alone
    psr: Tensor  # (B,) weight of the prediction in the control image
    own: Tensor  # (B,) weight of the prediction, against HR, in the noisy latent of a later step


def stream(config: TrainConfig, step: int, micro: int, rank: int) -> torch.Generator:
    """The generator of everything random in one micro-batch of one process."""
    place = (config.seed, step * config.accumulate + micro, rank, 2)
    return torch.Generator().manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))


def draw(config: TrainConfig, generator: torch.Generator, shape: tuple[int, ...]) -> Draws:
    """The draws of one step of a teacher; ``shape`` is that of the latent batch."""
    batch = shape[0]
    later = torch.randint(1, len(STEPS), (batch,), generator=generator)
    first = torch.rand(batch, generator=generator) < config.first_step_share
    return Draws(
        index=torch.where(first, 0, later),
        noise=torch.randn(shape, generator=generator),
        earlier=torch.randn(shape, generator=generator),
        from_lr=torch.rand(batch, generator=generator) < 0.5,
        psr=torch.rand(batch, generator=generator),
        own=torch.rand(batch, generator=generator),
    )


def noisy_latent(
    restorer: Restorer, picture: Tensor, canvas: Tensor, index: Tensor, noise: Tensor, from_lr: Tensor
) -> Tensor:
    """Input of the trained step: LR latent or nothing under the noise at 999, ``picture``'s at later timesteps."""
    t = torch.tensor(STEPS, device=index.device)[index]
    later = (index > 0).view(-1, 1, 1, 1)
    z = restorer.schedule.add_noise(torch.where(later, restorer.encode(picture), restorer.encode(canvas)), noise, t)
    return torch.where(later | from_lr.view(-1, 1, 1, 1), z, noise)


@dataclass(frozen=True, kw_only=True)
class StudentDraws:
    """All that is random in one step of a student besides the data and the discriminator's augmentation."""

    index: Tensor  # (B,) which of STEPS is trained
    posterior: Tensor  # (B, C, h, w) of HR's latent
    noise: Tensor  # (B, C, h, w) of the trained step
    chain: Tensor  # (3, B, C, h, w) of the steps before it
    psr: Tensor  # (B,) weight of the prediction in the control image
    t: Tensor  # (K, B) the teacher's timesteps
    teacher: Tensor  # (K, B, C, h, w) the teacher's noise
    blank: Tensor  # (B,) bool: the text is left out

    def to(self, device: torch.device) -> Self:
        """The same draws elsewhere."""
        return replace(self, **{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def draw_student(recipe: Recipe, generator: torch.Generator, shape: tuple[int, ...]) -> StudentDraws:
    """The draws of one step of a student; ``shape`` is that of the latent batch."""
    batch, low, high = shape[0], *recipe.psr
    index = torch.randint(0, len(STEPS), (batch,), generator=generator)
    if recipe.timesteps == "official":  # the released trainer's: half of them 999, the rest falls evenly
        later = torch.randint(1, len(STEPS), (batch,), generator=generator)
        index = torch.where(torch.rand(batch, generator=generator) < 0.5, 0, later)
    noise = torch.randn(shape, generator=generator)
    own = torch.randn((recipe.teacher_samples, *shape), generator=generator)
    known = torch.arange(TRAIN_TIMESTEPS) if recipe.teacher_timesteps == "all" else torch.tensor(STEPS)
    return StudentDraws(
        index=index,
        posterior=torch.randn(shape, generator=generator),
        noise=noise,
        chain=torch.randn((len(STEPS) - 1, *shape), generator=generator),
        psr=low + (high - low) * torch.rand(batch, generator=generator),
        t=known[torch.randint(0, len(known), (recipe.teacher_samples, batch), generator=generator)],
        teacher=noise.expand_as(own) if recipe.shared_noise else own,
        blank=torch.rand(batch, generator=generator) < recipe.blank,
    )
