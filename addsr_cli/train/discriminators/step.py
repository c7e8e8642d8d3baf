"""A discriminator in training: its optimizer, its own loss, and the adversarial loss."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.base import Discriminator
from addsr_cli.train.losses.adversarial import discriminator_loss, generator_loss, r1
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.optim.optimizer_step import OptimizerStep, adamw


class DiscriminatorStep:
    """The discriminator's part of a training step.

    ``backward`` alone adds gradients to its parameters; ``adversarial_loss`` adds none.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        config: TrainConfig,
        accelerator: Accelerator,
    ) -> None:
        self.discriminator = discriminator.to(accelerator.device)
        self.accelerator = accelerator
        self.r1 = config.recipe.r1
        self.parameters = {
            name: p for name, p in discriminator.named_parameters() if p.requires_grad
        }
        self.optimizer_step = OptimizerStep(
            "discriminator",
            self.parameters,
            [
                adamw(
                    [{"params": list(self.parameters.values())}],
                    config.d_lr,
                    config.weight_decay,
                )
            ],
            accelerator,
            None,
        )

    def backward(
        self,
        batch: Batch,
        fake: Tensor,
        generator: torch.Generator,
        share: float,
    ) -> dict[str, float]:
        """Add ``share`` of the gradients of one batch, with ``fake`` (B, 3, H, W) in [0, 1].

        Returns the loss and the mean logits of real and fake images.
        """
        with self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            real_features = self.discriminator.features(batch.hr, generator)
            real = self.discriminator.logits(real_features, condition)
            fake_features = self.discriminator.detached_features(fake, generator)
            fake_logits = self.discriminator.logits(fake_features, condition)
        loss = discriminator_loss(real, fake_logits).mean()
        metrics = {"discriminator": loss.item(), "real": _mean(real), "fake": _mean(fake_logits)}
        if self.r1:
            loss = loss + self.r1 * r1(self.discriminator, real_features, condition).mean()
        self.optimizer_step.backward(share * loss)
        return metrics

    def step(self, lr: float) -> float:
        """Update the discriminator; return the norm of its gradients."""
        return self.optimizer_step.step(lr)

    def adversarial_loss(
        self,
        batch: Batch,
        fake: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the generator loss (B,) of images (B, 3, H, W), with gradients to them alone."""
        with self._frozen(), self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            features = self.discriminator.features(fake, generator)
            return generator_loss(self.discriminator.logits(features, condition))

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        for p in self.parameters.values():
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in self.parameters.values():
                p.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        """Return the trained weights, the buffers of the spectral norms, and the optimizer."""
        return {
            "weights": self.discriminator.state_dict(),
            "optimizer_step": self.optimizer_step.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.discriminator.load_state_dict(state["weights"])
        self.optimizer_step.load_state_dict(state["optimizer_step"])


def _mean(heads: Sequence[Tensor]) -> float:
    return sum(logits.mean().item() for logits in heads) / len(heads)
