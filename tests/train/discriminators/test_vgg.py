"""The features of VGG16 and the discriminator on them, with random weights."""

from dataclasses import replace as changed

import pytest
import torch
from accelerate import Accelerator
from distillation_samples import (
    compute_losses,
    draws_at,
    pictures,
    slice_batch,
    slice_draws,
    trainable_model,
)

from addsr_cli.errors import ModelUnavailable
from addsr_cli.perceptual import LPIPS
from addsr_cli.train.build import objective_for
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.discriminators.vgg import STAGE_COUNT, VggDiscriminator
from addsr_cli.train.losses.adversarial import discriminator_loss
from addsr_cli.train.losses.perceptual import VggFeatures
from addsr_cli.train.objectives.distillation import Distillation

LOGIT_COUNTS = (32 * 32, 16 * 16, 8 * 8, 4 * 4)  # of a picture of 32x32, by stage


@pytest.fixture(scope="module")
def lpips(perceptual_state):
    return LPIPS.load("vgg", weights=perceptual_state)


@pytest.fixture
def vgg(lpips):
    return VggFeatures(lpips)


@pytest.fixture
def discriminator(vgg):
    torch.manual_seed(0)
    return VggDiscriminator(vgg)


@pytest.fixture
def image_sizes(lpips, monkeypatch):
    """The shapes of the images that the network was run on."""
    seen, features = [], lpips.features
    monkeypatch.setattr(
        lpips, "features", lambda image: seen.append(tuple(image.shape)) or features(image)
    )
    return seen


@pytest.fixture
def make_vgg_objective(make_objective, lpips):
    """Makes distillations with VGG16 in the discriminator and in LPIPS."""

    def make(precision="no", accumulate=1, **changes):
        objective = make_objective(
            precision=precision,
            discriminator=False,
            accumulate=accumulate,
            anchor_lpips=0.5,
            **changes,
        )
        vgg = VggFeatures(lpips)
        torch.manual_seed(0)
        accelerator = objective.accelerator
        discriminator_step = DiscriminatorStep(VggDiscriminator(vgg), objective.config, accelerator)
        return Distillation(
            objective.config, trainable_model(), discriminator_step, accelerator, vgg
        )

    return make


def image(seed=0, count=2):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_features_are_computed_once_and_cached_for_two_images(vgg, image_sizes):
    first, second, third = image(0), image(1), image(2)
    features = vgg(first)
    assert vgg(first) is features
    vgg(second)
    assert vgg(first) is features
    vgg(third)
    vgg(first)
    assert len(image_sizes) == 4
    vgg.clear()
    assert vgg.cache == []


def test_an_equal_copy_is_computed_separately(vgg):
    picture = image()
    assert not vgg(picture)[0].requires_grad
    assert vgg(picture.clone().requires_grad_())[0].requires_grad


def test_the_distance_is_lpips_with_gradients_to_the_picture_alone(vgg, lpips):
    picture, hr = image(0).requires_grad_(), image(1)
    distance = vgg.distance(picture, hr)
    assert torch.allclose(distance, lpips(picture.detach(), hr))
    distance.sum().backward()
    assert picture.grad.abs().amax((1, 2, 3)).min() > 0
    assert not any(p.requires_grad or p.grad is not None for p in lpips.parameters())


def test_a_step_computes_the_features_of_prediction_and_hr_once(make_vgg_objective, image_sizes):
    objective = make_vgg_objective()
    objective.step([pictures(2)], 1e-3)
    assert image_sizes == [(2, 3, 32, 32)] * 2
    assert objective.vgg.cache == []


def test_accumulated_batches_are_computed_again_with_gradients(make_vgg_objective, monkeypatch):
    objective = make_vgg_objective(accumulate=2)
    before = {name: p.detach().clone() for name, p in objective.model.parameters.items()}
    metrics = objective.step([pictures(1, 0), pictures(1, 1)], 1e-3)
    assert {"distill", "adversarial", "lpips", "discriminator"} <= metrics.values.keys()
    assert any(not torch.equal(p, before[name]) for name, p in objective.model.parameters.items())


