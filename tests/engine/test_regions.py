"""The picture is the same however the canvas is cut into regions, rows and tiles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import write_bundle, write_nano
from skimage import data

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.color import GlobalMatch, adain
from addsr_cli.engine import planner
from addsr_cli.engine.restoration import with_context
from addsr_cli.hardware import probe
from addsr_cli.models.nano.architecture import NANO
from addsr_cli.weights import loader

MACHINE = Machine(device="cpu", precision="fp32", tile=128)


@pytest.fixture(scope="module")
def cat():
    """A photograph, 90 x 61."""
    return data.chelsea()[60:121, 90:180]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    """A small network of nano's kind in tiles."""
    return Upscaler(write_nano(tmp_path_factory.mktemp("model") / "tiny"), MACHINE)


@pytest.fixture
def cut(monkeypatch, upscaler):
    """Return a function that makes the picture in regions which take at most so many bytes."""

    def run(photo, settings, region_bytes):
        monkeypatch.setattr(planner, "REGION_BYTES", region_bytes)
        return upscaler.upscale(photo, settings, bit_depth=16)

    return run


@pytest.mark.parametrize(
    "settings",
    [
        Settings(steps=1),
        Settings(steps=2, seed=3),
        Settings(steps=1, color="adain"),
        Settings(steps=1, color="lab", scale=3.3),
        Settings(steps=1, color="none", fidelity=0.9),
    ],
    ids=["one step", "two steps", "adain", "lab", "blend"],
)
def test_regions_do_not_show(cut, cat, settings):
    whole = cut(cat, settings, 10**9)
    parts = cut(cat, settings, 1)
    assert whole.plan.region is None
    assert parts.plan.region == 128
    assert len(parts.plan.regions()) == 6
    difference = parts.photo.samples.astype(int) - whole.photo.samples
    assert np.abs(difference).max() <= 65535 / 255 / 4


def test_grey_alpha_and_sixteen_bits_pass_through_regions(cut, cat):
    samples = np.dstack([cat[:, :, 0], np.full(cat.shape[:2], 200, np.uint8)])
    result = cut(samples, Settings(steps=1), 1).photo
    assert (result.samples.dtype, result.samples.shape) == (np.uint16, (244, 360, 2))
    assert (result.samples[:, :, 1] == 200 * 257).all()


def test_progress_counts_the_tiles_of_all_regions(monkeypatch, upscaler, cat):
    monkeypatch.setattr(planner, "REGION_BYTES", 1)
    seen = []
    upscaler.upscale(cat, Settings(steps=2), seen.append)
    assert [progress.done for progress in seen] == list(range(1, seen[-1].total + 1))
    assert {progress.step for progress in seen} == {1, 2}


def test_memory_is_that_of_a_region_and_not_of_the_picture():
    cpu = replace(probe("cpu"), free_bytes=8 * 10**9)
    small, large = (
        planner.plan((side, side), Machine(precision="fp32"), cpu, NANO).needed_bytes
        for side in (16000, 32000)
    )
    assert large == pytest.approx(small, rel=0.1)


def test_a_full_model_in_rows_of_tiles_stays_close_to_one_piece(tmp_path, cat):
    bundle = str(write_bundle(tmp_path / "golden"))
    settings = Settings(steps=2, tags="a cat", color="none")
    located = loader.locate(bundle)
    located = replace(located, spec=replace(located.spec, shortest_side=0))
    photo = cat[:40, :56]
    whole, tiled = (
        Upscaler(located, Machine(device="cpu", precision="fp32", tile=tile, overlap=64))
        .upscale(photo, settings)
        .photo.samples.astype(int)
        for tile in (512, 128)
    )
    assert np.abs(whole - tiled).mean() < 8


def test_bands_with_context_cover_every_row_once():
    picture = torch.arange(200.0).reshape(1, 1, 200, 1)
    bands = [slice(0, 10), slice(10, 75), slice(75, 80), slice(80, 200)]
    windows = list(with_context(((rows, picture[..., rows, :]) for rows in bands), 200))
    assert [row for core, _, _ in windows for row in range(core.start, core.stop)] == list(
        range(200)
    )
    for core, seen, window in windows:
        assert torch.equal(window, picture[..., seen, :])
        assert seen.start == max(0, core.start - 32)
        assert seen.stop >= min(200, core.stop + 32)


def test_statistics_of_windows_are_those_of_the_whole():
    image, reference = torch.rand(2, 2, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    matching = GlobalMatch("adain")
    for rows in (slice(0, 7), slice(7, 30), slice(30, 40)):
        matching.add(image[..., rows, :], reference[..., rows, :])
    assert torch.allclose(matching.apply(image), adain(image, reference), atol=1e-5)
