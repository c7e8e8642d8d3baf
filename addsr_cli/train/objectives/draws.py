"""Random draws of a training step, besides the data: a function of (seed, step) alone."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from addsr_cli.schedule import STEPS, TRAIN_TIMESTEPS
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.recipe import Recipe


def generator_for(
    config: TrainConfig,
    step: int,
    micro: int,
    rank: int,
) -> torch.Generator:
    """Return the generator of one micro-batch of one process."""
    key = (config.seed, step * config.accumulate + micro, rank, 2)
    (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed >> 1))


@dataclass(frozen=True, kw_only=True)
class StudentDraws:
    """Random draws of one batch of the student; the discriminator draws its own augmentation."""

    index: Tensor  # (B,) position in STEPS of the trained step
    posterior: Tensor  # (B, C, h, w) noise of the posterior of the first latents
    noise: Tensor  # (B, C, h, w) noise of the trained step
    chain: Tensor  # (3, B, C, h, w) noise of the steps before it
    psr: Tensor  # (B,) PSR weight
    t: Tensor  # (K, B) timesteps of the teacher
    teacher: Tensor  # (K, B, C, h, w) noise of the teacher
    text_dropout: Tensor  # (B,) bool: train without text
    taught: Tensor  # (B,) bool: compare with the teacher

    def to(self, device: torch.device) -> Self:
        """Return the same draws on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **moved)


def draw_student(
    recipe: Recipe,
    generator: torch.Generator,
    shape: tuple[int, ...],
) -> StudentDraws:
    """Draw for one batch of latents of ``shape`` (B, C, h, w)."""
    batch = shape[0]
    low, high = recipe.psr
    index = torch.randint(0, len(STEPS), (batch,), generator=generator)
    if recipe.timesteps == "official":  # half of the samples at 999, the rest evenly
        later = torch.randint(1, len(STEPS), (batch,), generator=generator)
        index = torch.where(torch.rand(batch, generator=generator) < 0.5, 0, later)
    noise = torch.randn(shape, generator=generator)
    teacher_noise = torch.randn((recipe.teacher_samples, *shape), generator=generator)
    timesteps = torch.tensor(STEPS)
    if recipe.teacher_timesteps == "all":
        timesteps = torch.arange(TRAIN_TIMESTEPS)
    posterior = torch.randn(shape, generator=generator)
    chain = torch.randn((len(STEPS) - 1, *shape), generator=generator)
    psr = low + (high - low) * torch.rand(batch, generator=generator)
    chosen = torch.randint(
        0,
        len(timesteps),
        (recipe.teacher_samples, batch),
        generator=generator,
    )
    return StudentDraws(
        index=index,
        posterior=posterior,
        noise=noise,
        chain=chain,
        psr=psr,
        t=timesteps[chosen],
        teacher=teacher_noise if recipe.teacher_noise == "own" else noise.expand_as(teacher_noise),
        text_dropout=torch.rand(batch, generator=generator) < recipe.text_dropout,
        taught=torch.rand(batch, generator=generator) < recipe.teacher_share,
    )
