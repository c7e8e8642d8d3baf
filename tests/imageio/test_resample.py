import numpy as np
import pytest
from imageio_samples import noise
from PIL import Image

from addsr_cli.errors import UsageError
from addsr_cli.imageio import (
    fill_transparent,
    from_array,
    photo,
    resize,
    resize_alpha,
    resize_window,
)


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


def filled(rgb, alpha):
    return fill_transparent(from_array(np.dstack([rgb, alpha]))).rgb


def disc(size=48):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(size / 3 - np.hypot(x, y), 0, 1).astype(np.float32)


def test_visible_pixels_stay_bit_identical_when_holes_are_filled():
    alpha, rgb = disc(), random(48, 48, 3)
    seen = alpha > 4 / 255
    np.testing.assert_array_equal(filled(rgb, alpha)[seen], rgb[seen])


@pytest.mark.parametrize("backdrop", [0.0, 1.0])
def test_no_fringe_appears_around_an_upscaled_cutout(backdrop):
    alpha, red = disc(), np.array([0.8, 0.2, 0.1], np.float32)
    rgb = np.where(alpha[:, :, None] > 0, red, np.float32([0, 1, 1]))  # garbage under transparency
    colour = resize(filled(rgb, alpha), (192, 192))
    cover = resize_alpha(alpha, (192, 192))[:, :, None]
    np.testing.assert_allclose(
        colour * cover + backdrop * (1 - cover), red * cover + backdrop * (1 - cover), atol=1e-3
    )


def test_the_fill_continues_the_nearest_colour():
    rgb, alpha = np.zeros((32, 64, 3), np.float32), np.zeros((32, 64), np.float32)
    rgb[:, :8], rgb[:, -8:] = [1, 0, 0], [0, 0, 1]
    alpha[:, :8] = alpha[:, -8:] = 1
    result = filled(rgb, alpha)
    assert result[16, 10, 0] > 0.8
    assert result[16, -11, 2] > 0.8
    assert result[:, :, 1].max() == 0


@pytest.mark.parametrize(("level", "kept"), [(3, False), (4, True)])
def test_pixels_below_four_levels_of_alpha_have_no_colour_of_their_own(level, kept):
    alpha = np.ones((16, 16), np.float32)
    alpha[:, 8:] = level / 255
    rgb = np.zeros((16, 16, 3), np.float32)
    rgb[:, :8, 0] = rgb[:, 8:, 1] = 1
    assert (filled(rgb, alpha)[:, 8:, 1] == float(kept)).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_picture_without_edges_of_transparency_is_not_copied(alpha):
    whole = from_array(np.dstack([random(5, 6, 3), np.full((5, 6), alpha, np.float32)]))
    assert fill_transparent(whole) is whole


@pytest.mark.parametrize("size", [(28, 36), (23, 31), (5, 7), (17, 4)])
def test_pictures_are_resized_as_pillow_does(size):
    plane = random(19, 14)
    expected = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resize(plane, size), np.asarray(expected), atol=1e-6)


@pytest.mark.parametrize("size", [(140, 190), (143, 201), (61, 190), (30, 41)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_window_equals_its_part_of_the_whole(size, dtype):
    samples = noise(70, 61, 3, dtype=dtype)
    width, height = size
    whole = resize_window(samples, size, slice(0, height), slice(0, width))
    rows, columns = slice(height // 3, height - 5), slice(7, width // 2)
    part = resize_window(samples, size, rows, columns)
    np.testing.assert_allclose(part, whole[:, rows, columns], atol=1e-6)


def test_large_pictures_are_filled_in_bands(monkeypatch):
    samples = noise(64, 48, 4)
    samples[10:50, 5:40, 3] = 0
    whole = fill_transparent(from_array(samples)).colour
    monkeypatch.setattr(photo, "_BAND_PIXELS", 300)
    banded = fill_transparent(from_array(samples)).colour
    assert np.abs(banded.astype(int) - whole).max() <= 1
