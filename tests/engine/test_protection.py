"""Protected parts follow the photo; what is far from them stays as it was, without a seam."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.engine.drift import follow, measure_drift
from addsr_cli.engine.protection import protect
from addsr_cli.errors import UsageError
from addsr_cli.imageio import from_array, resize_photo

SIZE = 48


@pytest.fixture(scope="module")
def photo():
    return from_array(np.ascontiguousarray(data.astronaut()[80 : 80 + SIZE, 190 : 190 + SIZE]))


@pytest.fixture
def drifted(photo):
    """An enlarged photo of 16 bits that is 20 levels brighter than its source."""
    samples = resize_photo(photo, (2 * SIZE, 2 * SIZE)).rgb + 20 / 255
    return np.rint(np.clip(samples, 0, 0.95) * 65535).astype(np.uint16)


def test_only_the_masked_part_follows_the_photo_and_the_edge_is_smooth(photo, drifted):
    mask = np.clip((np.arange(SIZE, dtype=np.float32) - 16) / 16, 0, 1) * np.ones((SIZE, 1))
    before = drifted.copy()

    follow(drifted, photo, mask.astype(np.float32), 2.0, 16)

    right, source = np.ascontiguousarray(drifted[:, 68:]), photo.samples[:, 34:]
    change = (before.astype(float) - drifted) / 257
    assert np.abs(change[:, :8]).max() < 0.1
    assert measure_drift(right, replace(photo, samples=source)).mean < 4
    assert np.abs(np.diff(change[:, :88].mean(axis=(0, 2)))).max() < 3


def test_a_mask_from_a_file_changes_only_what_is_white(photo, tmp_path):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, 30:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))

    plain = upscaler.upscale(photo, Settings(scale=2))
    protected = upscaler.upscale(photo, Settings(scale=2, protect=str(tmp_path / "mask.png")))

    difference = np.abs(plain.photo.rgb - protected.photo.rgb).max(axis=2)
    assert protected.photo.samples.dtype == np.uint8
    assert difference[:, :40].max() < 1 / 255
    assert difference[:, 64:].max() > 1 / 255


def test_protected_parts_of_a_noisy_photo_need_not_follow_its_noise(tmp_path):
    smooth = data.coffee()[100:228, 100:228] // 2 + 64
    noise = np.random.default_rng(0).normal(0, 8, smooth.shape)
    noisy = from_array(np.clip(np.rint(smooth + noise), 0, 255).astype(np.uint8))
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "mask.png")
    settings = Settings(protect=str(tmp_path / "mask.png"))
    results = {}
    for name, photo in (("noisy", noisy), ("clean", from_array(smooth))):
        results[name] = np.repeat(np.repeat(smooth, 2, 0), 2, 1).astype(np.uint16) * 257 + 5140
        protect(results[name], photo, settings, 8)

    assert measure_drift(results["clean"], from_array(smooth)).p999 == pytest.approx(2, abs=0.5)
    assert measure_drift(results["noisy"], noisy).p999 == pytest.approx(16, rel=0.25)


def test_what_is_not_detected_is_said(photo):
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))

    result = upscaler.upscale(photo, Settings(scale=1, protect="text"))

    assert result.protected == ()
    assert any("nothing of that kind" in warning for warning in result.warnings)


@pytest.mark.parametrize("parts", ["face", "faces,hands", "no_such_mask.png"])
def test_what_is_neither_a_kind_nor_a_file_is_refused_before_any_work(parts):
    with pytest.raises(UsageError, match="neither faces, text"):
        Settings(protect=parts)


def test_the_word_on_a_sign_comes_nearer_to_the_truth():
    sharp = Image.fromarray(data.astronaut()).crop((128, 256, 384, 384))
    draw = ImageDraw.Draw(sharp)
    draw.rectangle((20, 20, 236, 100), fill=(235, 230, 220))
    draw.text((40, 30), "Bahnhof", font=ImageFont.load_default(46), fill=(25, 25, 30))
    small = np.asarray(sharp.resize((128, 64), Image.Resampling.BICUBIC))
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))

    plain, protected = (
        upscaler.upscale(small, Settings(scale=2, protect=parts)) for parts in ("", "text")
    )

    errors = [
        float(((result.photo.rgb - np.asarray(sharp) / 255)[20:100, 40:220] ** 2).mean())
        for result in (plain, protected)
    ]
    assert {area.kind for area in protected.protected} == {"text"}
    assert errors[1] < 0.7 * errors[0]
