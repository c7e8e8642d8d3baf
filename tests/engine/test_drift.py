import numpy as np
import pytest

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.engine import drift as module
from addsr_cli.engine.drift import hold, measure_drift, worst_drift
from addsr_cli.imageio import Photo, resize_photo


def picture(height=40, width=52, channels=3, seed=0):
    """Smooth pixels away from black and white with some noise, uint8 (height, width, channels)."""
    draws = np.random.default_rng(seed)
    y, x, c = np.mgrid[:height, :width, :channels]
    waves = 128 + 50 * np.sin(x / (4 + c) + seed) * np.cos(y / (5 + c))
    return np.rint(waves + draws.normal(0, 3, waves.shape)).astype(np.uint8)


def estranged(photo, scale, amplitude=12.0):
    """The photo enlarged, with an invented ripple: uint16 samples."""
    size = (round(photo.width * scale), round(photo.height * scale))
    large = resize_photo(photo, size).samples.astype(np.float64) / 255
    y, x = np.mgrid[: size[1], : size[0]]
    ripple = amplitude / 255 * np.sin(x / (2 * scale) + 1) * np.sin(y / (3 * scale))
    return np.rint(np.clip(large + ripple[:, :, None], 0, 1) * 65535).astype(np.uint16)


@pytest.mark.parametrize("scale", [1, 1.3, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_result_is_held_within_its_bound(scale, channels):
    photo = Photo(samples=picture(channels=channels))
    samples = estranged(photo, scale)
    before = measure_drift(samples, photo)
    after = hold(samples, photo, 2, 8)
    assert before.p999 > 4
    assert after.within_bound
    assert after.p999 <= 2
    written = Photo(samples=samples).to_array(8).reshape(samples.shape)
    assert measure_drift(written, photo).p999 == pytest.approx(after.p999, abs=0.02)


def test_what_is_within_its_bound_is_not_touched():
    photo = Photo(samples=picture())
    samples = estranged(photo, 4, amplitude=1)
    before = samples.copy()
    assert hold(samples, photo, 8, 8).within_bound
    assert np.array_equal(samples, before)


def test_only_the_neighbourhood_of_a_contradiction_changes():
    photo = Photo(samples=picture(60, 60))
    samples = resize_photo(Photo(samples=photo.samples.astype(np.uint16) * 257), (240, 240)).samples
    samples[100:120, 100:120] //= 2
    before = samples.copy()
    bound = 12  # an enlarged and shrunk photo drifts a little everywhere
    hold(samples, photo, bound, 16)
    changed = np.abs(samples.astype(int) - before).max(axis=2) > 65535 / 255 / 4
    rows, columns = np.nonzero(changed)
    assert 40 < rows.min() < rows.max() < 180
    assert 40 < columns.min() < columns.max() < 180
    assert measure_drift(before, photo).p999 > bound >= measure_drift(samples, photo).p999


def test_bands_of_rows_do_not_show(monkeypatch):
    photo = Photo(samples=picture(150, 30))
    whole, banded = estranged(photo, 2), estranged(photo, 2)
    hold(whole, photo, 1, 16)
    monkeypatch.setattr(module, "_BAND_PIXELS", 1)
    hold(banded, photo, 1, 16)
    assert np.abs(whole.astype(int) - banded).max() <= 2  # of 65535


def test_a_bound_that_no_picture_meets_is_told():
    photo = Photo(samples=np.indices((24, 24)).sum(axis=0, dtype=np.uint8)[..., None] % 2 * 255)
    samples = np.full((96, 96, 1), 32768, np.uint16)
    after = hold(samples, photo, 2, 8)
    assert not after.within_bound
    assert after.p999 > 2


def test_figures_are_those_of_the_definition():
    photo = Photo(samples=picture())
    samples = np.clip(photo.samples.astype(int) + 3, 0, 255).astype(np.uint8)
    samples[0, 0] += 30
    found = measure_drift(samples, photo)
    drift = np.abs(samples.astype(float) - photo.samples)
    assert found.mean == pytest.approx(drift.mean())
    assert found.p999 == pytest.approx(np.quantile(drift, 0.999, method="inverted_cdf"), abs=1 / 64)
    assert found.largest == pytest.approx(33)
    assert worst_drift([None, found]) == found


@pytest.mark.parametrize("scale", [1, 2.5, 4])
def test_every_plan_of_tiles_gives_the_same_held_picture(scale):
    photo = Photo(samples=picture(40, 52))
    settings = Settings(steps=1, scale=scale, max_drift=1)
    machine = {"precision": "fp32", "device": "cpu"}
    whole = Upscaler("nano", Machine(**machine)).upscale(photo, settings)
    tiled = Upscaler("nano", Machine(tile=128, **machine)).upscale(photo, settings)
    assert whole.photo.samples.dtype == np.uint8
    assert np.abs(whole.photo.samples.astype(int) - tiled.photo.samples).max() <= 1
    assert measure_drift(tiled.photo.samples, photo).p999 <= 1
    assert tiled.drift.within_bound


def test_alpha_stays_and_a_batch_is_held_as_single_photos_are():
    photos = [Photo(samples=picture(24, 24, 4, seed)) for seed in (1, 2)]
    settings = Settings(steps=1, scale=2, max_drift=1)
    upscaler = Upscaler("nano", Machine(precision="fp32", device="cpu"))
    batch = upscaler.upscale_batch(photos, [settings, settings])
    single = upscaler.upscale(photos[1], settings)
    assert np.abs(batch[1].photo.samples.astype(int) - single.photo.samples).max() <= 1
    assert batch[1].photo.channels == 4
    assert batch[1].drift.p999 == pytest.approx(single.drift.p999, abs=0.1)
    assert "max_drift=1" in single.provenance()["Comment"]
