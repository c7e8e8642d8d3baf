"""Structural similarity: against scikit-image, and as laws."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from addsr_cli.similarity import log_spectrum, ssim


def test_ssim_is_that_of_scikit_image(pair):
    pictures = [x.double().permute(0, 2, 3, 1).numpy() for x in pair]
    theirs = [
        structural_similarity(a, b, channel_axis=-1, data_range=1)
        for a, b in zip(*pictures, strict=True)
    ]
    assert np.abs(ssim(*pair).numpy() - theirs).max() < 1e-6


def test_a_perfect_pair_has_similarity_one(pair):
    assert torch.allclose(ssim(pair[0], pair[0]), torch.ones(3), atol=1e-6)


def test_ssim_does_not_care_which_is_which(pair):
    assert torch.allclose(ssim(*pair), ssim(*reversed(pair)), atol=1e-6)


def test_flat_pictures_have_a_finite_similarity_and_gradient():
    a = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    value = ssim(a, torch.full((1, 3, 8, 8), 0.5))
    value.sum().backward()
    assert value.item() == pytest.approx(1, abs=1e-4)
    assert a.grad.isfinite().all()


def test_there_is_one_value_per_sample_and_samples_do_not_mix(pair):
    alone = torch.cat([ssim(pair[0][k : k + 1], pair[1][k : k + 1]) for k in range(3)])
    assert torch.allclose(ssim(*pair), alone, atol=1e-6)


@pytest.mark.parametrize("measure", [ssim, lambda a, b: log_spectrum(torch.cat([a, b]))])
def test_measures_are_float32_also_within_autocast_and_of_narrow_pictures(pair, measure):
    exact = measure(*pair)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(measure(*pair), exact)
    narrow = [picture.bfloat16() for picture in pair]
    assert torch.equal(measure(*narrow), measure(*(picture.float() for picture in narrow)))
