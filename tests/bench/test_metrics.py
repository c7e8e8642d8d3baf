import math

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from addsr_cli.bench import metrics
from addsr_cli.bench.metrics import BASIC_METRICS, installed, luma, scores, without_border

NAMED = {metric.name: metric for metric in BASIC_METRICS}
PERFECT = {
    "psnr": math.inf,
    "ssim": 1,
    "psnr_y": math.inf,
    "ssim_y": 1,
    "ssimulacra2": 100,
    "grad": 1,
    "spec": 0,
}


@pytest.mark.parametrize("name", PERFECT)
def test_a_perfect_pair_has_perfect_scores(name, clean):
    assert NAMED[name].measure(clean, clean.copy()) == pytest.approx(PERFECT[name], abs=1e-6)


@pytest.mark.parametrize("name", PERFECT)
def test_a_perfect_pair_is_better_than_a_noisy_one(name, clean, noisy):
    if name == "grad":  # noise is steep
        assert NAMED[name].measure(clean, noisy) > 1
        return
    perfect, other = (NAMED[name].measure(clean, picture) for picture in (clean, noisy))
    assert (perfect > other) is NAMED[name].higher_is_better


def test_psnr_and_ssim_of_rgb_are_those_of_scikit_image(clean, noisy):
    theirs = peak_signal_noise_ratio(clean, noisy)
    assert NAMED["psnr"].measure(clean, noisy) == pytest.approx(theirs, abs=1e-6)
    theirs = structural_similarity(clean / 255, noisy / 255, channel_axis=-1, data_range=1)
    assert NAMED["ssim"].measure(clean, noisy) == pytest.approx(theirs, abs=1e-6)


def test_psnr_and_ssim_of_luma_are_those_of_scikit_image(clean, noisy):
    a, b = (rgb2ycbcr(picture)[..., 0] for picture in (clean, noisy))
    theirs = peak_signal_noise_ratio(a, b, data_range=255)
    assert NAMED["psnr_y"].measure(clean, noisy) == pytest.approx(theirs, abs=1e-6)
    theirs = structural_similarity(a, b, data_range=255)
    assert NAMED["ssim_y"].measure(clean, noisy) == pytest.approx(theirs, abs=1e-6)


def test_luma_goes_from_16_to_235():
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert luma(ends) * 255 == pytest.approx(np.array([[16, 235]]))


def test_a_blurred_picture_is_less_steep_and_has_another_spectrum(clean):
    blurred = (clean.astype(float) + np.roll(clean, 1, 0) + np.roll(clean, 1, 1)) / 3
    blurred = blurred.astype(np.uint8)
    assert NAMED["grad"].measure(clean, blurred) < 0.9
    assert NAMED["spec"].measure(clean, blurred) > 0.1


def test_the_border_is_not_measured(clean):
    spoiled = clean.copy()
    spoiled[0], spoiled[:, -1] = 0, 255
    values = scores([NAMED["psnr"]], clean, spoiled, border=1)
    assert values["psnr"] == math.inf
    assert without_border(clean, 0) is clean


def test_without_a_reference_only_blind_metrics_are_measured(clean):
    assert list(scores(BASIC_METRICS, None, np.tile(clean, (3, 3, 1)))) == ["niqe"]


def test_a_package_that_is_missing_costs_its_metric_and_a_line(monkeypatch):
    monkeypatch.setattr(metrics, "find_spec", lambda _: None)
    available, line = installed()
    assert "ssimulacra2" not in [metric.name for metric in available]
    assert "pip install ssimulacra2" in line
