"""Faces and lines of text are found where they are, and the mask of them is smooth."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from addsr_cli.detection import Area, detect, mask_of
from addsr_cli.imageio import from_array


@pytest.fixture(scope="module")
def sign():
    """A dark word on a bright board in a coloured photo, and its box."""
    picture = Image.fromarray(data.astronaut()[256:, :256])
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(28)
    draw.rectangle((40, 150, 216, 200), fill=(235, 230, 220))
    draw.text((52, 156), "Bahnhof", font=font, fill=(25, 25, 30))
    return np.asarray(picture), draw.textbbox((52, 156), "Bahnhof", font=font)


def covered(area: Area, box) -> float:
    """Return the share of the box (left, top, right, bottom) that an area covers."""
    left, top, right, bottom = box
    width = min(area.left + area.width, right) - max(area.left, left)
    height = min(area.top + area.height, bottom) - max(area.top, top)
    return max(0, width) * max(0, height) / ((right - left) * (bottom - top))


def test_one_face_is_found_where_it_is():
    [face] = detect(from_array(data.astronaut()), ["faces"])

    assert abs(face.left + face.width / 2 - 222) < 15
    assert abs(face.top + face.height / 2 - 115) < 20
    assert 60 < face.width < 150


def test_a_face_is_found_in_grey_16_bits_at_half_the_size():
    gray = data.astronaut()[::2, ::2].mean(axis=2).astype(np.uint16) * 257

    [face] = detect(from_array(gray), ["faces"])

    assert abs(face.left + face.width / 2 - 111) < 10


def test_a_picture_smaller_than_a_face_has_none():
    assert detect(from_array(data.astronaut()[:3, :5])) == []


def test_a_word_is_found_where_it_is(sign):
    picture, box = sign

    areas = detect(from_array(picture), ["text"])

    assert max(covered(area, box) for area in areas) > 0.8


@pytest.mark.parametrize("name", ["grass", "gravel", "coffee"])
def test_texture_is_hardly_taken_for_text(name):
    picture = getattr(data, name)()

    areas = detect(from_array(picture), ["text"])

    found = sum(area.width * area.height for area in areas)
    assert found < 0.02 * picture.shape[0] * picture.shape[1]


def test_the_mask_is_1_within_0_far_away_and_smooth_between():
    area = Area(kind="text", left=40, top=30, width=60, height=20)

    mask = mask_of([area], (200, 100))

    assert mask.shape == (100, 200)
    assert mask.dtype == np.float32
    assert (mask[30:50, 40:100] == 1).all()
    assert not mask[:20].any()
    assert not mask[:, 120:].any()
    assert np.abs(np.diff(mask, axis=0)).max() < 0.5


def test_the_mask_of_a_large_photo_is_small():
    area = Area(kind="faces", left=1000, top=500, width=800, height=800)

    mask = mask_of([area], (8000, 4000))

    assert mask.shape == (512, 1024)
    assert mask[115, 179] == 1
