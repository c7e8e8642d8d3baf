"""TA-ADD: the inputs of student and teacher, and the losses of their predictions."""

from dataclasses import replace

import pytest
import torch
from distillation_samples import (
    Forwards,
    compute_losses,
    draws_at,
    pictures,
    slice_batch,
    slice_draws,
)

from addsr_cli.models.nano.restorer import Nano
from addsr_cli.models.restorer import Conditioning
from addsr_cli.sampler import sample
from addsr_cli.schedule import STEPS, Schedule
from addsr_cli.train.recipe import PSR_OFF, parse_teacher_sees, preset


@pytest.mark.parametrize("rollout", ["teacher-forced", "chained"])
def test_the_losses_of_a_batch_are_those_of_its_samples_alone(make_objective, rollout):
    objective, batch = (
        make_objective(rollout=rollout, teacher_samples=2, anchor_l1=1.0),
        pictures(4),
    )
    # in training mode spectral norms change with every forward pass
    objective.discriminator_step.discriminator.eval()
    draws = draws_at(objective.recipe, [0, 1, 2, 3])
    together = compute_losses(objective, batch, draws)
    alone = [
        compute_losses(
            objective, slice_batch(batch, slice(k, k + 1)), slice_draws(draws, slice(k, k + 1))
        )
        for k in range(4)
    ]
    assert together.keys() == {"distill", "distance", "adversarial", "l1"}
    for name, loss in together.items():
        assert torch.allclose(loss, torch.cat([one[name] for one in alone]), atol=1e-5)


def test_every_sample_counts_by_its_own_timestep(make_objective):
    objective, batch = make_objective(), pictures(4)
    draws = draws_at(objective.recipe, [3, 0, 2, 1])
    losses = compute_losses(objective, batch, draws)
    abar = Schedule().alphas_cumprod[draws.t[0]].sqrt()
    expected = abar * torch.tensor([4.6305, 0.5, 2.205, 1.05]) * losses["distance"]
    assert torch.allclose(losses["distill"], expected, rtol=1e-4)


def test_a_student_equal_to_its_teacher_with_the_same_input_has_no_distance(make_objective, mirror):
    batch, losses = pictures(2), {}
    for sees in ("lr", "hr"):
        objective = make_objective(teacher_sees=parse_teacher_sees(sees))
        losses[sees] = compute_losses(objective, batch, draws_at(objective.recipe, [0, 0]))[
            "distance"
        ]
    assert losses["lr"].max() < 1e-10
    assert torch.allclose(losses["hr"], (batch.hr - batch.canvas).square().flatten(1).mean(1))


@pytest.mark.parametrize("rollout", ["teacher-forced", "refined", "chained"])
@pytest.mark.parametrize("index", [[0, 0], [0, 2], [3, 1]])
def test_gradients_run_through_one_pass_of_the_student(make_objective, monkeypatch, rollout, index):
    objective = make_objective(rollout=rollout, draws=[draws_at(preset("paper", "nano"), index)])
    forwards = Forwards(monkeypatch, objective)
    objective.step([pictures(2)], 1e-3)
    assert len(forwards.of("student", True)) == 1
    assert len(forwards.of("teacher", False)) == objective.recipe.teacher_samples
    assert not forwards.of("teacher", True)
    earlier = min(max(index), 1) if rollout == "teacher-forced" else max(index)
    assert len(forwards.of("student", False)) == earlier


def test_accumulated_batches_keep_no_graph_for_the_discriminator(make_objective, monkeypatch):
    draws = draws_at(preset("paper", "nano"), [0])
    objective = make_objective(draws=[draws, draws], accumulate=2)
    forwards = Forwards(monkeypatch, objective)
    metrics = objective.step([pictures(1)] * 2, 1e-3)
    assert [grad for which, grad, *_ in forwards.calls if which == "student"] == [
        False,
        False,
        True,
        True,
    ]
    assert len(metrics.by_timestep) == 2


@pytest.mark.parametrize("rollout", ["teacher-forced", "refined", "chained"])
def test_the_control_image_is_the_canvas_at_first_and_then_a_prediction(
    make_objective, monkeypatch, rollout
):
    objective, batch = make_objective(rollout=rollout, psr=(1.0, 1.0)), pictures(3)
    forwards = Forwards(monkeypatch, objective)
    objective.run_student(batch, draws_at(objective.recipe, [0, 1, 3]))
    ((_, _, control, t),) = forwards.of("student", True)
    control_at = dict(zip(t.tolist(), control, strict=True))
    assert torch.equal(control_at.pop(999), batch.canvas[0])
    assert not torch.equal(control_at.pop(749), batch.canvas[1])
    assert not torch.equal(control_at.pop(249), batch.canvas[2])
    assert not control_at
    assert 0 <= control.min() <= control.max() <= 1