def test_two_batches_of_one_are_one_batch_of_two(make_vgg_objective, monkeypatch):
    once, twice = make_vgg_objective(), make_vgg_objective(accumulate=2)
    batch, seen = pictures(2), []
    draws = draws_at(once.recipe, [0, 2])
    for objective, batches in ((once, [batch]), (twice, [halved(batch, k) for k in range(2)])):
        turns = iter(
            [draws]
            if objective is once
            else [slice_draws(draws, slice(k, k + 1)) for k in range(2)]
        )
        monkeypatch.setattr(objective, "draw", lambda batch, generators, turns=turns: next(turns))
        seen.append(objective.step(batches, 1e-3).values)
    assert seen[0] == pytest.approx(seen[1], rel=1e-3)


def halved(batch, k):
    return slice_batch(batch, slice(k, k + 1))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_gradients_reach_the_student_through_every_head(make_vgg_objective, precision):
    objective = make_vgg_objective(precision, distill=0.0, adversarial=1.0)
    batch, draws = pictures(2), draws_at(objective.recipe, [0, 0])
    objective.discriminator_step.begin([batch])
    objective.discriminator_step.backward(batch, batch.canvas, None, 1.0)
    student = objective.run_student(batch, draws)
    logits = objective.discriminator_step.discriminator.logits(
        objective.discriminator_step.discriminator.features(student.image), batch.canvas
    )
    assert [tuple(head.shape) for head in logits] == [(2, count) for count in LOGIT_COUNTS]
    assert {head.dtype for head in logits} == {torch.float32}
    for head in logits:
        (gradient,) = torch.autograd.grad(
            head.mean(), objective.model.net.out.weight, retain_graph=True
        )
        assert gradient.abs().max() > 0


def test_only_the_heads_are_trained_and_saved(make_vgg_objective, lpips):
    objective = make_vgg_objective(r1=0.01)
    before = [p.clone() for p in lpips.backbone.parameters()]
    heads = {
        name: p.detach().clone() for name, p in objective.discriminator_step.parameters.items()
    }
    objective.step([pictures(2)], 1e-2)
    assert all(
        torch.equal(p, old) for p, old in zip(lpips.backbone.parameters(), before, strict=True)
    )
    moved = {
        name
        for name, p in objective.discriminator_step.parameters.items()
        if not torch.equal(p, heads[name])
    }
    assert {name.split(".")[1] for name in moved} == {"0", "1", "2", "3"}
    names = objective.discriminator_step.state_dict()["weights"].keys()
    assert {name.split(".")[0] for name in names} == {
        "heads",
        *(f"scale_{k}" for k in range(STAGE_COUNT)),
    }


def test_the_student_does_not_move_the_heads_nor_the_heads_the_student(make_vgg_objective):
    objective = make_vgg_objective()
    batch = pictures(2)
    student = objective.run_student(batch, draws_at(objective.recipe, [0, 1]))
    objective.discriminator_step.begin([batch])
    objective.discriminator_step.backward(batch, student.image, None, 1.0)
    assert all(p.grad is None for p in objective.model.parameters.values())
    objective.discriminator_step.optimizer_step.step(1e-3)
    objective.total(objective.losses(student, ()), student.draws.index).backward()
    assert all(p.grad is None for p in objective.discriminator_step.parameters.values())
    assert objective.model.net.out.weight.grad.abs().max() > 0


