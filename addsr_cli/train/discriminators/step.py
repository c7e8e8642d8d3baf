"""The other side of the training: a discriminator, its optimiser, and what it thinks of the student's pictures."""

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
    """A discriminator in training. Its gradients come from ``learn`` alone, whatever it judges besides."""

    def __init__(
        self, discriminator: Discriminator, config: TrainConfig, accelerator: Accelerator
    ) -> None:
        self.discriminator, self.accelerator, self.r1 = (
            discriminator.to(accelerator.device),
            accelerator,
            config.recipe.r1,
        )
        self.parameters = {
            name: p for name, p in discriminator.named_parameters() if p.requires_grad
        }
        optimiser = adamw([{"params": list(self.parameters.values())}], config.d_lr)
        self.updater = OptimizerStep(
            "discriminator", self.parameters, [optimiser], accelerator, None
        )

    def learn(
        self,
        batch: Batch,
        fake: Tensor,
        generator: torch.Generator,
        share: float,
    ) -> dict[str, float]:
        """Add the gradients of one batch; returns the loss and the mean logits of real and fake."""
        with self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            features = self.discriminator.features(batch.hr, generator)
            real = self.discriminator.judge(features, condition)
            false = self.discriminator.judge(
                self.discriminator.observed(fake, generator), condition
            )
        loss = discriminator_loss(real, false).mean()
        figures = {"discriminator": loss.item(), "real": _mean(real), "fake": _mean(false)}
        if self.r1:
            loss = loss + self.r1 * r1(self.discriminator, features, condition).mean()
        self.updater.backward(share * loss)
        return figures

    def step(self, lr: float) -> float:
        """Update the discriminator; returns the norm of its gradients."""
        return self.updater.step(lr)

    def judge(self, batch: Batch, fake: Tensor, generator: torch.Generator) -> Tensor:
        """How much each picture (B, 3, H, W) is taken for a fake, (B,), with gradients to the pictures alone."""
        with self._frozen(), self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            features = self.discriminator.features(fake, generator)
            return generator_loss(self.discriminator.judge(features, condition))

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
        """The trained weights with the buffers of their spectral norms, and the optimiser."""
        return {"weights": self.discriminator.state_dict(), "updater": self.updater.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.discriminator.load_state_dict(state["weights"])
        self.updater.load_state_dict(state["updater"])


def _mean(logits: Sequence[Tensor]) -> float:
    return sum(each.mean().item() for each in logits) / len(logits)