def test_the_prediction_counts_by_its_weight_in_the_control_image(make_objective, monkeypatch):
    objective, batch = make_objective(rollout="teacher-forced", psr=(0.0, 1.0)), pictures(2)
    draws = draws_at(objective.recipe, [2, 2])
    shown = []
    for weight in (0.0, 0.5, 1.0):
        forwards = Forwards(monkeypatch, objective)
        objective.run_student(batch, replace(draws, psr=torch.tensor([weight, weight])))
        ((_, _, control, _),) = forwards.of("student", True)
        shown.append(control)
    assert torch.equal(shown[0], batch.canvas)
    assert torch.allclose(shown[1], (shown[0] + shown[2]) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("rollout", "earlier"), [("teacher-forced", 0), ("refined", 0), ("chained", 3)]
)
def test_without_psr_the_student_sees_the_canvas_and_needs_no_earlier_step_of_hr(
    make_objective, monkeypatch, rollout, earlier
):
    objective, batch = make_objective(rollout=rollout, psr=PSR_OFF), pictures(2)
    monkeypatch.setattr(Nano, "embed", lambda *_: pytest.fail("the tokens were read anew"))
    forwards = Forwards(monkeypatch, objective)
    objective.run_student(batch, draws_at(objective.recipe, [3, 3]))
    assert len(forwards.of("student", False)) == earlier
    assert all(torch.equal(control, batch.canvas) for _, _, control, _ in forwards.calls)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_a_chained_roll_out_equals_inference(make_objective, index, weight):
    objective, batch = (
        make_objective(first_latent="lr", rollout="chained", psr=(weight, weight)),
        pictures(1),
    )
    draws = draws_at(objective.recipe, [index])
    picture = objective.run_student(batch, draws).image
    noises = iter([*draws.chain[:index], draws.noise])
    objective.model.net.eval()
    expected = sample(
        objective.model.student,
        batch.canvas,
        Conditioning(),
        timesteps=STEPS[: index + 1],
        noise=lambda shape: next(noises).reshape(shape),
        psr=weight,
    )
    assert torch.allclose(picture, expected.clamp(0, 1), atol=1e-5)
    assert next(noises, None) is None


def test_chains_in_a_batch_stop_at_their_own_timesteps(make_objective):
    objective, batch = make_objective(first_latent="lr", rollout="chained"), pictures(4)
    draws = draws_at(objective.recipe, [2, 0, 3, 1])
    together = objective.run_student(batch, draws).image
    for k in range(4):
        chosen = slice(k, k + 1)
        assert torch.allclose(
            objective.run_student(slice_batch(batch, chosen), slice_draws(draws, chosen)).image,
            together[chosen],
            atol=1e-5,
        )


def test_the_first_latent_is_that_of_the_original_or_of_the_canvas(make_objective, monkeypatch):
    batch, starts = pictures(1), {}
    for whose in ("hr", "lr"):
        objective = make_objective(first_latent=whose, rollout="teacher-forced")
        draws = draws_at(objective.recipe, [0])
        forwards = Forwards(monkeypatch, objective)
        objective.run_student(batch, draws)
        (starts[whose],) = forwards.latents
    nano = objective.model.student
    assert torch.equal(
        starts["hr"], nano.schedule.add_noise(nano.encode(batch.hr), draws.noise, 999)
    )
    assert torch.equal(
        starts["lr"], nano.schedule.add_noise(nano.encode(batch.canvas), draws.noise, 999)
    )


@pytest.mark.parametrize("sees", ["hr", "lr"])
def test_the_recipe_chooses_the_control_image_of_the_teacher(make_objective, monkeypatch, sees):
    objective, batch = make_objective(teacher_sees=parse_teacher_sees(sees)), pictures(2)
    forwards = Forwards(monkeypatch, objective)
    compute_losses(objective, batch, draws_at(objective.recipe, [0, 1]))
    shown = {"hr": batch.hr, "lr": batch.canvas}[sees]
    assert all(torch.equal(control, shown) for _, _, control, _ in forwards.of("teacher", False))


