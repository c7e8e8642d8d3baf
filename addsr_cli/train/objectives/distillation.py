"""TA-ADD: a few-step student from a frozen teacher and a discriminator (AddSR section 3, eq. 1 to 4).

For every sample one of the student's four timesteps is drawn. The student predicts a clean picture
from the LR side; the teacher, told HR, predicts one from that prediction under noise, and their
distance counts by ``TaWeights``. The discriminator learns to tell the student's pictures from HR,
and the student to be taken for HR.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.sampler import predict_z0, select
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.discriminators.vgg import VggFeatures
from addsr_cli.train.losses.reconstruction import ReconstructionLosses
from addsr_cli.train.objectives.base import Batch, StepMetrics
from addsr_cli.train.objectives.draws import StudentDraws, draw_student, stream
from addsr_cli.train.objectives.rollout import roll_out
from addsr_cli.train.optim.optimizer_step import OptimizerStep, adamw

SHOWN = (
    "distance",
    "lpips",
    "l1",
    "adversarial",
)  # the first of them that a recipe has is told by timestep


@dataclass(frozen=True, kw_only=True)
class View:
    """One batch as the student sees it: its clean latent and picture, and what the teacher is told."""

    batch: Batch
    draws: StudentDraws
    z0: Tensor
    picture: Tensor
    teacher: Conditioning


class Distillation:
    """The discriminator's update, then the student's against the new discriminator, both from the same batches."""

    def __init__(
        self,
        config: TrainConfig,
        learner: TrainableModel,
        adversary: DiscriminatorStep | None,
        accelerator: Accelerator,
        vgg: VggFeatures | None = None,
    ) -> None:
        self.config, self.recipe, self.learner, self.accelerator = (
            config,
            config.recipe,
            learner,
            accelerator,
        )
        parameters = learner.parameters
        chosen = adamw(learner.optimizer_groups(), config.lr)
        self.student = OptimizerStep("student", parameters, [chosen], accelerator, config.clip)
        self.adversary = adversary
        self.vgg = vgg
        self.anchors = ReconstructionLosses(self.recipe.anchors, vgg)

    def step(self, batches: Sequence[Batch], number: int, lr: float) -> StepMetrics:
        """One update of both networks from the batches that are accumulated.

        With one batch its graph serves both. With more, the student runs again for its own turn,
        since the discriminator must have seen all of them before.
        """
        alone, views, share = len(batches) == 1, [], 1 / len(batches)
        values: dict[str, float] = {}
        for micro, batch in enumerate(batches):
            generator = stream(self.config, number, micro, self.accelerator.process_index)
            draws = self.draw(batch, generator)
            with torch.set_grad_enabled(alone):
                views.append((self.view(batch, draws), generator))
            if self.adversary:
                told = self.adversary.learn(batch, views[-1][0].picture, generator, share)
                _add(values, told, share)
        if self.adversary:
            values["discriminator_norm"] = self.adversary.step(
                lr * self.config.d_lr / self.config.lr
            )
        seen: list[tuple[int, float]] = []
        for view, generator in views:
            current = view if alone else self.view(view.batch, view.draws)
            losses = self.losses(current, generator)
            self.student.backward(share * self._total(losses, view.draws.index))
            _add(values, {name: loss.mean().item() for name, loss in losses.items()}, share)
            seen += self._shown(losses, view.draws)
        if self.vgg:
            self.vgg.forget()
        return StepMetrics(
            values=values | {"grad_norm": self.student.step(lr)}, by_timestep=tuple(seen)
        )

    def draw(self, batch: Batch, generator: torch.Generator) -> StudentDraws:
        """What is random about a batch, on its device."""
        student = self.learner.student
        height, width = (side // student.factor for side in batch.hr.shape[-2:])
        shape = (len(batch.hr), student.channels, height, width)
        return draw_student(self.recipe, generator, shape).to(batch.hr.device)

    def view(self, batch: Batch, d: StudentDraws) -> View:
        """The student's prediction at the drawn timesteps."""
        told, teacher = self.learner.conditions(batch.hr, batch.canvas, batch.tags, d.blank)
        teacher = teacher if self.recipe.teacher_sees == "hr" else told
        z0 = roll_out(
            self.learner.student,
            self.recipe,
            batch.hr,
            batch.canvas,
            told,
            d,
            self.accelerator.autocast,
        )
        picture = self.learner.student.decode(z0).clamp(0, 1)
        return View(
            batch=batch,
            draws=d,
            z0=z0,
            picture=picture,
            teacher=teacher,
        )

    def losses(self, view: View, generator: torch.Generator) -> dict[str, Tensor]:
        """Every loss by name, one value per sample (B,). ``distance`` is that to the teacher without weights."""
        losses = self._distances(view) if self.recipe.distill else {}
        if self.adversary:
            losses["adversarial"] = self.adversary.judge(view.batch, view.picture, generator)
        return losses | self.anchors(view.picture, view.batch.hr)

    def _distances(self, view: View) -> dict[str, Tensor]:
        """Squared distance to the teacher, weighted and plain, 0 for the samples that are not compared with it."""
        compared = view.z0 if self.recipe.space == "latent" else view.picture
        weighted, plain = (
            torch.zeros_like(compared[:, 0, 0, 0]),
            torch.zeros_like(compared[:, 0, 0, 0]),
        )
        taught, share = view.draws.taught, 1 / len(view.draws.t)
        if taught.any():
            for weight, target in self.targets(view):
                distance = share * (target - compared[taught]).square().flatten(1).mean(1)
                weighted[taught] += weight * distance
                plain[taught] += distance.detach()
        return {"distill": weighted, "distance": plain}

    @torch.no_grad()
    def targets(self, view: View) -> Iterator[tuple[Tensor, Tensor]]:
        """``d(s, t)`` and the teacher's answer, latent or picture in [0, 1], of the taught samples, for each draw."""
        teacher, d, rows_of = self.learner.teacher, view.draws, view.draws.taught
        seen = view.batch.hr if self.recipe.teacher_sees == "hr" else view.batch.canvas
        cond = select(view.teacher, rows_of)
        for t, noise in zip(d.t[:, rows_of], d.teacher[:, rows_of], strict=True):
            z = teacher.schedule.add_noise(view.z0[rows_of], noise, t)
            z0 = predict_z0(teacher, z, t, seen[rows_of], cond, self.accelerator.autocast)
            weight = self.recipe.ta(teacher.schedule, d.index[rows_of], t)
            yield weight, z0 if self.recipe.space == "latent" else teacher.decode(z0).clamp(0, 1)

    @staticmethod
    def _shown(losses: Mapping[str, Tensor], d: StudentDraws) -> list[tuple[int, float]]:
        """What the log tells by timestep: the distance to the teacher of the samples that have one, else to HR."""
        name = next(name for name in SHOWN if name in losses)
        counted = d.taught if name == "distance" else torch.ones_like(d.taught)
        return list(zip(d.index[counted].tolist(), losses[name][counted].tolist(), strict=True))

    def _total(self, losses: dict[str, Tensor], index: Tensor) -> Tensor:
        weights = self.recipe.anchors | {
            "distill": self.recipe.distill,
            "adversarial": self.recipe.adversarial,
        }
        perception = torch.tensor(self.recipe.perception, device=index.device)[index]
        share = {"adversarial": perception}
        parts = [
            weights[name] * (share.get(name, 1) * loss).mean()
            for name, loss in losses.items()
            if name in weights
        ]
        return torch.stack(parts).sum()

    def state_dict(self) -> dict[str, Any]:
        """Both networks' optimisers and the discriminator's weights."""
        adversary = self.adversary.state_dict() if self.adversary else {}
        return {"student": self.student.state_dict(), "adversary": adversary}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.student.load_state_dict(state["student"])
        if self.adversary:
            self.adversary.load_state_dict(state["adversary"])


def _add(sums: dict[str, float], values: dict[str, float], share: float) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + share * value
