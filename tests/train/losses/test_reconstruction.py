"""Reconstruction losses, as laws."""

import pytest
import torch

from addsr_cli.perceptual import LPIPS
from addsr_cli.train.discriminators.vgg import VggFeatures
from addsr_cli.train.losses.reconstruction import ReconstructionLosses, charbonnier


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


def test_charbonnier_is_float32_also_within_autocast_and_of_narrow_pictures(pair):
    exact = charbonnier(*pair)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(charbonnier(*pair), exact)
    narrow = [picture.bfloat16() for picture in pair]
    assert torch.equal(charbonnier(*narrow), charbonnier(*(picture.float() for picture in narrow)))


@pytest.mark.parametrize("weights", [{"l1": 0.1, "lpips": 0.0}, {"l1": 2.0}])
def test_losses_with_a_weight_are_distances_to_hr(pair, weights):
    losses = ReconstructionLosses(weights)(*pair)
    assert losses.keys() == {"l1"}
    assert torch.equal(losses["l1"], charbonnier(*pair))


def test_lpips_runs_on_vgg_and_is_never_trained(perceptual_state):
    lpips = LPIPS.load("vgg", weights=perceptual_state)
    picture, hr = torch.rand(2, 2, 3, 40, 48)
    losses = ReconstructionLosses({"l1": 1.0, "lpips": 1.0}, VggFeatures(lpips))(
        picture.requires_grad_(), hr
    )
    assert torch.allclose(losses["lpips"], lpips(picture, hr))
    losses["lpips"].sum().backward()
    assert picture.grad.abs().max() > 0
    assert not any(p.requires_grad or p.grad is not None for p in lpips.parameters())
