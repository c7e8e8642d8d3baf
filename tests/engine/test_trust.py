from dataclasses import replace

import numpy as np
import pytest
from bundles import write_bundle

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.engine import trust as module
from addsr_cli.engine.trust import CELL, measure_trust, seed_spread, worst_trust
from addsr_cli.imageio import Photo, resize_photo
from addsr_cli.imageio.back_projection import least_change
from addsr_cli.imageio.resample import resize


def photo(height=48, width=60, channels=3):
    """Waves and some noise away from black and white."""
    y, x, c = np.mgrid[:height, :width, :channels]
    waves = 128 + 40 * np.sin(x / (3 + c)) * np.cos(y / (4 + c))
    noise = np.random.default_rng(0).normal(0, 3, waves.shape)
    return Photo(samples=np.rint(waves + noise).astype(np.uint8))


def enlarged(small, scale):
    """The plain enlargement, uint16."""
    size = (round(small.width * scale), round(small.height * scale))
    return resize_photo(Photo(samples=small.samples.astype(np.uint16) * 257), size).samples


def invisible(shape, small_size, amplitude):
    """Noise of this amplitude in 1/255 that shrinks to nothing, (H, W, C)."""
    noise = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    small = np.ascontiguousarray(resize(noise, small_size).transpose(2, 0, 1))
    size = (shape[1], shape[0])
    seen = least_change(small, small_size, size, slice(0, shape[0]))
    return (noise - seen.transpose(1, 2, 0)) * amplitude


