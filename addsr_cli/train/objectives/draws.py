"""Random draws of a training step, besides the data: a function of seed and position alone.

Every sample draws from a generator of its own. A step is therefore the same for any number of
processes and accumulated batches that share its samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from addsr_cli.schedule import STEPS, TRAIN_TIMESTEPS
from addsr_cli.train.recipe import Recipe

AFTER_BATCH = ("chain", "t", "teacher")  # draws whose second axis is the batch's


def generator_for(seed: int, position: int) -> torch.Generator:
    """Return the generator of the sample at a position of a run."""
    key = (seed, position, 2)  # 1 marks the generators of the data
    (state,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> 1))


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
    imitates: Tensor  # (B,) bool: the teacher's picture of LR is the target

    def to(self, device: torch.device) -> Self:
        """Return the same draws on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **moved)


def draw_student(
    recipe: Recipe,
    generators: Sequence[torch.Generator],
    shape: tuple[int, ...],
) -> StudentDraws:
    """Draw for a batch with one generator per sample, and latents of ``shape`` (C, h, w)."""
    samples = [_draw_sample(recipe, generator, (1, *shape)) for generator in generators]
    stacked = {}
    for name in (field.name for field in fields(StudentDraws)):
        axis = 1 if name in AFTER_BATCH else 0
        stacked[name] = torch.cat([getattr(sample, name) for sample in samples], dim=axis)
    return StudentDraws(**stacked)


def _draw_sample(
    recipe: Recipe,
    generator: torch.Generator,
    shape: tuple[int, ...],
) -> StudentDraws:
    """Draw for one sample with latents of ``shape`` (1, C, h, w)."""
    low, high = recipe.psr
    index = torch.randint(0, len(STEPS), (1,), generator=generator)
    if recipe.timesteps == "first":
        index = torch.zeros_like(index)
    if recipe.timesteps == "official":  # half of the samples at 999, the rest evenly
        later = torch.randint(1, len(STEPS), (1,), generator=generator)
        index = torch.where(torch.rand(1, generator=generator) < 0.5, 0, later)
    noise = torch.randn(shape, generator=generator)
    teacher_noise = torch.randn((recipe.teacher_samples, *shape), generator=generator)
    timesteps = torch.tensor(STEPS)
    if recipe.teacher_timesteps == "all":
        timesteps = torch.arange(TRAIN_TIMESTEPS)
    posterior = torch.randn(shape, generator=generator)
    chain = torch.randn((len(STEPS) - 1, *shape), generator=generator)
    psr = low + (high - low) * torch.rand(1, generator=generator)
    chosen = torch.randint(
        0,
        len(timesteps),
        (recipe.teacher_samples, 1),
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
        text_dropout=torch.rand(1, generator=generator) < recipe.text_dropout,
        taught=torch.rand(1, generator=generator) < recipe.teacher_share,
        imitates=torch.rand(1, generator=generator) < recipe.imitate,
    )
