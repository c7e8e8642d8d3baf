"""Small pictures, draws and networks for tests of the distillation."""

from dataclasses import fields, replace

import torch

from addsr_cli.models.nano.restorer import Nano, build_nano
from addsr_cli.models.nano.training import TINY, TrainableNano
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.draws import StudentDraws, draw_student

SECOND_AXIS = ("chain", "t", "teacher")  # of draws, where the samples lie


def trainable_model(seed=0):
    """A student, and a teacher whose predictions depend on more than the control image."""
    torch.manual_seed(seed)
    student, teacher = build_nano(TINY), build_nano(TINY)
    for nano in (student, teacher):
        torch.nn.init.normal_(nano.net.out.weight, std=0.02)
    return TrainableNano(student, teacher)


def pictures(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(count, 3, 32, 32, generator=generator)
    return Batch(
        hr=hr,
        canvas=(hr + 0.2 * torch.rand(hr.shape, generator=generator)).clamp(0, 1),
        tags=("",) * count,
    )


def draws_at(recipe, index, seed=0):
    """Draws with these timesteps."""
    index = torch.tensor(index)
    objective = draw_student(recipe, torch.Generator().manual_seed(seed), (len(index), 48, 8, 8))
    return replace(objective, index=index)


def slice_draws(draws, chosen):
    """The draws of some samples."""
    values = {f.name: getattr(draws, f.name) for f in fields(StudentDraws)}
    return StudentDraws(
        **{n: v[:, chosen] if n in SECOND_AXIS else v[chosen] for n, v in values.items()}
    )


def slice_batch(batch, chosen):
    return Batch(hr=batch.hr[chosen], canvas=batch.canvas[chosen], tags=batch.tags[chosen])


def compute_losses(objective, batch, draws):
    return objective.losses(objective.run_student(batch, draws), torch.Generator().manual_seed(0))


class Forwards:
    """Records the forward passes of both networks, and whether gradients were on."""

    def __init__(self, monkeypatch, objective):
        self.calls, self.latents = [], []
        denoise = Nano.denoise

        def counted(nano, z, t, control, cond):
            which = "student" if nano is objective.model.student else "teacher"
            self.calls.append((which, torch.is_grad_enabled(), control, t))
            self.latents.append(z)
            return denoise(nano, z, t, control, cond)

        monkeypatch.setattr(Nano, "denoise", counted)

    def of(self, which, grad):
        return [call for call in self.calls if call[:2] == (which, grad)]
