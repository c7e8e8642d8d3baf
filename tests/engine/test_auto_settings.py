"""``auto`` is decided by the damage of the photo, and the result is that of the decided numbers."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from addsr_cli import Machine, Settings, Upscaler, imageio
from addsr_cli.damage import Damage
from addsr_cli.engine.auto_settings import QUIET_FIDELITY, decided, is_clean
from addsr_cli.errors import UsageError
from addsr_cli.imageio import from_array

CLEAN = from_array(cv2.resize(data.astronaut(), (192, 192), interpolation=cv2.INTER_AREA))
NOISY = from_array(
    np.clip(
        np.rint(CLEAN.samples + np.random.default_rng(0).normal(0, 12, CLEAN.samples.shape)), 0, 255
    ).astype(np.uint8)
)
AUTO = Settings(steps="auto", fidelity="auto")


def test_a_clean_photo_takes_fewer_of_several_steps_than_a_damaged_one():
    clean, _ = decided(CLEAN, AUTO, 4)
    noisy, decision = decided(NOISY, AUTO, 4)

    assert clean.effective_steps(4) < noisy.effective_steps(4) == 4
    assert clean.effective_psr < noisy.effective_psr
    assert decision is not None
    assert decision.damage.noise == pytest.approx(12, rel=0.3)


def test_one_step_goes_further_where_it_amplifies_no_noise():
    smooth = from_array(cv2.GaussianBlur(CLEAN.samples, (0, 0), 1.5))

    quiet, _ = decided(smooth, AUTO, 1)
    noisy, _ = decided(NOISY, AUTO, 1)

    assert (quiet.fidelity, quiet.steps) == (QUIET_FIDELITY, 1)
    assert quiet.blend(1) < 0
    assert (noisy.blend(1), noisy.steps) == (0, 1)


def test_what_was_typed_stays_and_the_rest_is_decided():
    settings, decision = decided(CLEAN, Settings(steps="auto", psr=0.9), 4)

    assert (settings.psr, settings.fidelity) == (0.9, None)
    assert not settings.is_auto
    assert decision is not None
    assert decided(CLEAN, Settings(steps=2), 4) == (Settings(steps=2), None)


@pytest.mark.parametrize(
    "damage", [{"noise": 6}, {"jpeg_quality": 60}, {"blur": 1.5}], ids=lambda each: next(iter(each))
)
def test_each_kind_of_damage_counts(damage):
    clean = {"noise": 1.0, "jpeg_quality": None, "blur": 0.1}

    assert is_clean(Damage(**clean))
    assert not is_clean(Damage(**(clean | damage)))


def test_the_result_of_auto_is_that_of_the_numbers_it_holds():
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))
    part = from_array(cv2.GaussianBlur(CLEAN.samples[:48, :48], (0, 0), 1.5))

    result = upscaler.upscale(part, AUTO)
    again = upscaler.upscale(part, result.origin.settings)
    plain = upscaler.upscale(part)

    assert result.decision is not None
    assert not result.settings.is_auto
    assert again.provenance() == result.provenance()
    assert np.array_equal(again.photo.samples, result.photo.samples)
    assert not np.array_equal(plain.photo.samples, result.photo.samples)


def test_photos_of_one_batch_are_decided_one_by_one():
    upscaler = Upscaler("nano", Machine(device="cpu", precision="fp32"))
    parts = [from_array(np.ascontiguousarray(NOISY.samples[:32, i : i + 32])) for i in (0, 8)]

    results = upscaler.upscale_batch(parts, [AUTO, AUTO])

    assert results is not None
    assert all(result.decision is not None for result in results)


@pytest.mark.parametrize("options", [{"steps": "many"}, {"fidelity": "high"}])
def test_other_words_than_auto_are_refused(options):
    with pytest.raises(UsageError):
        Settings(**options)


def test_a_jpeg_file_is_judged_by_its_tables():
    file = io.BytesIO()
    Image.fromarray(CLEAN.samples).save(file, "JPEG", quality=30)

    _, decision = decided(imageio.read(file.getvalue()), AUTO, 1)
    assert decision is not None
    assert decision.record()["damage"]["jpeg_quality"] == 30
