"""What discriminator and generator want of each other, as one value per sample (B,): hinge losses and R1.

``real`` and ``fake`` are logits (B, N) of a ``Discriminator``, high where it believes the picture. The losses of a
batch are the means over its samples.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from addsr_cli.train.discriminator import Discriminator


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator: real beyond 1 and fake below -1 cost nothing; 2 where it knows nothing."""
    return torch.relu(1 - real.float()).mean(1) + torch.relu(1 + fake.float()).mean(1)


def generator_loss(fake: Tensor) -> Tensor:
    """``-mean(D(fake))``: lower where the discriminator believes more."""
    return -fake.float().mean(1)


def r1(discriminator: Discriminator, features: Sequence[Tensor], condition: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018) on what the heads judge, in float32: squared gradient of the summed logits.

    ``features`` are ``discriminator.features(real)``; one squared norm over each sample's map, mean over the maps. The
    result has a gradient to the heads' parameters and none to the pictures.
    """
    judged = [each.detach().float().requires_grad_() for each in features]
    total = torch.stack([logits.sum() for logits in discriminator.judge(judged, condition)]).sum()
    gradients = torch.autograd.grad(total, judged, create_graph=True)
    return torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).mean(0)
