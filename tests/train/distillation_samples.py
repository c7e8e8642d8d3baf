"""Small pictures, draws and networks for tests of the distillation."""

from dataclasses import fields, replace

import torch
from discriminator_samples import seeded

from addsr_cli.models.nano.restorer import Nano, build_nano
from addsr_cli.models.nano.training import TINY, TrainableNano
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.draws import AFTER_BATCH, StudentDraws, draw_student


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
        positions=tuple(range(count)),
    )


def draws_at(recipe, index, seed=0):
    """Draws with these timesteps."""
    index = torch.tensor(index)
    objective = draw_student(recipe, [seeded(seed)] * len(index), (48, 8, 8))
    return replace(objective, index=index)


def slice_draws(draws, chosen):
    """The draws of some samples."""
    values = {f.name: getattr(draws, f.name) for f in fields(StudentDraws)}
    return StudentDraws(
        **{n: v[:, chosen] if n in AFTER_BATCH else v[chosen] for n, v in values.items()}
    )


def slice_batch(batch, chosen):
    return Batch(
        hr=batch.hr[chosen],
        canvas=batch.canvas[chosen],
        tags=batch.tags[chosen],
        positions=batch.positions[chosen],
    )


def compute_losses(objective, batch, draws):
    return objective.losses(objective.run_student(batch, draws), [seeded()] * len(batch.hr))


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
