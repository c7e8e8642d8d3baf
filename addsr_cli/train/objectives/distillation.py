"""TA-ADD: a few-step student from a frozen teacher and a discriminator (AddSR section 3, eq. 1-4).

For every sample one of the student's four timesteps is drawn. The student predicts a clean image
from the LR side. The teacher, conditioned on HR, predicts one from the student's prediction under
noise; their distance is weighted by ``TaWeights``. The discriminator learns to tell the student's
images from HR, and the student to pass for HR.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from addsr_cli.models.trainable import TrainableModel
from addsr_cli.sampler import predict_z0, select
from addsr_cli.schedule import T_MAX
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.losses.perceptual import VggFeatures
from addsr_cli.train.losses.reconstruction import ReconstructionLosses
from addsr_cli.train.objectives.base import Batch, StepMetrics
from addsr_cli.train.objectives.conditions import Conditions, conditions_of
from addsr_cli.train.objectives.draws import StudentDraws, draw_student, generator_for
from addsr_cli.train.objectives.rollout import roll_out
from addsr_cli.train.optim.optimizer_step import OptimizerStep, optimizers

# the first of these losses that a recipe has is logged by timestep
LOGGED_BY_TIMESTEP = ("distance", "lpips", "l1", "adversarial")
IMITATED_REDUCTION = 2.75


@dataclass(frozen=True, kw_only=True)
class StudentPass:
    """The student's prediction for one batch, as latent and image, and what conditioned it.

    ``z0`` is (B, C, h, w), ``image`` (B, 3, H, W) in [0, 1].
    """

    batch: Batch
    draws: StudentDraws
    z0: Tensor
    image: Tensor
    conditions: Conditions


class Distillation:
    """Update the discriminator, then the student against it, on the same batches."""

    def __init__(
        self,
        config: TrainConfig,
        model: TrainableModel,
        discriminator_step: DiscriminatorStep | None,
        accelerator: Accelerator,
        vgg: VggFeatures | None = None,
    ) -> None:
        self.config = config
        self.recipe = config.recipe
        self.model = model
        self.accelerator = accelerator
        self.optimizer_step = OptimizerStep(
            "student",
            model.parameters,
            optimizers(config.optimizer, model.optimizer_groups(), config.lr, config.weight_decay),
            accelerator,
            config.clip,
            shard=config.shard_optimizer,
        )
        self.discriminator_step = discriminator_step
        self.vgg = vgg
        self.reconstruction = ReconstructionLosses(self.recipe.reconstruction, vgg)

    def step(
        self,
        batches: Sequence[Batch],
        lr: float,
        *,
        samples: int | None = None,
    ) -> StepMetrics:
        """Update both networks once from the accumulated batches.

        Losses are means over the ``samples`` of all processes. With one batch, the student's graph
        serves both updates. With several, the student runs again for its own update, because the
        discriminator must see all of them first.
        """
        single = len(batches) == 1
        own = sum(len(batch.hr) for batch in batches)
        every = samples or own
        values: dict[str, float] = {}
        passes: list[tuple[StudentPass, list[torch.Generator]]] = []
        if self.discriminator_step:
            self.discriminator_step.begin(batches)
        for batch in batches:
            size = len(batch.hr)
            generators = [generator_for(self.config.seed, place) for place in batch.positions]
            draws = self.draw(batch, generators)
            with torch.set_grad_enabled(single):
                student = self.run_student(batch, draws)
            passes.append((student, generators))
            if self.discriminator_step:
                metrics = self.discriminator_step.backward(
                    student.batch,
                    student.image,
                    generators,
                    size / every,
                )
                _add(values, metrics, size / own)
        if self.discriminator_step:
            d_lr = lr * self.config.d_lr / self.config.lr
            values["discriminator_norm"] = self.discriminator_step.step(d_lr)

        by_timestep: list[tuple[int, float]] = []
        for student, generators in passes:
            size = len(student.image)
            if not single:
                student = self.run_student(student.batch, student.draws)
            losses = self.losses(student, generators)
            loss = self.total(losses, student.draws.index)
            self.optimizer_step.backward(size / every * loss)
            _add(values, {name: loss.mean().item() for name, loss in losses.items()}, size / own)
            by_timestep += _by_timestep(losses, student.draws)
        if self.vgg:
            self.vgg.clear()
        values["grad_norm"] = self.optimizer_step.step(lr)
        return StepMetrics(samples=own, values=values, by_timestep=tuple(by_timestep))

    def draw(self, batch: Batch, generators: Sequence[torch.Generator]) -> StudentDraws:
        """Draw everything random about a batch, one generator a sample; move it to its device."""
        student = self.model.student
        height, width = batch.hr.shape[-2:]
        shape = (student.channels, height // student.factor, width // student.factor)
        return draw_student(self.recipe, generators, shape).to(batch.hr.device)

    def run_student(self, batch: Batch, draws: StudentDraws) -> StudentPass:
        """Predict at the drawn timesteps."""
        student = self.model.student
        conditions = conditions_of(self.model, self.recipe, batch, draws.text_dropout)
        if self.recipe.imitate:
            batch = self._with_targets(batch, draws, conditions)
        z0 = roll_out(
            student,
            self.recipe,
            batch.hr,
            batch.canvas,
            conditions.student,
            draws,
            self.accelerator.autocast,
        )
        return StudentPass(
            batch=batch,
            draws=draws,
            z0=z0,
            image=student.decode(z0).clamp(0, 1),
            conditions=conditions,
        )

    @torch.no_grad()
    def _with_targets(
        self,
        batch: Batch,
        draws: StudentDraws,
        conditions: Conditions,
    ) -> Batch:
        """Return the batch with the teacher's pictures of LR as targets of some samples.

        The teacher runs its first step on the canvas. Samples whose LR was less than
        IMITATED_REDUCTION times smaller keep HR: a teacher that enlarges four times has no more to
        show than their input does.
        """
        teacher = self.model.teacher
        reductions = torch.tensor(batch.reductions, device=batch.hr.device)
        chosen = draws.imitates & (reductions >= IMITATED_REDUCTION)
        targets = batch.hr.clone()
        if chosen.any():
            canvas = batch.canvas[chosen]
            latents = teacher.encode(canvas)
            z = teacher.schedule.add_noise(latents, draws.noise[chosen], T_MAX)
            cond = select(conditions.student, chosen)
            z0 = predict_z0(teacher, z, T_MAX, canvas, cond, self.accelerator.autocast)
            targets[chosen] = teacher.decode(z0).clamp(0, 1).to(targets.dtype)
        return replace(batch, imitated=targets, original_is_real=self.recipe.original_share > 0)

    def losses(
        self,
        student: StudentPass,
        generators: Sequence[torch.Generator],
    ) -> dict[str, Tensor]:
        """Return every loss by name, unweighted by the recipe, one value per sample (B,).

        ``distance`` is the distance to the teacher without TA-ADD's weights; it is only logged.
        """
        losses = self._teacher_losses(student) if self.recipe.distill else {}
        if self.discriminator_step:
            losses["adversarial"] = self.discriminator_step.adversarial_loss(
                student.batch, student.image, generators
            )
        return losses | self._reconstruction_losses(student)

    def _reconstruction_losses(self, student: StudentPass) -> dict[str, Tensor]:
        """Distances to the target; of the perceptual one, a share to HR where it is imitated."""
        losses = self.reconstruction(student.image, student.batch.target)
        share = self.recipe.original_share
        if share and "lpips" in losses and student.batch.imitated is not None:
            original = self.reconstruction(student.image, student.batch.hr)["lpips"]
            losses["lpips"] = torch.lerp(losses["lpips"], original, share)
        return losses

    def _teacher_losses(self, student: StudentPass) -> dict[str, Tensor]:
        """Squared distance to the teacher, weighted and plain; 0 for samples left out of it."""
        predicted = student.z0 if self.recipe.space == "latent" else student.image
        weighted = torch.zeros_like(predicted[:, 0, 0, 0])
        plain = torch.zeros_like(weighted)
        taught = student.draws.taught
        share = 1 / len(student.draws.t)
        if taught.any():
            for weight, target in self.teacher_targets(student):
                error = target - predicted[taught]
                distance = share * error.square().flatten(1).mean(1)
                weighted[taught] += weight * distance
                plain[taught] += distance.detach()
        return {"distill": weighted, "distance": plain}

    @torch.no_grad()
    def teacher_targets(self, student: StudentPass) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``d(s, t)`` (n,) and the teacher's prediction for each of its timesteps.

        The prediction is a latent or an image in [0, 1], for the ``n`` taught samples.
        """
        teacher = self.model.teacher
        draws = student.draws
        taught = draws.taught
        control = student.conditions.teacher_control[taught]
        cond = select(student.conditions.teacher, taught)
        for t, noise in zip(
            draws.t[:, taught],
            draws.teacher[:, taught],
            strict=True,
        ):
            z = teacher.schedule.add_noise(student.z0[taught], noise, t)
            z0 = predict_z0(
                teacher,
                z,
                t,
                control,
                cond,
                self.accelerator.autocast,
            )
            weight = self.recipe.ta(teacher.schedule, draws.index[taught], t)
            yield weight, z0 if self.recipe.space == "latent" else teacher.decode(z0).clamp(0, 1)

    def total(self, losses: Mapping[str, Tensor], index: Tensor) -> Tensor:
        """Return the weighted sum of the losses' means, a scalar."""
        recipe = self.recipe
        weights = {
            **recipe.reconstruction,
            "distill": recipe.distill,
            "adversarial": recipe.adversarial,
        }
        terms = []
        for name, loss in losses.items():
            if name == "adversarial":
                loss = torch.tensor(recipe.timestep_weights, device=index.device)[index] * loss
            if name in weights:
                terms.append(weights[name] * loss.mean())
        return torch.stack(terms).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizers of both networks and the discriminator's weights."""
        discriminator = self.discriminator_step.state_dict() if self.discriminator_step else {}
        return {"student": self.optimizer_step.state_dict(), "discriminator_step": discriminator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.optimizer_step.load_state_dict(state["student"])
        if self.discriminator_step:
            self.discriminator_step.load_state_dict(state["discriminator_step"])


def _by_timestep(losses: Mapping[str, Tensor], draws: StudentDraws) -> list[tuple[int, float]]:
    """Timestep index and logged loss of each sample that has one."""
    name = next(name for name in LOGGED_BY_TIMESTEP if name in losses)
    counted = draws.taught if name == "distance" else torch.ones_like(draws.taught)
    indices = draws.index[counted].tolist()
    return list(
        zip(
            indices,
            losses[name][counted].tolist(),
            strict=True,
        )
    )


def _add(
    sums: dict[str, float],
    values: Mapping[str, float],
    share: float,
) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + share * value
