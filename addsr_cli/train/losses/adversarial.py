"""Hinge losses of discriminator and generator, and the R1 penalty, as one value per sample (B,).

``real`` and ``fake`` are the logits (B, n) of each head of a ``Discriminator``, high where the
image looks real. Heads have equal weight, however many logits they give.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from addsr_cli.train.discriminators.base import Discriminator


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss ``mean(relu(1 - real)) + mean(relu(1 + fake))``: 2 for logits of 0."""
    real_loss = _mean([torch.relu(1 - logits.float()) for logits in real])
    fake_loss = _mean([torch.relu(1 + logits.float()) for logits in fake])
    return real_loss + fake_loss


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """``-mean(fake)``: lower where the discriminator takes the image for real."""
    return -_mean([logits.float() for logits in fake])


def _mean(heads: Sequence[Tensor]) -> Tensor:
    return torch.stack([values.mean(1) for values in heads]).mean(0)


def r1(
    discriminator: Discriminator,
    features: Sequence[Tensor],
    condition: Tensor,
) -> Tensor:
    """R1 (Mescheder et al. 2018) at the heads' input: ``|grad of sum(D(features))|^2``, float32.

    ``features`` are ``discriminator.features(real)``. Each feature map contributes one squared norm
    per sample; the penalty is their mean. It has gradients to the heads' parameters and none to the
    images.
    """
    inputs = [feature_map.detach().float().requires_grad_() for feature_map in features]
    logits = discriminator.logits(inputs, condition)
    total = torch.stack([head.sum() for head in logits]).sum()
    gradients = torch.autograd.grad(total, inputs, create_graph=True)
    return torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).mean(0)