def test_features_are_scaled_by_their_power_in_the_first_hr_batch(discriminator, vgg):
    first, later = image(0), image(1) * 0.1
    discriminator.calibrate([first[:1], first[1:]])
    for number, seen in enumerate(discriminator.features(first)):
        power = seen.square().mean((0, 2, 3)).sqrt()
        assert torch.allclose(
            discriminator.get_buffer(f"scale_{number}"), power + 0.01 * power.mean(), rtol=1e-4
        )
    scales = [discriminator.get_buffer(f"scale_{k}").clone() for k in range(STAGE_COUNT)]
    discriminator.calibrate([later])
    assert all(
        torch.equal(discriminator.get_buffer(f"scale_{k}"), scale) for k, scale in enumerate(scales)
    )


def test_features_that_are_zero_at_first_are_not_divided_by_zero(discriminator, monkeypatch):
    nothing = [torch.zeros(2, width, 4, 4) for width in (64, 128, 256, 512)]
    monkeypatch.setattr(discriminator, "features", lambda image: nothing)
    discriminator.calibrate([image()])
    logits = discriminator.logits(nothing, torch.zeros(2, 0))
    assert all(torch.isfinite(head).all() for head in logits)


def test_a_step_takes_its_scales_from_hr_and_not_from_the_prediction(make_vgg_objective):
    objective, batch = make_vgg_objective(), pictures(2)
    objective.step([batch], 1e-3)
    power = objective.vgg(batch.hr)[0].square().mean((0, 2, 3)).sqrt()
    assert torch.allclose(
        objective.discriminator_step.discriminator.scale_0, power + 0.01 * power.mean()
    )


def test_the_state_restores_scales_and_power_iteration(discriminator, vgg, same):
    picture = image()
    discriminator.calibrate([picture])
    discriminator.logits(discriminator.features(picture), discriminator.condition(picture))
    state = {key: value.clone() for key, value in discriminator.state_dict().items()}
    other = VggDiscriminator(vgg)
    other.load_state_dict(state)
    assert same(dict(other.state_dict()), state)
    darker = image(1) * 0.1
    ours, theirs = (
        network.logits(network.features(darker), network.condition(darker))
        for network in (discriminator, other)
    )
    assert same(ours, theirs)


def test_it_learns_to_tell_hr_from_blurred_images(discriminator):
    discriminator.calibrate([image(0)])
    optimiser = torch.optim.Adam(discriminator.parameters(), 5e-3)
    for number in range(12):
        sharp, soft = image(number), torch.nn.functional.avg_pool2d(image(number), 3, 1, 1)
        condition = discriminator.condition(sharp)
        loss = discriminator_loss(
            discriminator.logits(discriminator.features(sharp), condition),
            discriminator.logits(discriminator.detached_features(soft), condition),
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 1.5  # 2 without any training


@pytest.mark.parametrize("changes", [{"discriminator": "vgg"}, {"anchor_lpips": 0.5}])
def test_missing_weights_raise_an_error_that_says_how_to_fetch_them(configured, changes):
    config = configured(stage="student")
    config = changed(config, recipe=changed(config.recipe, **changes))
    with pytest.raises(ModelUnavailable, match="weights of LPIPS") as caught:
        objective_for(config, trainable_model(), Accelerator(cpu=True))
    assert "python -m addsr_cli.fetch_perceptual" in caught.value.hint


@pytest.mark.parametrize(
    "changes", [{"discriminator": "vgg"}, {"anchor_lpips": 0.5}, {"discriminator": "conv"}]
)
def test_vgg_is_loaded_only_where_a_loss_needs_it(configured, perceptual_weights, changes):
    config = configured(stage="student")
    objective = objective_for(
        changed(config, recipe=changed(config.recipe, **changes)),
        trainable_model(),
        Accelerator(cpu=True),
    )
    assert (objective.vgg is not None) == ("conv" not in changes.values())
    assert isinstance(objective.discriminator_step.discriminator, VggDiscriminator) == (
        "vgg" in changes.values()
    )
    losses = compute_losses(objective, pictures(1), draws_at(objective.recipe, [0]))
    assert ("lpips" in losses) == ("anchor_lpips" in changes)
