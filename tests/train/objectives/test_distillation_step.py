"""A step of TA-ADD: which network gets gradients and is updated when, and what stays frozen."""

from dataclasses import replace

import pytest
import torch
from distillation_samples import compute_losses, draws_at, pictures, slice_batch, slice_draws

from addsr_cli.errors import AddsrError
from addsr_cli.train.recipe import preset


def values(parameters):
    return {name: p.detach().clone() for name, p in parameters.items()}


def test_teacher_and_frozen_weights_stay_bit_for_bit_and_the_student_moves(make_objective):
    objective = make_objective(timesteps="uniform", r1=0.1)
    before, own = (
        values(dict(objective.model.frozen.named_parameters())),
        values(objective.model.parameters),
    )
    for number in range(3):
        objective.step([pictures(2, number)], 1e-3)
    assert all(
        torch.equal(p, before[name]) for name, p in objective.model.frozen.named_parameters()
    )
    assert all(p.grad is None for p in objective.model.frozen.parameters())
    assert any(not torch.equal(p, own[name]) for name, p in objective.model.parameters.items())


def test_each_network_gets_gradients_and_updates_only_in_its_own_turn(make_objective, monkeypatch):
    objective, seen = make_objective(), []
    networks = {
        "student": objective.model.parameters,
        "discriminator": objective.discriminator_step.parameters,
    }

    def record(turn):
        with_gradient = {
            name
            for name, some in networks.items()
            if any(p.grad is not None for p in some.values())
        }
        seen.append((turn, with_gradient, {name: values(some) for name, some in networks.items()}))

    for turn, optimizer_step in (
        ("discriminator", objective.discriminator_step.optimizer_step),
        ("student", objective.optimizer_step),
    ):
        step = optimizer_step.step
        monkeypatch.setattr(
            optimizer_step,
            "step",
            lambda lr, t=turn, s=step: (record(t), s(lr), record(f"after {t}"))[1],
        )
    objective.step([pictures(2)], 1e-3)
    turns = {turn: (grads, weights) for turn, grads, weights in seen}
    assert [turn for turn, *_ in seen] == [
        "discriminator",
        "after discriminator",
        "student",
        "after student",
    ]
    assert [turns[turn][0] for turn in turns] == [{"discriminator"}, set(), {"student"}, set()]

    def moved(name, a, b):
        return any(
            not torch.equal(v, turns[b][1][name][key]) for key, v in turns[a][1][name].items()
        )

    assert moved("discriminator", "discriminator", "after discriminator")
    assert moved("student", "student", "after student")
    assert not moved("student", "discriminator", "student")
    assert not moved("discriminator", "after discriminator", "after student")
    assert all(p.requires_grad for some in networks.values() for p in some.values())


def test_the_discriminator_learns_the_same_before_and_after_the_adversarial_loss(
    make_objective, monkeypatch
):
    batch = pictures(2)
    objective = make_objective()
    student = objective.run_student(batch, draws_at(objective.recipe, [0, 1]))
    discriminator = objective.discriminator_step.discriminator
    state = {name: value.clone() for name, value in discriminator.state_dict().items()}

    def gradients():
        discriminator.load_state_dict(
            state
        )  # every forward pass advances the power iteration of the spectral norms
        objective.discriminator_step.backward(batch, student.image.detach(), None, 1.0)
        return {name: p.grad.clone() for name, p in objective.discriminator_step.parameters.items()}

    isolated = gradients()
    discriminator.zero_grad()
    objective.losses(student, ())["adversarial"].mean().backward()
    again = gradients()
    assert all(torch.equal(again[name], gradient) for name, gradient in isolated.items())


def test_the_adversarial_loss_falls_when_the_student_is_updated(make_objective):
    objective = make_objective(distill=0.0, adversarial=1.0, lr=1e-3)
    batch, draws = pictures(2), draws_at(objective.recipe, [0, 0])
    objective.discriminator_step.discriminator.eval()
    before = compute_losses(objective, batch, draws)["adversarial"].mean()
    before.backward()
    objective.optimizer_step.step(1e-3)
    assert compute_losses(objective, batch, draws)["adversarial"].mean() < before


def recording_gradients(optimizer_step, recorded, number):
    """``optimizer_step.step``, which first records the gradients."""
    step = optimizer_step.step

    def around(lr):
        recorded[number] = {
            name: p.grad.clone()
            for name, p in optimizer_step.parameters.items()
            if p.grad is not None
        }
        return step(lr)

    return around


