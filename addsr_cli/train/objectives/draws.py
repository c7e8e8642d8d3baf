"""What is random in a training step besides the data: functions of (seed, step) alone."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from addsr_cli.schedule import STEPS, TRAIN_TIMESTEPS
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.recipe import Recipe


def stream(
    config: TrainConfig,
    step: int,
    micro: int,
    rank: int,
) -> torch.Generator:
    """The generator of everything random in one micro-batch of one process."""
    place = (config.seed, step * config.accumulate + micro, rank, 2)
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)
    )


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
    taught: Tensor  # (B,) bool: compared with the teacher

    def to(self, device: torch.device) -> Self:
        """The same draws elsewhere."""
        return replace(
            self, **{each.name: getattr(self, each.name).to(device) for each in fields(self)}
        )


def draw_student(
    recipe: Recipe, generator: torch.Generator, shape: tuple[int, ...]
) -> StudentDraws:
    """The draws of one step of a student; ``shape`` is that of the latent batch."""
    batch, low, high = shape[0], *recipe.psr
    index = torch.randint(0, len(STEPS), (batch,), generator=generator)
    if (
        recipe.timesteps == "official"
    ):  # the released trainer's: half of them 999, the rest falls evenly
        later = torch.randint(1, len(STEPS), (batch,), generator=generator)
        index = torch.where(torch.rand(batch, generator=generator) < 0.5, 0, later)
    noise = torch.randn(shape, generator=generator)
    own = torch.randn((recipe.teacher_samples, *shape), generator=generator)
    known = (
        torch.arange(TRAIN_TIMESTEPS) if recipe.teacher_timesteps == "all" else torch.tensor(STEPS)
    )
    return StudentDraws(
        index=index,
        posterior=torch.randn(shape, generator=generator),
        noise=noise,
        chain=torch.randn((len(STEPS) - 1, *shape), generator=generator),
        psr=low + (high - low) * torch.rand(batch, generator=generator),
        t=known[torch.randint(0, len(known), (recipe.teacher_samples, batch), generator=generator)],
        teacher=noise.expand_as(own) if recipe.shared_noise else own,
        blank=torch.rand(batch, generator=generator) < recipe.blank,
        taught=torch.rand(batch, generator=generator) < recipe.teacher_share,
    )
