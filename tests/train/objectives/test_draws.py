"""The random draws of a training step."""

from dataclasses import fields, replace

import pytest
import torch

from addsr_cli.train.objectives.draws import AFTER_BATCH, draw_student, generator_for
from addsr_cli.train.recipe import OFFICIAL, PAPER

SHAPE = (2, 1, 1)
SAMPLES = 400
MANY = 2000


def student(recipe=PAPER, count=MANY, seed=0):
    generator = torch.Generator().manual_seed(seed)  # one for all is faster, and as random
    return draw_student(recipe, [generator] * count, (1, 1, 1))


def at(positions, seed=0, recipe=PAPER):
    return draw_student(recipe, [generator_for(seed, each) for each in positions], SHAPE)


def slice_batch(draws, chosen):
    """The values of some samples by name."""
    values = {f.name: getattr(draws, f.name) for f in fields(draws)}
    return {n: v[:, chosen] if n in AFTER_BATCH else v[chosen] for n, v in values.items()}


def within(share, expected, count):
    """Whether a share of ``count`` draws lies within three standard deviations of ``expected``."""
    return abs(float(share) - expected) <= 3 * (expected * (1 - expected) / count) ** 0.5


def test_a_sample_draws_the_same_in_every_batch_whatever_else_was_drawn(same):
    torch.manual_seed(1)
    together = at(range(6))
    torch.manual_seed(2)
    for chosen in (slice(0, 1), slice(2, 6), slice(1, 6, 2)):
        alone = at(range(6)[chosen])
        assert same(slice_batch(alone, slice(None)), slice_batch(together, chosen))
    assert not torch.equal(together.noise, at(range(6), seed=1).noise)


def test_every_sample_of_a_run_has_a_stream_of_its_own():
    streams = {generator_for(seed, each).initial_seed() for seed in (0, 1) for each in range(50)}
    assert len(streams) == 100


def test_the_timesteps_of_the_paper_are_even():
    shares = torch.bincount(student().index, minlength=4) / MANY
    assert all(within(share, 1 / 4, MANY) for share in shares)


def test_the_released_trainer_takes_the_first_timestep_half_of_the_time():
    shares = torch.bincount(student(OFFICIAL).index, minlength=4) / MANY
    assert all(
        within(share, p, MANY)
        for share, p in zip(shares, (1 / 2, 1 / 6, 1 / 6, 1 / 6), strict=True)
    )


def test_the_teachers_timesteps_reach_both_ends():
    t = student(OFFICIAL).t
    assert (t.shape, t.min(), t.max()) == ((4, MANY), 0, 999)
    assert not torch.equal(t[0], t[1])
    known = student(replace(PAPER, teacher_timesteps="student")).t
    assert set(known.unique().tolist()) == {999, 749, 499, 249}


def test_texts_are_dropped_with_their_probability():
    assert not student(replace(PAPER, text_dropout=0.0)).text_dropout.any()
    assert student(replace(PAPER, text_dropout=1.0)).text_dropout.all()
    assert within(student(OFFICIAL).text_dropout.float().mean(), 1 / 2, MANY)


def test_the_weight_of_the_prediction_stays_within_its_range():
    assert (student().psr == 1).all()
    psr = student(replace(PAPER, psr=(0.4, 0.8))).psr
    assert 0.4 <= psr.min() < 0.41
    assert 0.79 < psr.max() <= 0.8
    assert psr.mean().item() == pytest.approx(0.6, abs=0.01)


def test_the_teacher_has_noise_of_its_own_unless_it_is_shared():
    own = at(range(SAMPLES), recipe=replace(OFFICIAL, teacher_noise="own"))
    shared = at(range(SAMPLES), recipe=OFFICIAL)
    assert own.teacher.shape == shared.teacher.shape == (4, SAMPLES, *SHAPE)
    assert all(torch.equal(noise, shared.noise) for noise in shared.teacher)
    draws = [own.noise, own.posterior, *own.teacher, *own.chain]
    assert len({field.numpy().tobytes() for field in draws}) == 2 + 4 + 3
    assert all(field.std().item() == pytest.approx(1, abs=0.1) for field in draws)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_samples_are_compared_with_the_teacher_in_their_share(share):
    taught = student(replace(PAPER, teacher_share=share)).taught
    assert taught.dtype == torch.bool
    assert within(taught.float().mean(), share, MANY)


def test_the_share_of_the_teacher_changes_no_other_draw():
    whole, some = at(range(SAMPLES)), at(range(SAMPLES), recipe=replace(PAPER, teacher_share=0.3))
    differing = {
        field.name
        for field in fields(whole)
        if not torch.equal(getattr(whole, field.name), getattr(some, field.name))
    }
    assert differing == {"taught"}
