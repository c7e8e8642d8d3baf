"""Noise depends on seed, draw and place, not on the window that is drawn."""

import pytest
import torch

from addsr_cli.noise import placed_noise, stacked_noise


@pytest.mark.parametrize("place", [(0, 0), (5, 40), (64, 32), (31, 33)])
def test_a_window_draws_its_part_of_the_whole(place):
    top, left = place
    whole = placed_noise(3)
    window = placed_noise(3, top, left)
    for _ in range(2):
        expected = whole((1, 4, 100, 90))[..., top : top + 20, left : left + 37]
        assert torch.equal(window((1, 4, 20, 37)), expected)


def test_it_is_standard_normal_and_new_at_every_draw():
    noise = placed_noise(0)
    first, second = noise((1, 4, 128, 128)), noise((1, 4, 128, 128))
    assert abs(float(first.mean())) < 0.02
    assert abs(float(first.std()) - 1) < 0.02
    assert abs(float((first * second).mean())) < 0.02


def test_blocks_channels_and_seeds_differ():
    first = placed_noise(0)((1, 2, 64, 64))
    assert not torch.equal(first[..., :32, :32], first[..., 32:, :32])
    assert not torch.equal(first[:, 0], first[:, 1])
    assert not torch.equal(first, placed_noise(1)((1, 2, 64, 64)))


@pytest.mark.parametrize("place", [(0, 0), (5, 40)])
def test_a_sample_draws_the_same_in_a_batch_as_alone(place):
    both = stacked_noise((5, 6), *place)((2, 4, 8, 8))
    assert torch.equal(both[:1], placed_noise(5, *place)((1, 4, 8, 8)))
    assert torch.equal(both[1:], placed_noise(6, *place)((1, 4, 8, 8)))
