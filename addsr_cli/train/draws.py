"""What is random in a training step, and the noisy latent made of it: functions of (seed, step, process) alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from addsr_cli.models.restorer import Restorer
from addsr_cli.schedule import STEPS
from addsr_cli.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Draws:
    """All that is random in one step besides the data: one entry per sample."""

    index: Tensor  # (B,) which of STEPS is trained
    noise: Tensor  # (B, C, h, w) of the trained step
    earlier: Tensor  # (B, C, h, w) of the roll-out before it
    from_lr: Tensor  # (B,) bool: the first step starts from the LR latent, else from noise alone
    psr: Tensor  # (B,) weight of the prediction in the control image
    own: Tensor  # (B,) weight of the prediction, against HR, in the noisy latent of a later step


def draw(config: TrainConfig, step: int, rank: int, shape: tuple[int, ...]) -> Draws:
    """The draws of one step; ``shape`` is that of the latent batch."""
    seed = int(np.random.SeedSequence((config.seed, step, rank, 2)).generate_state(1, np.uint64)[0] >> 1)
    generator = torch.Generator().manual_seed(seed)
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
