import numpy as np
import pytest

from addsr_cli.errors import UsageError
from addsr_cli.imageio import fill_transparent, resize, resize_alpha


def random(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_same_size_is_identity():
    pixels = random(9, 7, 3)
    out = resize(pixels, (7, 9))
    np.testing.assert_array_equal(out, pixels)
    assert out is not pixels


@pytest.mark.parametrize("size", [(28, 36), (3, 4), (1, 1), (13, 5)])
def test_a_constant_stays_constant(size):
    out = resize(np.full((9, 7, 2), 0.3, np.float32), size)
    assert out.shape == (size[1], size[0], 2)
    np.testing.assert_allclose(out, 0.3, rtol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (8, 12)])
def test_the_mean_is_kept(size):
    pixels = np.pad(random(16, 24).T, 4, constant_values=0.5)
    assert abs(resize(pixels, size).mean() - pixels.mean()) < 2e-3


def test_a_linear_ramp_stays_linear_inside():
    ramp = np.tile(np.arange(16, dtype=np.float32), (4, 1))
    np.testing.assert_allclose(np.diff(resize(ramp, (64, 4))[0, 12:-12]), 0.25, atol=1e-4)


def test_overshoot_is_kept_for_colour_and_cut_for_alpha():
    step = np.repeat(np.array([[0, 1]], np.float32), 8, axis=1)
    assert resize(step, (64, 4)).max() > 1
    assert resize_alpha(step, (64, 4)).max() == 1


def test_sizes_under_one_pixel_are_refused():
    with pytest.raises(UsageError):
        resize(random(4, 4), (0, 4))


def disc(size=48):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(size / 3 - np.hypot(x, y), 0, 1).astype(np.float32)


def test_visible_pixels_stay_bit_identical_when_holes_are_filled():
    alpha, rgb = disc(), random(48, 48, 3)
    seen = alpha > 4 / 255
    np.testing.assert_array_equal(fill_transparent(rgb, alpha)[seen], rgb[seen])


@pytest.mark.parametrize("backdrop", [0.0, 1.0])
def test_no_fringe_appears_around_an_upscaled_cutout(backdrop):
    alpha, red = disc(), np.array([0.8, 0.2, 0.1], np.float32)
    rgb = np.where(alpha[:, :, None] > 0, red, np.float32([0, 1, 1]))  # garbage under transparency
    colour = resize(fill_transparent(rgb, alpha), (192, 192))
    cover = resize_alpha(alpha, (192, 192))[:, :, None]
    np.testing.assert_allclose(
        colour * cover + backdrop * (1 - cover), red * cover + backdrop * (1 - cover), atol=1e-3
    )


def test_the_fill_continues_the_nearest_colour():
    rgb, alpha = np.zeros((32, 64, 3), np.float32), np.zeros((32, 64), np.float32)
    rgb[:, :8], rgb[:, -8:] = [1, 0, 0], [0, 0, 1]
    alpha[:, :8] = alpha[:, -8:] = 1
    filled = fill_transparent(rgb, alpha)
    assert filled[16, 10, 0] > 0.8
    assert filled[16, -11, 2] > 0.8
    assert filled[:, :, 1].max() == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_uniform_alpha_leaves_the_colour_alone(value):
    rgb = random(5, 6, 3)
    np.testing.assert_array_equal(fill_transparent(rgb, np.full((5, 6), value, np.float32)), rgb)
