"""Training a teacher: what it is shown, what counts, and which optimiser cares for what."""

from dataclasses import replace

import pytest
import torch
from torch.optim import AdamW

from addsr_cli.models.nano import FLAT, contrast_gate
from addsr_cli.train import regression
from addsr_cli.train.dataset import Pairs, loader
from addsr_cli.train.draws import stream
from addsr_cli.train.muon import Muon
from addsr_cli.train.objective import Batch
from addsr_cli.train.recipe import preset
from addsr_cli.train.trainer import Trainer, learning_rate


def batch(trainer):
    raw = next(iter(loader(Pairs(trainer.photos, trainer.config), 0)))
    return Batch.of(raw, torch.device("cpu"))


def losses(trainer, shown):
    return trainer.objective.losses(shown, stream(trainer.config, 0, 0, 0))


def brightened(trainer):
    """A network that answers with its control image, a tenth brighter where that is not flat."""
    with torch.no_grad():
        trainer.learner.net.out.bias[::16] = 2.0  # the block mean, in units of its deviation
    return trainer


def brighter(trainer, canvas):
    nano = trainer.learner.student
    gate = contrast_gate(nano.encode(canvas), 2 * nano.scaling_factor * FLAT)
    return canvas + 0.1 * gate.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)


def test_the_loss_falls_on_one_batch(configured):
    trainer = Trainer(configured(steps=40, lr=3e-3, first_step_share=1.0, mix=(("strong", 1.0),)))
    shown = [batch(trainer)]
    for _ in range(30):
        trainer.train_step(shown)
    found = [told.values["loss"] for told in trainer.recent]
    assert sum(found[-5:]) / 5 < 0.9 * found[0]


def test_two_batches_count_as_their_mean(configured, monkeypatch):
    trainer = Trainer(configured(accumulate=2))
    shown = batch(trainer)
    monkeypatch.setattr(regression, "stream", lambda config, *_: stream(config, 0, 0, 0))
    alone, _ = losses(trainer, shown)
    alone.mean().backward()
    gradients = {name: p.grad.clone() for name, p in trainer.learner.parameters.items()}
    trainer.learner.net.zero_grad()
    seen = {}
    step = trainer.objective.student.step
    parameters = trainer.learner.parameters
    monkeypatch.setattr(
        trainer.objective.student,
        "step",
        lambda lr: seen.update({n: p.grad.clone() for n, p in parameters.items()}) or step(lr),
    )
    told = trainer.objective.step([shown, shown], 0, 1e-3)
    assert told.values["loss"] == pytest.approx(alone.mean().item(), rel=1e-5)
    assert all(torch.allclose(seen[name], gradient, atol=1e-6) for name, gradient in gradients.items())


def test_the_rate_of_the_curve_is_the_one_used(configured):
    trainer = Trainer(configured())
    trainer.step = 4
    trainer.train_step([batch(trainer)])
    used = {group["lr"] for optimiser in trainer.objective.student.optimisers for group in optimiser.param_groups}
    assert used == {learning_rate(trainer.config, 4)}


@pytest.mark.parametrize("stage", ["teacher", "student"])
@pytest.mark.parametrize(("optimizer", "kinds"), [("muon", [Muon, AdamW]), ("adamw", [AdamW])])
def test_every_weight_has_exactly_one_optimiser(configured, stage, optimizer, kinds):
    trainer = Trainer(configured(**{"stage": stage, "recipe": preset("paper", "tiny")} | {"optimizer": optimizer}))
    assert [type(each) for each in trainer.objective.student.optimisers] == kinds
    groups = [group for optimiser in trainer.objective.student.optimisers for group in optimiser.param_groups]
    cared_for = [id(p) for group in groups for p in group["params"]]
    assert sorted(cared_for) == sorted(id(p) for p in trainer.learner.net.parameters())


def test_later_steps_are_told_the_prediction_before_and_first_ones_the_canvas(configured):
    trainer = brightened(Trainer(configured()))
    shown, canvas = batch(trainer), batch(trainer).canvas
    noise, always = torch.zeros(2, 48, 16, 16), torch.tensor([True, True])
    first = trainer.objective._rollout(shown, torch.tensor([0, 0]), noise, always)
    mixed = trainer.objective._rollout(shown, torch.tensor([0, 3]), noise, always)
    assert torch.equal(first, canvas)
    assert torch.equal(mixed[0], canvas[0])
    assert torch.allclose(mixed[1], brighter(trainer, canvas)[1], atol=1e-5)


@pytest.mark.parametrize(("own", "psr"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.25)])
def test_prediction_and_truth_are_mixed_as_drawn(configured, monkeypatch, own, psr):
    trainer = brightened(Trainer(configured(first_step_share=0.0)))
    shown = batch(trainer)
    draw = regression.draw
    fixed = torch.tensor([own, own]), torch.tensor([psr, psr])
    monkeypatch.setattr(regression, "draw", lambda *words: replace(draw(*words), own=fixed[0], psr=fixed[1]))
    seen = {}
    monkeypatch.setattr(regression, "noisy_latent", _keeping(regression.noisy_latent, seen))
    nano = trainer.learner.student
    denoise = nano.denoise
    monkeypatch.setattr(nano, "denoise", lambda z, t, c, cond: seen.update(control=c) or denoise(z, t, c, cond))
    losses(trainer, shown)
    before = brighter(trainer, shown.canvas)
    assert torch.allclose(seen["picture"], torch.lerp(shown.hr, before, own), atol=1e-5)
    assert torch.allclose(seen["control"], torch.lerp(shown.canvas, before.clamp(0, 1), psr), atol=1e-5)


def _keeping(function, seen):
    def around(restorer, picture, *words):
        seen["picture"] = picture
        return function(restorer, picture, *words)

    return around


def test_every_sample_counts_by_how_much_of_its_damage_is_left(configured):
    trainer = Trainer(configured(first_step_share=1.0, ssim_weight=0.0))
    hr = batch(trainer).hr
    canvas = torch.stack([hr[0] + 0.1, hr[1] + 0.02])
    found, index = losses(trainer, Batch(hr=hr, canvas=canvas, tags=("", "")))  # fresh, it answers with the canvas
    assert torch.allclose(found, torch.tensor([0.1 / 0.105, 0.02 / 0.025]), atol=0.01)
    assert index.tolist() == [0, 0]
