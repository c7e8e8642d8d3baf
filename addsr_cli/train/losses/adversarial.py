"""What discriminator and generator want of each other, as one value per sample (B,): hinge losses and R1.

``real`` and ``fake`` are the logits (B, n) of each head of a ``Discriminator``, high where it
believes the picture; all heads count alike, however many places they look at. The losses of a batch
are the means over its samples.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from addsr_cli.train.discriminators.base import Discriminator


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss of the discriminator: real beyond 1 and fake below -1 cost nothing; 2 where it knows nothing."""
    of_real = _mean([torch.relu(1 - each.float()) for each in real])
    return of_real + _mean([torch.relu(1 + each.float()) for each in fake])


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """``-mean(D(fake))``: lower where the discriminator believes more."""
    return -_mean([each.float() for each in fake])


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([each.mean(1) for each in values]).mean(0)


def r1(discriminator: Discriminator, features: Sequence[Tensor], condition: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018) on what the heads judge, in float32: squared gradient of the summed logits.

    ``features`` are ``discriminator.features(real)``; one squared norm over each sample's map, mean
    over the maps. The result has a gradient to the heads' parameters and none to the pictures.
    """
    judged = [each.detach().float().requires_grad_() for each in features]
    total = torch.stack([logits.sum() for logits in discriminator.judge(judged, condition)]).sum()
    gradients = torch.autograd.grad(total, judged, create_graph=True)
    return torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).mean(0)
