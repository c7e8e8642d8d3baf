"""What is random in a step."""

from types import SimpleNamespace

import pytest
import torch

from addsr_cli.models.nano import NanoConfig, build_nano
from addsr_cli.train.draws import draw, noisy_latent

SHAPE = (400, 2, 1, 1)


def drawn(step=0, rank=0, seed=0, share=0.5, shape=SHAPE):
    return draw(SimpleNamespace(seed=seed, first_step_share=share), step, rank, shape)


def test_draws_depend_on_seed_step_and_process_alone():
    torch.manual_seed(1)
    first = drawn()
    torch.manual_seed(2)
    assert torch.equal(first.noise, drawn().noise)
    assert torch.equal(first.index, drawn().index)
    others = [drawn(step=1), drawn(rank=1), drawn(seed=1)]
    assert not any(torch.equal(first.noise, other.noise) for other in others)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_first_timestep_has_its_share_and_the_rest_falls_evenly(share):
    index = torch.cat([drawn(step, share=share).index for step in range(10)])
    counts = torch.bincount(index, minlength=4) / len(index)
    expected = torch.tensor([share, *[(1 - share) / 3] * 3])
    assert (counts - expected).abs().max() < 0.03


def test_noise_weights_and_starts_are_what_they_should_be():
    d = drawn(shape=(4000, 3, 2, 2))
    assert d.noise.std().item() == pytest.approx(1, abs=0.02)
    assert not torch.equal(d.noise, d.earlier)
    assert d.psr.mean().item() == pytest.approx(0.5, abs=0.03)
    assert 0 <= d.psr.min() <= d.psr.max() <= 1
    assert d.from_lr.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_noisy_latent_hides_the_canvas_at_first_and_the_target_later():
    nano = build_nano(NanoConfig(channels=(4,), depths=(1,), embedding=4))
    hr, canvas, noise = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8), torch.randn(3, 48, 2, 2)
    index, from_lr = torch.tensor([0, 0, 2]), torch.tensor([True, False, False])
    z = noisy_latent(nano, hr, canvas, index, noise, from_lr)
    assert torch.equal(z[:1], nano.schedule.add_noise(nano.encode(canvas)[:1], noise[:1], 999))
    assert torch.equal(z[1], noise[1])
    assert torch.equal(z[2:], nano.schedule.add_noise(nano.encode(hr)[2:], noise[2:], 499))
