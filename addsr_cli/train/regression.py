"""Training a teacher from scratch: the clean picture at t = 999, 749, 499, 249, by plain regression."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from addsr_cli.models.restorer import Condition
from addsr_cli.sampler import refine
from addsr_cli.schedule import STEPS
from addsr_cli.similarity import ssim
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.draws import draw, noisy_latent, stream
from addsr_cli.train.learner import NanoLearner
from addsr_cli.train.losses import charbonnier
from addsr_cli.train.objective import Batch, Told
from addsr_cli.train.updater import Updater, optimisers

FLOOR = 0.005  # added to the canvas's own distance, by which every sample's distance is divided: all count alike
UNUSED = Condition()


class Regression:
    """Every sample's distance to HR, relative to that of its canvas."""

    def __init__(self, config: TrainConfig, learner: NanoLearner, accelerator: Accelerator) -> None:
        self.config, self.learner, self.accelerator = config, learner, accelerator
        chosen = optimisers(config.optimizer, learner.parameters, config.lr)
        self.student = Updater("network", learner.parameters, chosen, accelerator, config.clip)

    def step(self, batches: Sequence[Batch], number: int, lr: float) -> Told:
        """One optimiser step on one or several batches."""
        seen, total = [], 0.0
        for micro, batch in enumerate(batches):
            losses, index = self.losses(batch, stream(self.config, number, micro, self.accelerator.process_index))
            loss = losses.mean() / len(batches)
            self.student.backward(loss)
            seen += list(zip(index.tolist(), losses.tolist(), strict=True))
            total += loss.item()
        return Told(values={"loss": total, "grad_norm": self.student.step(lr)}, by_timestep=tuple(seen))

    def losses(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Loss of every sample (B,), and which of STEPS each was trained at (B,)."""
        nano, hr, canvas = self.learner.student, batch.hr, batch.canvas
        height, width = (side // nano.factor for side in hr.shape[-2:])
        d = draw(self.config, generator, (len(hr), nano.channels, height, width))
        index, from_lr = d.index.to(hr.device), d.from_lr.to(hr.device)
        before = self._rollout(batch, index, d.earlier.to(hr.device), from_lr)
        own, psr = (weight.to(hr.device).view(-1, 1, 1, 1) for weight in (d.own, d.psr))
        z = noisy_latent(nano, torch.lerp(hr, before, own), canvas, index, d.noise.to(hr.device), from_lr)
        control = torch.where((index > 0).view(-1, 1, 1, 1), refine(before, canvas, psr), canvas)
        with self.accelerator.autocast():
            output = nano.denoise(z, torch.tensor(STEPS, device=hr.device)[index], control, UNUSED)
        picture = nano.decode(output)
        losses = charbonnier(picture, hr) / (charbonnier(canvas, hr) + FLOOR)
        if self.config.ssim_weight:
            losses = losses + self.config.ssim_weight * (1 - ssim(picture, hr))
        return losses, index

    @torch.no_grad()
    def _rollout(self, batch: Batch, index: Tensor, noise: Tensor, from_lr: Tensor) -> Tensor:
        """The network's own prediction one timestep earlier (B, 3, H, W); the canvas where there is none."""
        later, nano = index > 0, self.learner.student
        if not later.any():
            return batch.canvas
        lr, earlier = batch.canvas[later], index[later] - 1
        z = noisy_latent(nano, batch.hr[later], lr, earlier, noise[later], from_lr[later])
        with self.accelerator.autocast():
            output = nano.denoise(z, torch.tensor(STEPS, device=lr.device)[earlier], lr, UNUSED)
        before = batch.canvas.clone()
        before[later] = nano.decode(output)
        return before

    def state_dict(self) -> dict[str, Any]:
        """The optimisers'."""
        return self.student.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.student.load_state_dict(state)
