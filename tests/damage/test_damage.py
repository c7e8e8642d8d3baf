"""Damage that was done to photos on purpose is estimated as it was."""

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from addsr_cli import imageio
from addsr_cli.damage import Damage, estimate
from addsr_cli.imageio import from_array

SIDE = 256


def shrunk(picture):
    """Return the middle of a photo, made smaller so that its own damage does not count."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[-SIDE:, -SIDE:])


PHOTOS = {
    name: shrunk(getattr(data, name)()) for name in ("astronaut", "coffee", "rocket", "chelsea")
}


@pytest.fixture(params=PHOTOS)
def photo(request):
    return PHOTOS[request.param]


def damage_of(pixels) -> Damage:
    return estimate(from_array(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)))


def compressed(pixels, quality) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.mark.parametrize("deviation", [4, 8, 15])
def test_noise_is_found_within_a_fifth(photo, deviation):
    noise = np.random.default_rng(deviation).normal(0, deviation, photo.shape)

    expected = math.hypot(deviation, damage_of(photo).noise)  # photos have some of their own
    assert damage_of(photo + noise).noise == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("level", [0, 255])
def test_noise_is_found_beside_areas_where_it_is_clipped(level):
    pixels = PHOTOS["astronaut"].astype(float)
    pixels[: SIDE // 2] = level
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)

    assert damage_of(pixels + noise).noise == pytest.approx(8, rel=0.2)


def test_noise_is_found_in_the_part_below_the_first_square():
    pixels = PHOTOS["astronaut"][:200].astype(float)
    pixels[:128] = 255
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)

    assert damage_of(pixels + noise).noise == pytest.approx(8, rel=0.2)


def test_a_clean_photo_has_little_damage(photo):
    damage = damage_of(photo)

    assert damage.noise < 2.5
    assert damage.jpeg_quality is None
    assert damage.blur is not None
    assert damage.blur < 0.4


@pytest.mark.parametrize("quality", [10, 35, 60, 80, 95])
def test_the_quality_of_a_jpeg_file_is_read_from_its_tables(photo, quality):
    read = imageio.read(compressed(photo, quality))

    assert estimate(read).jpeg_quality == quality


@pytest.mark.parametrize("quality", [20, 45, 70, 85])
def test_the_quality_of_a_jpeg_that_was_saved_as_png_is_found_within_10(photo, quality):
    pixels = np.asarray(Image.open(io.BytesIO(compressed(photo, quality))))

    found = damage_of(pixels).jpeg_quality
    assert found is not None
    assert abs(found - quality) <= 10


def test_the_grid_of_a_part_of_a_jpeg_is_found(photo):
    pixels = np.asarray(Image.open(io.BytesIO(compressed(photo, 40))))

    found = damage_of(pixels[3:, 5:]).jpeg_quality
    assert found is not None
    assert abs(found - 40) <= 10


@pytest.mark.parametrize("deviation", [1.2, 2, 3])
def test_blur_is_found_within_a_third(photo, deviation):
    blurred = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), deviation)

    assert damage_of(blurred).blur == pytest.approx(deviation, rel=1 / 3)


def test_grey_16_bits_and_alpha_make_no_difference():
    pixels = PHOTOS["coffee"][:, :, 1:2]
    deep = np.concatenate([pixels, pixels], axis=2).astype(np.uint16) * 257

    assert estimate(from_array(deep)).record() == estimate(from_array(pixels)).record()


@pytest.mark.parametrize("size", [(1, 1), (9, 5), (40, 7), (16, 300)])
def test_tiny_and_flat_pictures_have_no_damage(size):
    flat = np.full((*size, 3), 128, np.uint8)

    assert estimate(from_array(flat)) == Damage(noise=0, jpeg_quality=None, blur=None)


def test_a_resized_photo_is_no_longer_what_its_tables_say():
    read = imageio.read(compressed(PHOTOS["coffee"], 30))

    assert imageio.resize_photo(read, (100, 100)).jpeg_table is None
    assert imageio.crop(read, (0, 0, 64, 64)).jpeg_table == read.jpeg_table


def test_a_large_photo_is_looked_at_in_parts_of_the_same_answer():
    noisy = PHOTOS["coffee"] + np.random.default_rng(0).normal(0, 8, PHOTOS["coffee"].shape)
    small = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    large = np.tile(small, (3, 5, 1))

    assert estimate(from_array(large)).noise == pytest.approx(damage_of(noisy).noise, rel=0.1)
