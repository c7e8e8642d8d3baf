"""Distances, as laws."""

import torch

from addsr_cli.train.losses import charbonnier


def test_charbonnier_is_never_less_than_the_distance_and_hardly_more(pair):
    distance = (pair[0] - pair[1]).abs().flatten(1).mean(1)
    assert (charbonnier(*pair) >= distance).all()
    assert (charbonnier(*pair) <= distance + 1e-3).all()


def test_charbonnier_has_a_gradient_where_the_pictures_agree():
    a = torch.zeros(1, 3, 8, 8, requires_grad=True)
    charbonnier(a, torch.zeros(1, 3, 8, 8)).sum().backward()
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_there_is_one_value_per_sample_and_samples_do_not_mix(pair):
    alone = torch.cat([charbonnier(pair[0][k : k + 1], pair[1][k : k + 1]) for k in range(3)])
    assert torch.allclose(charbonnier(*pair), alone, atol=1e-6)