def test_two_batches_of_one_are_one_batch_of_two(make_objective, monkeypatch):
    batch, recipe = pictures(2), preset("paper", "nano")
    draws = draws_at(recipe, [1, 3])
    halves = [slice_batch(batch, slice(k, k + 1)) for k in range(2)]
    once = make_objective(draws=[draws])
    twice = make_objective(
        draws=[slice_draws(draws, slice(k, k + 1)) for k in range(2)], accumulate=2
    )
    # gradients, not weights: Adam's first step is as long for the smallest gradient
    seen = {}
    for number, objective in enumerate((once, twice)):
        for optimizer_step in (
            objective.optimizer_step,
            objective.discriminator_step.optimizer_step,
        ):
            monkeypatch.setattr(
                optimizer_step,
                "step",
                recording_gradients(
                    optimizer_step, seen.setdefault(optimizer_step.network, {}), number
                ),
            )
    metrics = once.step([batch], 1e-3), twice.step(halves, 1e-3)
    for gradients in seen.values():
        assert set(gradients[0]) == set(gradients[1]) != set()
        for name, gradient in gradients[0].items():
            assert (gradient - gradients[1][name]).abs().max() <= 1e-3 * gradient.abs().max() + 1e-7
    assert metrics[0].values == pytest.approx(metrics[1].values, rel=1e-3)
    assert dict(metrics[0].by_timestep) == pytest.approx(dict(metrics[1].by_timestep), rel=1e-3)
    for objective in (once, twice):
        for optimizer_step in (
            objective.optimizer_step,
            objective.discriminator_step.optimizer_step,
        ):
            counts = {float(state["step"]) for state in optimizer_step.optimizers[0].state.values()}
            assert counts == {1.0}


def test_clipping_applies_to_the_mean_gradient_of_accumulated_batches(make_objective):
    draws = draws_at(preset("paper", "nano"), [1])
    once, thrice = (
        make_objective(draws=[draws], discriminator=False, accumulate=n) for n in (1, 3)
    )
    norms = [
        objective.step([pictures(1)] * n, 1e-3).values["grad_norm"]
        for objective, n in ((once, 1), (thrice, 3))
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_fixed_batch_is_learnt_without_the_adversarial_loss(make_objective):
    draws = draws_at(preset("paper", "nano"), [0, 2])
    objective = make_objective(draws=[draws], discriminator=False, adversarial=0.0, lr=1e-3)
    batch = pictures(2)
    metrics = [objective.step([batch], 1e-3).values["distill"] for number in range(40)]
    assert metrics[-1] < 0.5 * metrics[0]


@pytest.mark.parametrize("culprit", ["student", "discriminator"])
def test_a_loss_that_is_nan_raises_before_that_network_is_updated(
    make_objective, monkeypatch, culprit
):
    objective = make_objective()
    if culprit == "student":
        monkeypatch.setattr(
            objective.recipe.ta.__class__, "__call__", lambda self, *_: torch.tensor(float("nan"))
        )
    else:
        with torch.no_grad():
            next(iter(objective.discriminator_step.discriminator.parameters())).fill_(float("nan"))
    before = {name: values(some) for name, some in (("student", objective.model.parameters),)}
    with pytest.raises(AddsrError, match=f"The loss of the {culprit} became nan"):
        objective.step([pictures(2)], 1e-3)
    assert all(
        torch.equal(p, before["student"][name]) for name, p in objective.model.parameters.items()
    )


def test_a_step_returns_every_loss_and_the_timestep_of_each_sample(make_objective):
    draws = draws_at(preset("paper", "nano"), [3, 0])
    metrics = make_objective(draws=[draws], anchor_l1=0.1).step([pictures(2)], 1e-3)
    figures = {"discriminator", "real", "fake", "discriminator_norm", "grad_norm"}
    assert metrics.values.keys() == figures | {"distill", "distance", "adversarial", "l1"}
    assert [index for index, _ in metrics.by_timestep] == [3, 0]
    assert sum(loss for _, loss in metrics.by_timestep) / 2 == pytest.approx(
        metrics.values["distance"], rel=1e-5
    )


def test_the_distance_by_timestep_counts_only_the_samples_with_a_teacher(make_objective):
    draws = replace(draws_at(preset("paper", "nano"), [3, 0]), taught=torch.tensor([False, True]))
    metrics = make_objective(draws=[draws]).step([pictures(2)], 1e-3)
    ((index, distance),) = metrics.by_timestep
    assert index == 0
    assert distance == pytest.approx(
        2 * metrics.values["distance"], rel=1e-5
    )  # the mean is over both


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"adversarial": 1.0}, "adversarial"),
        ({"adversarial": 1.0, "anchor_l1": 1.0}, "l1"),
        ({"adversarial": 0.0, "anchor_l1": 1.0}, "l1"),
    ],
)
def test_without_a_teacher_another_loss_is_logged_by_timestep(make_objective, changes, name):
    draws = draws_at(preset("paper", "nano"), [3, 0])
    objective = make_objective(
        draws=[draws], distill=0.0, discriminator=changes["adversarial"] > 0, **changes
    )
    metrics = objective.step([pictures(2)], 1e-3)
    assert [index for index, _ in metrics.by_timestep] == [3, 0]
    assert sum(loss for _, loss in metrics.by_timestep) / 2 == pytest.approx(
        metrics.values[name], rel=1e-5
    )
