import numpy as np
import pytest

from addsr_cli.imageio.back_projection import (
    least_change,
    rounding_gain,
    rows_needed,
    shrink_rows,
)
from addsr_cli.imageio.resample import resize


def noise(height, width, channels=3):
    return np.random.default_rng(0).standard_normal((channels, height, width)).astype(np.float32)


def shrunk(planes, size):
    return resize(np.ascontiguousarray(planes.transpose(1, 2, 0)), size).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("small", "large"),
    [((24, 30), (96, 120)), ((24, 30), (60, 75)), ((70, 90), (77, 99)), ((9, 5), (144, 80))],
    ids=["4", "2.5", "1.1", "16"],
)
def test_the_least_change_shrinks_to_what_was_asked_for(small, large):
    change = noise(*small)
    found = least_change(change, small[::-1], large[::-1], slice(0, large[0]))
    np.testing.assert_allclose(shrunk(found, small[::-1]), change, atol=1e-4)


def test_it_has_the_least_energy_of_all_that_do():
    change = noise(12, 12, 1)
    found = least_change(change, (12, 12), (48, 48), slice(0, 48))
    other = noise(48, 48, 1)
    invisible = other - least_change(shrunk(other, (12, 12)), (12, 12), (48, 48), slice(0, 48))
    assert abs((found * invisible).sum()) < 1e-3 * np.abs(found * invisible).sum()


def test_a_window_equals_its_part_of_the_whole():
    change = noise(80, 20)
    whole = least_change(change, (20, 80), (80, 320), slice(0, 320))
    rows = slice(130, 180)
    needed = rows_needed(320, 80, rows)
    window = least_change(change[:, needed], (20, 80), (80, 320), rows, needed.start)
    np.testing.assert_allclose(window, whole[:, rows], atol=1e-5)


def test_at_the_same_size_a_change_is_itself():
    change = noise(7, 9)
    assert np.array_equal(least_change(change, (9, 7), (9, 7), slice(0, 7)), change)


def test_shrunk_rows_are_those_of_resize_of_what_an_8_bit_file_holds():
    samples = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    held = np.rint(samples / 257).astype(np.float32) / 255
    expected = resize(held, (16, 12)).transpose(2, 0, 1)[:, 3:9]
    np.testing.assert_allclose(shrink_rows(samples, (16, 12), slice(3, 9), 8), expected, atol=1e-5)


def test_the_gain_is_the_deviation_that_shrunk_noise_keeps():
    deviation = shrunk(noise(400, 400, 1), (100, 100)).std()
    assert rounding_gain((400, 400), (100, 100)) == pytest.approx(deviation, rel=0.05)
