"""Text comes nearer to its two tones where these explain the photo; else it stays as it was."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.detection import Area
from addsr_cli.engine.drift import follow, measure_drift
from addsr_cli.engine.letters import _windows, sharpen_letters
from addsr_cli.engine.protection import protect
from addsr_cli.imageio import Photo, from_array, resize_photo

SIZES = (44, 56, 64, 72, 80, 52, 90, 60, 68, 48)
WORDS = ("Restaurant", "Bahnhof", "OPEN 24h", "Museum", "Bakery", "platform 7", "Exit", "pharmacy")
WORDS += ("Library", "No parking")
GREY = np.full((160, 512, 3), 120, np.uint8)


def sign(word, size=64, dark=True, background=GREY):
    """A word on a plate, uint8 (160, 512, 3), and its box: left, top, right, bottom."""
    picture = Image.fromarray(background)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox((48, 24), word, font=font)
    colours = [(25, 25, 30), (235, 230, 220)]
    ink, paper = colours if dark else reversed(colours)
    draw.rectangle((left - 20, top - 12, right + 20, bottom + 12), fill=paper)
    draw.text((48, 24), word, font=font, fill=ink)
    return np.asarray(picture), (left, top, right, bottom)


def line_of(box, scale):
    left, top, right, bottom = (side / scale for side in box)
    return Area(kind="text", left=left, top=top, width=right - left, height=bottom - top)


def shrunk(picture, scale):
    """The photo of a sharp picture."""
    return resize_photo(from_array(picture), (picture.shape[1] // scale, picture.shape[0] // scale))


def enlarged(photo, size):
    deep = Photo(samples=photo.samples.astype(np.uint16) * 257)
    return resize_photo(deep, size).samples


def error(samples, sharp, box):
    left, top, right, bottom = box
    part = np.s_[top - 6 : bottom + 6, left - 6 : right + 6]
    return float(((samples[part] / 65535 - sharp[part] / 255) ** 2).mean())


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 4])
def test_letters_of_two_tones_come_nearer_to_the_truth(dark, channels, scale):
    sharp, box = sign("Bahnhof", dark=dark)
    sharp = np.ascontiguousarray(sharp[:, :, :channels])
    photo = shrunk(sharp, scale)
    plain = enlarged(photo, (512, 160))
    letters = plain.copy()

    sharpen_letters(letters, photo, [line_of(box, scale)], 2.0)

    assert error(letters, sharp, box) < 0.5 * error(plain, sharp, box)


def test_letters_can_follow_the_photo_within_its_bound_and_stay_sharp():
    sharp, box = sign("Museum")
    photo = shrunk(sharp, 4)
    plain = enlarged(photo, (512, 160))
    letters = plain.copy()

    sharpen_letters(letters, photo, [line_of(box, 4)], 2.0)
    follow(letters, photo, np.ones((40, 128), np.float32), 2.0, 8)

    assert measure_drift(letters, photo).p999 < 3
    assert error(letters, sharp, box) < 0.5 * error(plain, sharp, box)


def test_what_is_no_text_stays_as_it_was():
    photo = shrunk(data.astronaut(), 4)
    plain = enlarged(photo, (512, 512))
    result = plain.copy()

    areas = [
        Area(kind="text", left=left, top=top, width=40, height=14)
        for left, top in ((40, 20), (10, 80), (80, 60))
    ]
    sharpen_letters(result, photo, areas, 2.0)

    changed = np.abs(result.astype(float) - plain) / 257
    assert np.quantile(changed, 0.999) < 8
    assert changed.mean() < 0.2


def test_noise_that_the_network_removed_does_not_come_back():
    sharp, box = sign("Library")
    clean = shrunk(sharp, 4)
    noise = np.random.default_rng(0).normal(0, 6, clean.samples.shape)
    noisy = from_array(np.clip(np.rint(clean.samples + noise), 0, 255).astype(np.uint8))
    denoised = enlarged(clean, (512, 160))
    letters = denoised.copy()

    sharpen_letters(letters, noisy, [line_of(box, 4)], 6.0, 6.0)

    left, top, right, _ = box
    paper = np.s_[top - 7 : top - 2, left:right]
    assert error(letters, sharp, box) < 0.7 * error(denoised, sharp, box)
    assert letters[paper].std(axis=(0, 1)).max() / 257 < 3


def test_at_the_photos_own_size_nothing_is_done():
    sharp, box = sign("Exit")
    photo = from_array(sharp)
    samples = enlarged(photo, (512, 160))
    before = samples.copy()

    sharpen_letters(samples, photo, [line_of(box, 1)], 2.0)

    assert np.array_equal(samples, before)


@pytest.mark.parametrize(("small", "large"), [(300, 1200), (300, 450), (301, 903), (300, 811)])
def test_windows_begin_where_pixels_of_both_pictures_begin(small, large):
    line = Area(kind="text", left=100.4, top=120.7, width=80, height=20)

    [window] = _windows(line, (small, small), (large, large))

    for part, of_result in zip(window.small, window.large, strict=True):
        assert part.start * large == of_result.start * small
        assert part.stop * large == of_result.stop * small
        assert 0 <= part.start < 117
        assert part.stop <= small


def test_a_long_line_is_cut_into_pieces_that_overlap():
    line = Area(kind="text", left=50, top=50, width=1500, height=20)

    windows = list(_windows(line, (2000, 200), (8000, 800)))

    assert len(windows) == 3
    for first, second in pairwise(windows):
        assert second.small[1].start < first.small[1].stop


@pytest.mark.slow
@pytest.mark.parametrize("model", ["nano", "small"])
def test_ten_rendered_words_have_30_percent_less_error_with_protection(model):
    """The figures of docs/trust.md: ``pytest -m slow -s -k ten_rendered_words``."""
    photos = [data.coffee(), data.astronaut(), data.chelsea()]
    upscaler = Upscaler(model, Machine(device="cpu", precision="fp32"))
    ratios = []
    for number, (word, height) in enumerate(zip(WORDS, SIZES, strict=True)):
        background = cv2.resize(photos[number % 3], (512, 160), interpolation=cv2.INTER_AREA)
        sharp, box = sign(word, height, number % 2 == 0, background)
        photo = shrunk(sharp, 4)
        plain = upscaler.upscale(photo, bit_depth=16).photo.samples
        protected = plain.copy()
        protect(protected, photo, Settings(protect="text"), 8)
        ratios.append(error(protected, sharp, box) / error(plain, sharp, box))
    falls = " ".join(f"{100 * (1 - ratio):.0f}" for ratio in ratios)
    print(f"{model}: {100 * (1 - np.mean(ratios)):.0f} % less error; words: {falls}")
    assert np.mean(ratios) < 0.7
    assert max(ratios) < 1.05
