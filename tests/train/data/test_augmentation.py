"""Augmentation: random scale, defocus and lettering."""

import numpy as np
import pytest
from skimage import data

from addsr_cli.train.data import augmentation
from addsr_cli.train.data.augmentation import crop, defocus, lettering, plain_crop


@pytest.fixture(scope="module")
def photo():
    return data.chelsea()


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(augmentation, "DEFOCUS_PROBABILITY", 1)
    monkeypatch.setattr(augmentation, "DOWNSCALE_PROBABILITY", 1)


def detail(image):
    return float(np.abs(np.diff(image, axis=1)).mean())


def rng(seed=0):
    return np.random.default_rng(seed)


def test_out_of_focus_pictures_are_smoother_and_stay_in_range(photo, always):
    sharp = photo[:160, :160].astype(np.float32) / 255
    for seed in range(20):
        soft = defocus(sharp, rng(seed))
        assert (soft.shape, soft.dtype) == (sharp.shape, np.float32)
        assert 0 <= soft.min() <= soft.max() <= 1
        assert detail(soft) < detail(sharp)


def test_some_pictures_are_blurred_as_a_whole_and_some_in_part(photo, always):
    sharp = photo[:160, :160].astype(np.float32) / 255
    untouched = [
        float((np.abs(defocus(sharp, rng(seed)) - sharp).max(axis=2) < 0.01).mean())
        for seed in range(30)
    ]
    assert min(untouched) < 0.3
    assert max(untouched) > 0.5


def test_most_pictures_stay_sharp(photo):
    sharp = photo[:64, :64].astype(np.float32) / 255
    same = [defocus(sharp, rng(seed)) is sharp for seed in range(300)]
    assert abs(np.mean(same) - (1 - augmentation.DEFOCUS_PROBABILITY)) < 0.1


def test_a_crop_has_the_requested_size_and_range_at_any_scale(photo, always):
    for seed in range(20):
        image = crop(photo, 96, rng(seed))
        assert (image.shape, image.dtype) == ((96, 96, 3), np.float32)
        assert 0 <= image.min() <= image.max() <= 1


def test_a_photo_that_is_hardly_larger_is_scaled_less(photo, always):
    assert crop(photo[:70, :80], 64, rng()).shape == (64, 64, 3)
    assert crop(photo[:64, :64], 64, rng()).shape == (64, 64, 3)


def test_crops_from_further_away_show_more(photo, monkeypatch):
    flat = np.zeros((300, 300, 3), np.uint8)
    flat[::2] = 255  # stripes that only an untouched crop keeps
    monkeypatch.setattr(augmentation, "DOWNSCALE_PROBABILITY", 0)
    near = crop(flat, 96, rng(3))
    monkeypatch.setattr(augmentation, "DOWNSCALE_PROBABILITY", 1)
    far = crop(flat, 96, rng(3))
    assert near.std() > far.std()


@pytest.mark.parametrize(("cut", "orientations"), [(crop, 8), (plain_crop, 2)])
def test_crops_are_turned_and_flipped_in_every_way(photo, monkeypatch, cut, orientations):
    monkeypatch.setattr(augmentation, "DOWNSCALE_PROBABILITY", 0)
    whole = photo[:16, :16]  # the only crop of this size
    assert len({cut(whole, 16, rng(seed)).tobytes() for seed in range(80)}) == orientations


def test_the_draws_decide_alone(photo):
    assert np.array_equal(crop(photo, 64, rng(5)), crop(photo, 64, rng(5)))


@pytest.fixture(params=["fonts of the system", "none"])
def fonts(request, monkeypatch):
    """The fonts of this machine, or only the one that comes with Pillow."""
    if request.param == "none":
        monkeypatch.setattr(augmentation, "_font_paths", tuple)


def test_letters_stand_out_on_paper_or_on_the_picture(photo, fonts):
    image = photo[100:196, 100:196].astype(np.float32) / 255
    shares = []
    for seed in range(12):
        before = image.copy()
        written = lettering(image, rng(seed))
        assert np.array_equal(image, before)
        assert (written.shape, written.dtype) == (image.shape, np.float32)
        assert 0 <= written.min() <= written.max() <= 1
        assert written.max() - written.min() > 0.2
        shares.append(float((np.abs(written - image).max(axis=2) < 0.51 / 255).mean()))
    assert max(shares) > 0.3  # much of the picture remains
    assert min(shares) < 0.05  # it was replaced by paper


def test_the_draws_decide_the_lettering(photo, fonts):
    image = photo[:64, :64].astype(np.float32) / 255
    assert np.array_equal(lettering(image, rng(3)), lettering(image, rng(3)))
    assert len({lettering(image, rng(seed)).tobytes() for seed in range(5)}) == 5
