"""A discriminator in training: its optimizer, its own loss, and the adversarial loss."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.base import Discriminator, Generators
from addsr_cli.train.losses.adversarial import discriminator_loss, generator_loss, r1
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.optim.optimizer_step import OptimizerStep, adamw


class DiscriminatorStep:
    """The discriminator's part of a training step.

    ``backward`` alone adds gradients to its parameters; ``adversarial_loss`` adds none.

    Every forward pass in training advances the power iteration of the spectral norms. All batches
    of a step see the same iterations, so that their number changes nothing.
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
        self.norms = {
            name: buffer
            for name, buffer in discriminator.named_buffers()
            if name.endswith(("weight_u", "weight_v"))
        }
        self.norms_before: dict[str, Tensor] = {}

    def begin(self, batches: Sequence[Batch]) -> None:
        """Begin a step of the training with these accumulated batches, in all processes at once."""
        self.norms_before = {}
        self.discriminator.calibrate([batch.hr for batch in batches])

    def backward(
        self,
        batch: Batch,
        fake: Tensor,
        generators: Generators,
        share: float,
    ) -> dict[str, float]:
        """Add ``share`` of the gradients of one batch, with ``fake`` (B, 3, H, W) in [0, 1].

        ``generators``, one an image, draw the augmentation. Returns the loss and the mean logits of
        real and fake images.
        """
        self._repeat_power_iteration()
        with self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            real_features = self.discriminator.features(batch.real, generators)
            real = self.discriminator.logits(real_features, condition)
            fake_features = self.discriminator.detached_features(fake, generators)
            fake_logits = self.discriminator.logits(fake_features, condition)
        loss = discriminator_loss(real, fake_logits).mean()
        metrics = {"discriminator": loss.item(), "real": _mean(real), "fake": _mean(fake_logits)}
        if self.r1:
            loss = loss + self.r1 * r1(self.discriminator, real_features, condition).mean()
        self.optimizer_step.backward(share * loss)
        return metrics

    def step(self, lr: float) -> float:
        """Update the discriminator; return the norm of its gradients."""
        self.norms_before = {}
        return self.optimizer_step.step(lr)

    def adversarial_loss(
        self,
        batch: Batch,
        fake: Tensor,
        generators: Generators,
    ) -> Tensor:
        """Return the generator loss (B,) of images (B, 3, H, W), with gradients to them alone."""
        self._repeat_power_iteration()
        with self._frozen(), self.accelerator.autocast():
            condition = self.discriminator.condition(batch.canvas)
            features = self.discriminator.features(fake, generators)
            return generator_loss(self.discriminator.logits(features, condition))

    @torch.no_grad()
    def _repeat_power_iteration(self) -> None:
        """Begin each batch where the first one of this half of the step began."""
        for name, vector in self.norms_before.items():
            self.norms[name].copy_(vector)
        self.norms_before = {name: vector.clone() for name, vector in self.norms.items()}

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
