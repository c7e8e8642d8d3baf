"""What is said before work starts: how long it takes, and which photos fit."""

from dataclasses import replace

import pytest

from addsr_cli import hardware
from addsr_cli.engine.prediction import SpeedMeasurement, largest_photo
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import OutOfMemory
from addsr_cli.models.nano.architecture import NANO
from addsr_cli.settings import Machine, Settings


@pytest.fixture
def measured(monkeypatch):
    """Convolutions that were measured; all run at 1 GFLOP/s."""
    calls = []

    def convolution_flops(channels, side, dtype):
        calls.append((channels, side, str(dtype)))
        return 1e9

    monkeypatch.setattr(hardware, "convolution_flops", convolution_flops)
    return calls


def test_the_speed_is_that_of_the_models_own_convolution_in_its_precision(measured):
    speed = SpeedMeasurement(NANO)
    kernel = NANO.footprint.kernel
    assert speed.rate("fp32") == pytest.approx(1e9 * kernel.efficiency_fp32)
    assert speed.rate("bf16") == pytest.approx(1e9 * kernel.efficiency_half)
    speed.rate("bf16")
    assert measured == [
        (kernel.channels, kernel.side, "torch.float32"),
        (kernel.channels, kernel.side, "torch.bfloat16"),
    ]


def test_every_pass_takes_its_time(measured):
    plans = Upscaler("nano", Machine(device="cpu")).plan(40, 30, Settings(scale=8))
    speed = SpeedMeasurement(NANO)
    assert len(plans) == 2
    parts = [speed.seconds([plan], 4) for plan in plans]
    assert speed.seconds(plans, 4) == pytest.approx(sum(parts))


def test_the_time_on_other_devices_is_not_known(measured):
    plan = replace(Upscaler("nano", Machine(device="cpu")).plan(40, 30)[0], device="cuda:0")
    assert SpeedMeasurement(NANO).seconds([plan], 4) is None
    assert not measured


def test_the_largest_photo_fits_and_a_larger_one_does_not():
    upscaler = Upscaler("nano", Machine(device="cpu", max_memory=600_000_000))
    settings = Settings(scale=2)
    width, height = largest_photo(upscaler, settings)
    assert width * 3 == height * 4
    upscaler.plan(width, height, settings)
    with pytest.raises(OutOfMemory):
        upscaler.plan(width + 40, height + 30, settings)


def test_where_nothing_fits_the_largest_photo_has_no_pixels():
    upscaler = Upscaler("nano", Machine(device="cpu", max_memory=1_000_000))
    assert largest_photo(upscaler, Settings()) == (0, 0)
