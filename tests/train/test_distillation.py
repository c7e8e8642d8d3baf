"""TA-ADD: what a step computes, and what it leaves alone."""

from dataclasses import fields, replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from addsr_cli.errors import AddsrError
from addsr_cli.models.nano import Nano
from addsr_cli.models.restorer import Condition
from addsr_cli.sampler import sample
from addsr_cli.schedule import STEPS, Schedule
from addsr_cli.train.adversary import Adversary
from addsr_cli.train.discriminator import ConvDiscriminator
from addsr_cli.train.distillation import Distillation
from addsr_cli.train.draws import StudentDraws, draw_student
from addsr_cli.train.learner import NanoLearner, fresh
from addsr_cli.train.objective import Batch
from addsr_cli.train.recipe import preset

SECOND_AXIS = ("chain", "t", "teacher")  # of draws, where the samples lie


def learner(seed=0):
    """A student with weights of its own, and a teacher that answers with more than its control image."""
    torch.manual_seed(seed)
    student, teacher = fresh("tiny"), fresh("tiny")
    for nano in (student, teacher):
        torch.nn.init.normal_(nano.net.out.weight, std=0.02)
    return NanoLearner(student, teacher)


def pictures(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(count, 3, 32, 32, generator=generator)
    return Batch(hr=hr, canvas=(hr + 0.2 * torch.rand(hr.shape, generator=generator)).clamp(0, 1), tags=("",) * count)


def given(recipe, index, seed=0):
    """Draws with these timesteps."""
    index = torch.tensor(index)
    made = draw_student(recipe, torch.Generator().manual_seed(seed), (len(index), 48, 8, 8))
    return replace(made, index=index)


def part(draws, chosen):
    """The draws of some samples."""
    picked = {f.name: getattr(draws, f.name) for f in fields(StudentDraws)}
    return StudentDraws(**{n: v[:, chosen] if n in SECOND_AXIS else v[chosen] for n, v in picked.items()})


def cut(batch, chosen):
    return Batch(hr=batch.hr[chosen], canvas=batch.canvas[chosen], tags=batch.tags[chosen])


@pytest.fixture
def objective(configured, monkeypatch):
    """Makes distillations of the tiny network; ``draws`` fixes those of every batch in turn."""

    def make(*, draws=None, precision="no", discriminator=True, seed=0, lr=1e-3, accumulate=1, **changes):
        recipe = replace(preset("paper", "nano"), **changes)
        config = configured(stage="student", recipe=recipe, lr=lr, d_lr=lr, accumulate=accumulate, clip=100.0)
        AcceleratorState._reset_state(True)  # which else keeps the first precision
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        torch.manual_seed(seed)
        judge = Adversary(ConvDiscriminator(), config, accelerator) if discriminator else None
        made = Distillation(config, learner(seed), judge, accelerator)
        if draws:
            turns = iter(draws * 1000)
            monkeypatch.setattr(made, "draw", lambda batch, generator: next(turns))
        return made

    return make


def values(parameters):
    return {name: p.detach().clone() for name, p in parameters.items()}


def losses(made, batch, draws):
    return made.losses(made.view(batch, draws), torch.Generator().manual_seed(0))


class Forwards:
    """Counts what the networks are asked, and whether gradients were on."""

    def __init__(self, monkeypatch, made):
        self.calls, denoise = [], Nano.denoise

        def counted(nano, z, t, control, cond):
            which = "student" if nano is made.learner.student else "teacher"
            self.calls.append((which, torch.is_grad_enabled(), control, t))
            return denoise(nano, z, t, control, cond)

        monkeypatch.setattr(Nano, "denoise", counted)

    def of(self, which, grad):
        return [call for call in self.calls if call[:2] == (which, grad)]


@pytest.mark.parametrize("rollout", ["teacher-forced", "chained"])
def test_a_batch_loses_what_its_samples_lose_alone(objective, rollout):
    made, batch = objective(rollout=rollout, teacher_samples=2, anchor_l1=1.0), pictures(4)
    made.adversary.discriminator.eval()  # in training its spectral norms differ from look to look
    draws = given(made.recipe, [0, 1, 2, 3])
    together = losses(made, batch, draws)
    alone = [losses(made, cut(batch, slice(k, k + 1)), part(draws, slice(k, k + 1))) for k in range(4)]
    assert together.keys() == {"distill", "distance", "adversarial", "l1"}
    for name, loss in together.items():
        assert torch.allclose(loss, torch.cat([one[name] for one in alone]), atol=1e-5)


def test_every_sample_counts_by_its_own_timestep(objective):
    made, batch = objective(), pictures(4)
    draws = given(made.recipe, [3, 0, 2, 1])
    found = losses(made, batch, draws)
    abar = Schedule().alphas_cumprod[draws.t[0]].sqrt()
    expected = abar * torch.tensor([4.6305, 0.5, 2.205, 1.05]) * found["distance"]
    assert torch.allclose(found["distill"], expected, rtol=1e-4)


def test_a_student_that_is_its_teacher_and_sees_the_same_has_nothing_to_learn(objective):
    batch, found = pictures(2), {}
    for sees in ("lr", "hr"):
        made = objective(teacher_sees=sees)
        for net in (made.learner.net, made.learner.frozen):  # both answer with what they are shown
            torch.nn.init.zeros_(net.out.weight)
        found[sees] = losses(made, batch, given(made.recipe, [0, 0]))["distance"]
    assert found["lr"].max() < 1e-10
    assert torch.allclose(found["hr"], (batch.hr - batch.canvas).square().flatten(1).mean(1))


@pytest.mark.parametrize("rollout", ["teacher-forced", "chained"])
@pytest.mark.parametrize("index", [[0, 0], [0, 2], [3, 1]])
def test_gradients_run_through_one_pass_of_the_student(objective, monkeypatch, rollout, index):
    made = objective(rollout=rollout, draws=[given(preset("paper", "nano"), index)])
    forwards = Forwards(monkeypatch, made)
    made.step([pictures(2)], 0, 1e-3)
    assert len(forwards.of("student", True)) == 1
    assert len(forwards.of("teacher", False)) == made.recipe.teacher_samples
    assert not forwards.of("teacher", True)
    earlier = {"teacher-forced": min(max(index), 1), "chained": max(index)}[rollout]
    assert len(forwards.of("student", False)) == earlier


def test_accumulated_batches_keep_no_graphs_while_the_discriminator_looks(objective, monkeypatch):
    draws = given(preset("paper", "nano"), [0])
    made = objective(draws=[draws, draws], accumulate=2)
    forwards = Forwards(monkeypatch, made)
    told = made.step([pictures(1)] * 2, 0, 1e-3)
    assert [grad for which, grad, *_ in forwards.calls if which == "student"] == [False, False, True, True]
    assert len(told.by_timestep) == 2


@pytest.mark.parametrize("rollout", ["teacher-forced", "chained"])
def test_the_first_step_sees_the_canvas_and_later_ones_a_picture(objective, monkeypatch, rollout):
    made, batch = objective(rollout=rollout, psr=(1.0, 1.0)), pictures(3)
    forwards = Forwards(monkeypatch, made)
    made.view(batch, given(made.recipe, [0, 1, 3]))
    ((_, _, control, t),) = forwards.of("student", True)
    assert t.tolist() == [999, 749, 249]
    assert torch.equal(control[0], batch.canvas[0])
    assert not any(torch.equal(control[k], batch.canvas[k]) for k in (1, 2))
    assert 0 <= control.min() <= control.max() <= 1


def test_the_prediction_counts_by_its_weight_in_the_control_image(objective, monkeypatch):
    made, batch = objective(rollout="teacher-forced", psr=(0.0, 1.0)), pictures(2)
    draws = given(made.recipe, [2, 2])
    shown = []
    for weight in (0.0, 0.5, 1.0):
        _, control = made.start(batch, Condition(), replace(draws, psr=torch.tensor([weight, weight])))
        shown.append(control)
    assert torch.equal(shown[0], batch.canvas)
    assert torch.allclose(shown[1], (shown[0] + shown[2]) / 2, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_a_chained_roll_out_is_what_inference_runs(objective, index, weight):
    made, batch = objective(first_latent="lr", rollout="chained", psr=(weight, weight)), pictures(1)
    draws = given(made.recipe, [index])
    picture = made.view(batch, draws).picture
    noises = iter([*draws.chain[:index], draws.noise])
    made.learner.net.eval()
    expected = sample(
        made.learner.student,
        batch.canvas,
        Condition(),
        timesteps=STEPS[: index + 1],
        noise=lambda shape: next(noises).reshape(shape),
        psr=weight,
    )
    assert torch.allclose(picture, expected.clamp(0, 1), atol=1e-5)
    assert next(noises, None) is None


def test_samples_of_one_chain_go_each_as_far_as_they_must(objective):
    made, batch = objective(first_latent="lr", rollout="chained"), pictures(4)
    draws = given(made.recipe, [2, 0, 3, 1])
    together = made.view(batch, draws).picture
    for k in range(4):
        chosen = slice(k, k + 1)
        assert torch.allclose(made.view(cut(batch, chosen), part(draws, chosen)).picture, together[chosen], atol=1e-5)


def test_the_first_latent_is_that_of_the_original_or_of_the_canvas(objective):
    batch, starts = pictures(1), {}
    for whose in ("hr", "lr"):
        made = objective(first_latent=whose, rollout="teacher-forced")
        draws = given(made.recipe, [0])
        starts[whose], _ = made.start(batch, Condition(), draws)
    nano = made.learner.student
    assert torch.equal(starts["hr"], nano.schedule.add_noise(nano.encode(batch.hr), draws.noise, 999))
    assert torch.equal(starts["lr"], nano.schedule.add_noise(nano.encode(batch.canvas), draws.noise, 999))


@pytest.mark.parametrize("sees", ["hr", "lr"])
def test_the_teacher_is_shown_what_the_recipe_says(objective, monkeypatch, sees):
    made, batch = objective(teacher_sees=sees), pictures(2)
    forwards = Forwards(monkeypatch, made)
    losses(made, batch, given(made.recipe, [0, 1]))
    shown = {"hr": batch.hr, "lr": batch.canvas}[sees]
    assert all(torch.equal(control, shown) for _, _, control, _ in forwards.of("teacher", False))


def test_latents_are_compared_when_wished(objective):
    batch = pictures(2)
    pixel, latent = (objective(space=space) for space in ("pixel", "latent"))
    draws = given(pixel.recipe, [0, 1])
    view = latent.view(batch, draws)
    ((_, target),) = latent.targets(view)
    assert target.shape == view.z0.shape
    distance = (target - view.z0).square().flatten(1).mean(1)
    assert torch.allclose(losses(latent, batch, draws)["distance"], distance)
    assert not torch.allclose(losses(pixel, batch, draws)["distance"], distance)


def test_the_total_is_the_weighted_sum(objective):
    made = objective(distill=0.5, adversarial=0.1, anchor_l1=2.0, anchor_l2=3.0, anchor_ssim=4.0)
    found = losses(made, pictures(2), given(made.recipe, [0, 1]))
    weights = {"distill": 0.5, "adversarial": 0.1, "l1": 2, "l2": 3, "ssim": 4}
    assert found.keys() == weights.keys() | {"distance"}
    expected = sum(weight * found[name].mean() for name, weight in weights.items())
    assert made._total(found).item() == pytest.approx(expected.item(), rel=1e-6)


def test_teacher_and_frozen_weights_stay_bit_for_bit_and_the_student_moves(objective):
    made = objective(timesteps="uniform", r1=0.1)
    before, own = values(dict(made.learner.frozen.named_parameters())), values(made.learner.parameters)
    for number in range(3):
        made.step([pictures(2, number)], number, 1e-3)
    assert all(torch.equal(p, before[name]) for name, p in made.learner.frozen.named_parameters())
    assert all(p.grad is None for p in made.learner.frozen.parameters())
    assert any(not torch.equal(p, own[name]) for name, p in made.learner.parameters.items())


def test_each_network_gets_gradients_in_its_own_turn_and_moves_in_no_other(objective, monkeypatch):
    made, seen = objective(), []
    networks = {"student": made.learner.parameters, "discriminator": made.adversary.parameters}

    def look(turn):
        with_gradient = {name for name, some in networks.items() if any(p.grad is not None for p in some.values())}
        seen.append((turn, with_gradient, {name: values(some) for name, some in networks.items()}))

    for turn, updater in (("discriminator", made.adversary.updater), ("student", made.student)):
        step = updater.step
        monkeypatch.setattr(updater, "step", lambda lr, t=turn, s=step: (look(t), s(lr), look(f"after {t}"))[1])
    made.step([pictures(2)], 0, 1e-3)
    turns = {turn: (grads, weights) for turn, grads, weights in seen}
    assert [turn for turn, *_ in seen] == ["discriminator", "after discriminator", "student", "after student"]
    assert [turns[turn][0] for turn in turns] == [{"discriminator"}, set(), {"student"}, set()]

    def moved(name, a, b):
        return any(not torch.equal(v, turns[b][1][name][key]) for key, v in turns[a][1][name].items())

    assert moved("discriminator", "discriminator", "after discriminator")
    assert moved("student", "student", "after student")
    assert not moved("student", "discriminator", "student")
    assert not moved("discriminator", "after discriminator", "after student")
    assert all(p.requires_grad for some in networks.values() for p in some.values())


def test_the_discriminator_learns_the_same_whether_the_student_took_its_turn_or_not(objective, monkeypatch):
    batch, generator = pictures(2), torch.Generator()
    made = objective()
    view = made.view(batch, given(made.recipe, [0, 1]))
    judge = made.adversary.discriminator
    state = {name: value.clone() for name, value in judge.state_dict().items()}

    def gradients():
        judge.load_state_dict(state)  # the power iteration of the spectral norms goes on with every look
        made.adversary.learn(batch, view.picture.detach(), generator, 1.0)
        return {name: p.grad.clone() for name, p in made.adversary.parameters.items()}

    isolated = gradients()
    judge.zero_grad()
    made.losses(view, generator)["adversarial"].mean().backward()
    again = gradients()
    assert all(torch.equal(again[name], gradient) for name, gradient in isolated.items())


def test_the_student_is_pushed_towards_what_the_discriminator_believes(objective):
    made = objective(distill=0.0, adversarial=1.0, lr=1e-3)
    batch, draws = pictures(2), given(made.recipe, [0, 0])
    made.adversary.discriminator.eval()
    before = losses(made, batch, draws)["adversarial"].mean()
    before.backward()
    made.student.step(1e-3)
    assert losses(made, batch, draws)["adversarial"].mean() < before


def test_two_batches_of_one_are_one_batch_of_two(objective):
    batch, recipe = pictures(2), preset("paper", "nano")
    draws = given(recipe, [1, 3])
    halves = [cut(batch, slice(k, k + 1)) for k in range(2)]
    once = objective(draws=[draws])
    twice = objective(draws=[part(draws, slice(k, k + 1)) for k in range(2)], accumulate=2)
    for made in (once, twice):
        made.adversary.discriminator.eval()  # the power iteration would go on once more for the second batch
    told = once.step([batch], 0, 1e-3), twice.step(halves, 0, 1e-3)
    for a, b in ((once.learner, twice.learner), (once.adversary, twice.adversary)):
        assert all(torch.allclose(p, b.parameters[name], atol=2e-6) for name, p in a.parameters.items())
    assert told[0].values == pytest.approx(told[1].values, rel=1e-3)
    assert dict(told[0].by_timestep) == pytest.approx(dict(told[1].by_timestep), rel=1e-3)
    for made in (once, twice):
        for updater in (made.student, made.adversary.updater):
            counts = {float(state["step"]) for state in updater.optimisers[0].state.values()}
            assert counts == {1.0}


def test_clipping_sees_the_mean_gradient_of_what_is_accumulated(objective):
    draws = given(preset("paper", "nano"), [1])
    once, thrice = (objective(draws=[draws], discriminator=False, accumulate=n) for n in (1, 3))
    norms = [made.step([pictures(1)] * n, 0, 1e-3).values["grad_norm"] for made, n in ((once, 1), (thrice, 3))]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_without_the_adversarial_loss_a_fixed_batch_is_learnt(objective):
    draws = given(preset("paper", "nano"), [0, 2])
    made = objective(draws=[draws], discriminator=False, adversarial=0.0, lr=1e-3)
    batch = pictures(2)
    told = [made.step([batch], number, 1e-3).values["distill"] for number in range(40)]
    assert told[-1] < 0.5 * told[0]


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_half_precision_is_near_and_the_formulas_stay_in_float32(objective, monkeypatch, index):
    found = {}
    predict = Schedule.predict_z0
    for precision in ("no", "bf16"):
        made, types = objective(precision=precision), []

        def watched(self, z, output, t, seen=types):
            seen.extend((z.dtype, output.dtype))
            return predict(self, z, output, t)

        monkeypatch.setattr(Schedule, "predict_z0", watched)
        found[precision] = losses(made, pictures(2), given(made.recipe, [index, index]))["distill"].mean().item()
        assert set(types) == {torch.float32}
    assert found["bf16"] == pytest.approx(found["no"], rel=0.05)
    assert found["bf16"] != found["no"]


@pytest.mark.parametrize("culprit", ["student", "discriminator"])
def test_what_is_no_number_is_named_before_that_network_moves(objective, monkeypatch, culprit):
    made = objective()
    if culprit == "student":
        monkeypatch.setattr(made.recipe.ta.__class__, "__call__", lambda self, *_: torch.tensor(float("nan")))
    else:
        with torch.no_grad():
            next(iter(made.adversary.discriminator.parameters())).fill_(float("nan"))
    before = {name: values(some) for name, some in (("student", made.learner.parameters),)}
    with pytest.raises(AddsrError, match=f"The loss of the {culprit} became nan"):
        made.step([pictures(2)], 0, 1e-3)
    assert all(torch.equal(p, before["student"][name]) for name, p in made.learner.parameters.items())


def test_a_step_tells_every_loss_and_where_each_sample_was(objective):
    draws = given(preset("paper", "nano"), [3, 0])
    told = objective(draws=[draws], anchor_l2=0.1).step([pictures(2)], 0, 1e-3)
    figures = {"discriminator", "real", "fake", "discriminator_norm", "grad_norm"}
    assert told.values.keys() == figures | {"distill", "distance", "adversarial", "l2"}
    assert [index for index, _ in told.by_timestep] == [3, 0]
    assert sum(loss for _, loss in told.by_timestep) / 2 == pytest.approx(told.values["distance"], rel=1e-5)