def with_noise(samples, noise):
    return np.clip(np.rint(samples + noise * 257), 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("scale", [1.3, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_plain_enlargement_has_invented_nothing(scale, channels):
    small = photo(channels=channels)
    assert measure_trust(enlarged(small, scale), small).invented < 1e-3


def test_invented_noise_is_found_where_it_is_and_scales_the_number():
    small = photo()
    plain = enlarged(small, 4)
    noise = invisible(plain.shape, small.size, 8)
    noise[:, :120] = 0
    few, many = (measure_trust(with_noise(plain, noise * k), small) for k in (1, 2))
    energies = module._Energies(with_noise(plain, noise), small)
    middle = plain.shape[1] // CELL // 2
    # a cut through the noise shrinks to something; away from it nothing does
    assert energies.invented[:, : middle - 12].max() < 0.1
    assert np.sqrt(energies.invented[:, middle + 12 :].mean()) == pytest.approx(8, rel=0.15)
    odds = [each.invented / (1 - each.invented) for each in (few, many)]
    assert odds[1] / odds[0] == pytest.approx(4, rel=0.05)


def test_at_scale_1_every_change_is_drift():
    small = photo()
    changed = Photo(samples=small.samples + np.uint8(16))
    trust = measure_trust(changed.samples, small)
    assert trust.invented < 1e-6
    assert trust.departure == pytest.approx(16, abs=1e-2)
    red, _, blue = trust.picture.reshape(-1, 3).mean(axis=0)
    assert blue > red


def test_invention_is_orange():
    small = photo()
    plain = enlarged(small, 4)
    samples = with_noise(plain, invisible(plain.shape, small.size, 30))
    red, _, blue = measure_trust(samples, small).picture.reshape(-1, 3).mean(axis=0)
    assert red > blue + 50


def test_texture_is_in_doubt_where_damage_was_removed():
    y, x, _ = np.mgrid[:48, :96, :3]
    waves = 128 + 20 * np.sin(2 * x) * np.sin(2 * y) * (x >= 64)
    clean = Photo(samples=np.rint(waves).astype(np.uint8))
    noise = np.random.default_rng(4).normal(0, 10, waves.shape)
    noisy = Photo(samples=np.rint(waves + noise).astype(np.uint8))
    restored = enlarged(clean, 4)

    energies, untouched = (module._Energies(restored, each) for each in (noisy, clean))

    flat, textured = energies.doubt[:, :48], energies.doubt[8:-8, 76:-8]
    assert flat.max() < 4 < 25 < textured.min()
    assert textured.max() < 10**2  # Wiener's estimate is never worse than the noise itself
    assert untouched.doubt.max() < 1
    assert measure_trust(restored, noisy).doubt == pytest.approx(
        np.sqrt(energies.doubt.mean()), rel=1e-6
    )


@pytest.mark.parametrize("scale", [1, 1.7, 4])
def test_bands_of_rows_do_not_show(monkeypatch, scale):
    small = photo(130, 20)
    samples = enlarged(small, scale)
    samples = with_noise(samples, np.random.default_rng(2).normal(0, 5, samples.shape))
    whole = measure_trust(samples, small)
    monkeypatch.setattr(module, "_BAND_PIXELS", 1)
    banded = measure_trust(samples, small)
    np.testing.assert_allclose(banded.departure, whole.departure, atol=2e-2)
    assert banded.invented == pytest.approx(whole.invented, abs=1e-4)


def test_every_plan_of_tiles_has_the_same_map():
    small = photo(40, 16)
    settings = Settings(steps=1, trust_map=True)
    machine = {"precision": "fp32", "device": "cpu"}
    whole = Upscaler("nano", Machine(**machine)).upscale(small, settings).trust
    tiled = Upscaler("nano", Machine(tile=128, **machine)).upscale(small, settings).trust
    assert whole.picture.shape == (40, 16, 3)
    np.testing.assert_allclose(tiled.departure, whole.departure, atol=0.5)
    assert worst_trust([None, whole]) is whole


def test_a_region_has_its_own_share(monkeypatch):
    small = photo()
    plain = enlarged(small, 4)
    noise = invisible(plain.shape, small.size, 20)
    noise[:, :120] = 0
    boxes = [
        module.detection.Area(kind="faces", left=left, top=5, width=15, height=30)
        for left in (3, 42)
    ]
    monkeypatch.setattr(module.detection, "detect", lambda *_: boxes)
    calm, invented = measure_trust(with_noise(plain, noise), small).record()["areas"]
    assert calm["invented"] < 1 < 10 < invented["invented"]
    assert calm["box"] == [3, 5, 15, 30]


def test_the_variance_over_seeds_is_found_where_it_is():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 6, (3, 64, 80, 3))
    noise[:, :, :40] = 0
    first, *others = (np.clip(np.rint(128 + each), 0, 255).astype(np.uint8) for each in noise)

    spread = seed_spread(first, others)

    assert spread.shape == (16, 20)
    assert spread[:, :10].max() == 0
    assert np.sqrt(spread[:, 10:].mean()) == pytest.approx(6, rel=0.1)


def test_what_varies_with_the_seed_enters_the_map_in_orange():
    small = photo()
    samples = enlarged(small, 4)
    spread = np.zeros((48, 60), np.float32)
    spread[:, 40:] = 20.0**2

    plain, varied = (measure_trust(samples, small, each) for each in (None, spread))

    np.testing.assert_allclose(varied.departure[:, 55:], 20, rtol=0.05)
    np.testing.assert_allclose(varied.departure[:, :25], plain.departure[:, :25], atol=0.1)
    assert (plain.spread, varied.spread) == (None, pytest.approx((20**2 / 3) ** 0.5, rel=0.01))
    red, _, blue = varied.picture[:, 55:].reshape(-1, 3).mean(axis=0)
    assert red > blue + 20


@pytest.mark.slow
def test_a_model_that_samples_is_run_with_three_seeds(tmp_path):
    small = photo(32, 32)
    settings = Settings(scale=2, steps=1, seed=5, tags="none", trust_map=True)
    machine = Machine(device="cpu", precision="fp32")
    sampled = Upscaler(str(write_bundle(tmp_path / "bundle")), machine)
    reports = []

    result = sampled.upscale(small, settings, reports.append)

    plain = replace(settings, trust_map=False)
    seeds = [sampled.upscale(small, replace(plain, seed=seed)).photo.samples for seed in (5, 6, 7)]
    assert np.array_equal(result.photo.samples, seeds[0])
    assert result.trust.spread == pytest.approx(np.sqrt(seed_spread(seeds[0], seeds[1:]).mean()))
    assert result.trust.spread > 1
    assert result.origin.settings.seed == 5
    assert reports[-1].done == reports[-1].total == 3 * reports[0].done
    assert sampled.upscale_batch([small, small], [settings, settings]) is None


def test_one_step_has_no_spread():
    small = Photo(samples=photo(16, 16).samples)
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))

    assert upscaler.upscale(small, Settings(scale=2, trust_map=True)).trust.spread is None
