"""Imitation: the teacher's picture of LR takes the place of HR as the target of some samples."""

from dataclasses import replace

import pytest
import torch
from distillation_samples import draws_at, pictures

from addsr_cli.schedule import STEPS
from addsr_cli.train.objectives.draws import draw_student, generator_for
from addsr_cli.train.recipe import preset


def student_pass(objective, imitates, reductions):
    batch = replace(pictures(2), reductions=reductions)
    draws = draws_at(objective.recipe, [0, 0])
    return objective.run_student(batch, replace(draws, imitates=torch.tensor(imitates)))


@pytest.fixture
def objective(make_objective):
    return make_objective(imitate=0.5, anchor_l1=1.0, distill=0.0)


def teacher_picture(objective, student):
    teacher = objective.model.teacher
    batch = student.batch
    z = teacher.schedule.add_noise(teacher.encode(batch.canvas), student.draws.noise, STEPS[0])
    t = torch.full((len(z),), STEPS[0])
    with torch.no_grad():
        return teacher.decode(teacher.denoise(z, t, batch.canvas, None)).clamp(0, 1)


def test_the_chosen_samples_have_the_teachers_picture_of_the_canvas_as_target(objective):
    student = student_pass(objective, [True, False], (4.0, 4.0))
    expected = teacher_picture(objective, student)
    torch.testing.assert_close(student.batch.target[0], expected[0])
    assert torch.equal(student.batch.target[1], student.batch.hr[1])
    assert not torch.equal(student.batch.target[0], student.batch.hr[0])


def test_samples_that_were_hardly_reduced_keep_hr(objective):
    student = student_pass(objective, [True, True], (1.5, 4.0))
    assert torch.equal(student.batch.target[0], student.batch.hr[0])
    assert not torch.equal(student.batch.target[1], student.batch.hr[1])


def test_losses_and_discriminator_compare_with_the_target(objective, monkeypatch):
    seen = []
    discriminator = objective.discriminator_step.discriminator
    features = discriminator.features

    def recorded(picture, generators):
        seen.append(picture)
        return features(picture, generators)

    monkeypatch.setattr(discriminator, "features", recorded)
    student = student_pass(objective, [True, True], (4.0, 4.0))
    losses = objective.losses(student, [torch.Generator(), torch.Generator()])
    distance = (student.image - student.batch.target).abs().flatten(1).mean(1)
    torch.testing.assert_close(losses["l1"], distance, atol=1e-3, rtol=0)
    objective.discriminator_step.backward(
        student.batch, student.image, [torch.Generator(), torch.Generator()], 1.0
    )
    assert any(torch.equal(picture, student.batch.target) for picture in seen)


class SquaredDistance:
    """In place of LPIPS."""

    def distance(self, image, hr):
        return (image - hr).square().flatten(1).mean(1)


def test_a_share_of_the_perceptual_distance_stays_with_hr(make_objective):
    recipe = {"imitate": 0.5, "anchor_l1": 1.0, "anchor_lpips": 1.0, "distill": 0.0}
    distances = {}
    for share in (0.0, 0.25, 1.0):
        objective = make_objective(original_share=share, **recipe)
        objective.reconstruction.vgg = SquaredDistance()
        student = student_pass(objective, [True, True], (4.0, 4.0))
        losses = objective.losses(student, [torch.Generator(), torch.Generator()])
        real = student.batch.hr if share else student.batch.target
        assert torch.equal(student.batch.real, real)
        expected = (student.image - student.batch.target).abs().flatten(1).mean(1)
        torch.testing.assert_close(losses["l1"], expected, atol=1e-3, rtol=0)
        distances[share] = losses["lpips"]
    mixed = 0.75 * distances[0.0] + 0.25 * distances[1.0]
    torch.testing.assert_close(distances[0.25], mixed)
    assert not torch.allclose(distances[0.0], distances[1.0])


def test_the_share_decides_how_many_samples_imitate():
    recipe = replace(preset("paper", "nano"), imitate=0.25)
    generators = [generator_for(0, place) for place in range(200)]
    draws = draw_student(recipe, generators, (1, 2, 2))
    assert 30 <= int(draws.imitates.sum()) <= 70


def test_training_the_first_step_alone_draws_no_other():
    recipe = replace(preset("paper", "nano"), timesteps="first")
    draws = draw_student(recipe, [generator_for(0, place) for place in range(20)], (1, 2, 2))
    assert not draws.index.any()
