"""The random draws of a training step."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from addsr_cli.train.objectives.draws import draw_student, generator_for
from addsr_cli.train.recipe import OFFICIAL, PAPER

SHAPE = (400, 2, 1, 1)
MANY = (10_000, 1, 1, 1)


def generator(step=0, micro=0, rank=0, seed=0, accumulate=1):
    return generator_for(SimpleNamespace(seed=seed, accumulate=accumulate), step, micro, rank)


def student(recipe=PAPER, shape=MANY, **place):
    return draw_student(recipe, generator(**place), shape)


def within(share, expected, count):
    """Whether a share of ``count`` draws lies within three standard deviations of ``expected``."""
    return abs(float(share) - expected) <= 3 * (expected * (1 - expected) / count) ** 0.5


def test_draws_depend_on_seed_step_batch_and_process_alone():
    torch.manual_seed(1)
    first = student(shape=SHAPE)
    torch.manual_seed(2)
    again = student(shape=SHAPE)
    assert all(
        torch.equal(getattr(first, field.name), getattr(again, field.name))
        for field in fields(first)
    )
    places = ({"step": 1}, {"micro": 1, "accumulate": 2}, {"rank": 1}, {"seed": 1})
    others = [student(shape=SHAPE, **place) for place in places]
    assert not any(torch.equal(first.noise, other.noise) for other in others)
    assert not any(torch.equal(first.index, other.index) for other in others)


def test_every_batch_of_every_step_has_a_stream_of_its_own():
    places = [(step, micro, rank) for step in range(5) for micro in range(2) for rank in range(3)]
    assert len({generator(*place, accumulate=2).initial_seed() for place in places}) == len(places)


def test_the_timesteps_of_the_paper_are_even():
    shares = torch.bincount(student().index, minlength=4) / MANY[0]
    assert all(within(share, 1 / 4, MANY[0]) for share in shares)


def test_the_released_trainer_takes_the_first_timestep_half_of_the_time():
    shares = torch.bincount(student(OFFICIAL).index, minlength=4) / MANY[0]
    assert all(
        within(share, p, MANY[0])
        for share, p in zip(shares, (1 / 2, 1 / 6, 1 / 6, 1 / 6), strict=True)
    )


def test_the_teachers_timesteps_reach_both_ends():
    t = student(OFFICIAL).t
    assert (t.shape, t.min(), t.max()) == ((4, MANY[0]), 0, 999)
    assert not torch.equal(t[0], t[1])
    known = student(replace(PAPER, teacher_timesteps="student")).t
    assert set(known.unique().tolist()) == {999, 749, 499, 249}


def test_texts_are_dropped_with_their_probability():
    assert not student(replace(PAPER, text_dropout=0.0)).text_dropout.any()
    assert student(replace(PAPER, text_dropout=1.0)).text_dropout.all()
    assert within(student(OFFICIAL).text_dropout.float().mean(), 1 / 2, MANY[0])


def test_the_weight_of_the_prediction_stays_within_its_range():
    assert (student().psr == 1).all()
    psr = student(replace(PAPER, psr=(0.4, 0.8))).psr
    assert 0.4 <= psr.min() < 0.41
    assert 0.79 < psr.max() <= 0.8
    assert psr.mean().item() == pytest.approx(0.6, abs=0.01)


def test_the_teacher_has_noise_of_its_own_unless_it_is_shared():
    own = student(replace(OFFICIAL, teacher_noise="own"), shape=SHAPE)
    shared = student(OFFICIAL, shape=SHAPE)
    assert own.teacher.shape == shared.teacher.shape == (4, *SHAPE)
    assert all(torch.equal(noise, shared.noise) for noise in shared.teacher)
    draws = [own.noise, own.posterior, *own.teacher, *own.chain]
    assert len({field.numpy().tobytes() for field in draws}) == 2 + 4 + 3
    assert all(field.std().item() == pytest.approx(1, abs=0.1) for field in draws)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_samples_are_compared_with_the_teacher_in_their_share(share):
    taught = student(replace(PAPER, teacher_share=share)).taught
    assert taught.dtype == torch.bool
    assert within(taught.float().mean(), share, MANY[0])


def test_the_share_of_the_teacher_changes_no_other_draw():
    whole, some = student(shape=SHAPE), student(replace(PAPER, teacher_share=0.3), shape=SHAPE)
    differing = {
        field.name
        for field in fields(whole)
        if not torch.equal(getattr(whole, field.name), getattr(some, field.name))
    }
    assert differing == {"taught"}
