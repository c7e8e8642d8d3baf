"""The passes of large factors: which sizes they make, what they are planned for."""

import numpy as np
import pytest

from addsr_cli import Upscaler
from addsr_cli.engine.passes import native_pass_sizes, pass_sizes, planned_passes
from addsr_cli.imageio import Photo, resize_into
from addsr_cli.models.nano.architecture import NANO
from addsr_cli.settings import Machine, Settings


@pytest.mark.parametrize(
    ("target", "sizes"),
    [
        ((400, 200), [(400, 200)]),
        ((150, 75), [(150, 75)]),
        ((100, 50), [(100, 50)]),
        ((50, 25), []),
        ((600, 300), [(400, 200)]),
        ((700, 350), [(400, 200), (700, 350)]),
        ((1600, 800), [(400, 200), (1600, 800)]),
        ((1700, 850), [(400, 200), (1600, 800)]),
    ],
)
def test_passes_enlarge_four_times_and_the_last_one_by_the_rest(target, sizes):
    assert pass_sizes((100, 50), target) == sizes


@pytest.mark.parametrize(
    ("factor", "target", "sizes"),
    [
        (4, (50, 25), []),
        (4, (300, 150), [(300, 150)]),
        (4, (600, 300), [(600, 300)]),
        (4, (800, 400), [(200, 100), (800, 400)]),
        (2, (700, 350), [(175, 88), (350, 175), (700, 350)]),
        (1, (900, 450), [(900, 450)]),
    ],
)
def test_passes_of_one_scale_make_the_smallest_picture_first(factor, target, sizes):
    assert native_pass_sizes((100, 50), target, factor) == sizes


def test_what_is_left_of_a_factor_is_resampled_from_16_bits():
    photo = Photo(samples=np.random.default_rng(1).integers(0, 256, (10, 12, 3), np.uint8))
    nano = Upscaler("nano", Machine(device="cpu", precision="fp32"))
    four_times = nano.upscale(photo, Settings(scale=4, seed=2), bit_depth=16).photo
    expected = np.empty((50, 60, 3), np.uint8)
    resize_into(four_times.samples, expected)
    result = nano.upscale(photo, Settings(scale=5, seed=2)).photo
    assert np.array_equal(result.samples, expected)


def test_a_resampled_pass_is_planned_for_what_it_makes_and_what_that_becomes():
    [(canvas, pictures)] = planned_passes(NANO, (100, 50), (500, 250), 3, 8)
    assert canvas == (400, 200)
    assert pictures.samples == 3 * (2 * 400 * 200 + 500 * 250)
