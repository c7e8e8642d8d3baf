"""The bundled models on unseen photographs: the claims of their model cards."""

from functools import cache

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.bench import metrics, peers
from addsr_cli.bench.dataset import degraded

HIDDEN, FAINT = 1 / 255, 0.02  # what hides a grid; the share of detail below which its power counts
PHOTOS = {
    "astronaut": data.astronaut()[0:256, 96:352],
    "chelsea": data.chelsea()[22:278, 100:356],
    "coffee": data.coffee()[100:356, 120:376],
    "rocket": data.rocket()[100:356, 190:446],
}


@pytest.fixture(scope="module", params=["nano", "small"])
def enlarge(request):
    """Upscale an input of one of the photos, uint8; every result is computed once."""
    upscaler = Upscaler(request.param, Machine(device="cpu", precision="fp32"))

    @cache
    def run(name, damage):
        small = degraded(PHOTOS[name], damage, 0, name)
        return np.asarray(upscaler.upscale(small, Settings(seed=0)).photo.to_pil())

    return run


def mean(score, pictures):
    return np.mean([score(PHOTOS[name], picture) for name, picture in pictures.items()])


def grids(hr, picture):
    """How much fine detail repeats every 16 or 8 pixels, beyond that of the original.

    Detail is averaged over the 4x4 periods of every window: chance cancels, a pattern stays.
    """
    of_hr, of_picture = (_fine(excess_power) for excess_power in (hr, picture))
    excess = [
        torch.relu(_repeated(of_picture, n) - _repeated(of_hr, n).clamp(min=0)) for n in (16, 8)
    ]
    return sum(
        float((excess_power / torch.sqrt(excess_power + FAINT)).mean()) for excess_power in excess
    )


def _fine(picture):
    grey = torch.from_numpy(picture / 255).float().mean(2)[None, None]
    return grey - avg_pool2d(grey, 5, stride=1, padding=2, count_include_pad=False)


def _repeated(fine, period, times=4):
    def over_periods(each):
        return avg_pool2d(pixel_unshuffle(each, period), times, stride=times // 2)

    mean, power = over_periods(fine).square().mean(1), over_periods(fine.square()).mean(1)
    pattern = (times**2 * mean - power) / (times**2 - 1)  # products of different periods only
    return pattern / (power + HIDDEN**2)


def plain(damage):
    """The bicubic row of ``addsr bench``."""
    run = next(peers.interpolation()).run
    return {
        name: run(None, degraded(hr, damage, 0, name), (256, 256)).picture
        for name, hr in PHOTOS.items()
    }


RARER = ("camera", "sensor", "noise=15", "blur=2,jpeg=50")
DAMAGES = ["bicubic", "blind", *(pytest.param(name, marks=pytest.mark.slow) for name in RARER)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_the_damage_it_is_sharper_than_bicubic_and_about_as_true(enlarge, damage):
    results, bicubic = {name: enlarge(name, damage) for name in PHOTOS}, plain(damage)
    assert mean(metrics.spectrum, results) < mean(metrics.spectrum, bicubic) - 1
    assert mean(metrics.psnr, results) > mean(metrics.psnr, bicubic) - 0.5
    assert mean(metrics.ssim_rgb, results) > mean(metrics.ssim_rgb, bicubic) - 0.02


@pytest.mark.parametrize("damage", ["bicubic", "blind"])
def test_it_draws_no_grids(enlarge, damage):
    # small reaches 0.05; nano leaves a faint weave in blurred, noisy areas, as its card says
    assert mean(grids, {name: enlarge(name, damage) for name in PHOTOS}) < 0.15