def test_only_the_samples_that_are_taught_are_compared_with_the_teacher(
    make_objective, monkeypatch
):
    objective, batch = make_objective(teacher_samples=2), pictures(4)
    objective.discriminator_step.discriminator.eval()
    draws = draws_at(objective.recipe, [0, 1, 2, 3])
    whole = compute_losses(objective, batch, draws)
    forwards = Forwards(monkeypatch, objective)
    some = compute_losses(
        objective, batch, replace(draws, taught=torch.tensor([True, False, False, True]))
    )
    shown = forwards.of("teacher", False)
    assert [len(control) for _, _, control, _ in shown] == [2, 2]
    assert torch.equal(shown[0][2], batch.hr[[0, 3]])
    for name in ("distill", "distance"):
        assert torch.allclose(some[name][[0, 3]], whole[name][[0, 3]], rtol=1e-4)
        assert some[name][[1, 2]].tolist() == [0, 0]
    assert torch.allclose(some["adversarial"], whole["adversarial"])


def test_a_batch_without_taught_samples_skips_the_teacher(make_objective, monkeypatch):
    objective, batch = make_objective(anchor_l1=1.0), pictures(2)
    forwards = Forwards(monkeypatch, objective)
    draws = replace(draws_at(objective.recipe, [0, 3]), taught=torch.tensor([False, False]))
    losses = compute_losses(objective, batch, draws)
    assert not forwards.of("teacher", False)
    assert losses["distill"].tolist() == [0, 0]
    objective.total(losses, draws.index).backward()
    assert objective.model.net.out.weight.grad.abs().max() > 0


@pytest.mark.parametrize("index", [[0, 0], [0, 3]])
def test_with_a_share_of_one_all_samples_are_compared_with_the_teacher(make_objective, index):
    objective, batch = make_objective(teacher_share=1.0), pictures(2)
    draws = draws_at(objective.recipe, index)
    assert draws.taught.all()
    student = objective.run_student(batch, draws)
    expected = torch.stack(
        [
            weight * (target - student.image).square().flatten(1).mean(1)
            for weight, target in objective.teacher_targets(student)
        ]
    ).mean(0)
    assert torch.allclose(compute_losses(objective, batch, draws)["distill"], expected, rtol=1e-5)


def test_latents_are_compared_where_the_recipe_says_so(make_objective):
    batch = pictures(2)
    pixel, latent = (make_objective(space=space) for space in ("pixel", "latent"))
    draws = draws_at(pixel.recipe, [0, 1])
    student = latent.run_student(batch, draws)
    ((_, target),) = latent.teacher_targets(student)
    assert target.shape == student.z0.shape
    distance = (target - student.z0).square().flatten(1).mean(1)
    assert torch.allclose(compute_losses(latent, batch, draws)["distance"], distance)
    assert not torch.allclose(compute_losses(pixel, batch, draws)["distance"], distance)


def test_the_total_is_the_weighted_sum(make_objective):
    objective = make_objective(distill=0.5, adversarial=0.1, anchor_l1=2.0)
    losses = compute_losses(objective, pictures(2), draws_at(objective.recipe, [0, 1]))
    weights = {"distill": 0.5, "adversarial": 0.1, "l1": 2.0}
    assert losses.keys() == weights.keys() | {"distance"}
    expected = sum(weight * losses[name].mean() for name, weight in weights.items())
    assert objective.total(losses, torch.tensor([0, 1])).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_timestep_weights_scale_the_adversarial_loss_by_timestep(make_objective):
    objective = make_objective(
        distill=0.5, adversarial=0.1, timestep_weights=(0.0, 0.5, 1.0, 3.0), anchor_l1=2.0
    )
    losses = compute_losses(objective, pictures(2), draws_at(objective.recipe, [1, 3]))
    perceived = torch.tensor([0.05, 0.3]) * losses["adversarial"]
    expected = (0.5 * losses["distill"] + 2 * losses["l1"] + perceived).mean()
    assert objective.total(losses, torch.tensor([1, 3])).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_half_precision_is_near_and_the_formulas_stay_in_float32(
    make_objective, monkeypatch, index
):
    losses = {}
    predict = Schedule.predict_z0
    for precision in ("no", "bf16"):
        objective, types = make_objective(precision=precision), []

        def watched(self, z, output, t, seen=types):
            seen.extend((z.dtype, output.dtype))
            return predict(self, z, output, t)

        monkeypatch.setattr(Schedule, "predict_z0", watched)
        losses[precision] = (
            compute_losses(objective, pictures(2), draws_at(objective.recipe, [index, index]))[
                "distill"
            ]
            .mean()
            .item()
        )
        assert set(types) == {torch.float32}
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.05)
    assert losses["bf16"] != losses["no"]
