"""The bundled model on unseen photographs: the claims of its model card."""

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


@pytest.fixture(scope="module")
def enlarge():
    """Upscale an input of one of the photos, uint8; every result is computed once."""
    upscaler, upscaled = Upscaler("nano", Machine(device="cpu", precision="fp32")), {}

    def run(name, damage, **settings):
        key = (name, damage, *settings.items())
        if key not in upscaled:
            small = degraded(PHOTOS[name], damage, 0, name)
            upscaled[key] = np.asarray(
                upscaler.upscale(small, Settings(seed=0, **settings)).photo.to_pil()
            )
        return upscaled[key]

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


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_the_damage_it_is_nearer_to_the_original_than_bicubic(enlarge, damage, steps):
    results, bicubic = {name: enlarge(name, damage, steps=steps) for name in PHOTOS}, plain(damage)
    assert mean(metrics.psnr, results) > mean(metrics.psnr, bicubic) + 0.2
    assert mean(metrics.ssim_rgb, results) > mean(metrics.ssim_rgb, bicubic) + 0.01


@pytest.mark.parametrize("damage", ["bicubic", "blind"])
def test_four_steps_are_sharper_than_one_and_need_psr_for_it(enlarge, damage):
    one, four, without = (
        {name: enlarge(name, damage, **settings) for name in PHOTOS}
        for settings in ({"steps": 1}, {"steps": 4}, {"steps": 4, "psr": 0.0})
    )
    assert mean(metrics.spectrum, four) < mean(metrics.spectrum, one) - 0.5
    assert mean(metrics.gradient, four) > mean(metrics.gradient, one)
    assert mean(metrics.spectrum, four) < mean(metrics.spectrum, without)


@pytest.mark.parametrize("damage", ["bicubic", "blind"])
def test_it_draws_no_grids(enlarge, damage):
    assert mean(grids, {name: enlarge(name, damage, steps=4) for name in PHOTOS}) < 0.1
