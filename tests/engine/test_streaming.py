"""Photos in strips of rows: when they are chosen, and that the picture stays the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from addsr_cli.engine.plan import PictureMemory
from addsr_cli.engine.planner import picture_memory, plan
from addsr_cli.engine.streaming import Streamed
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.hardware import Hardware
from addsr_cli.models.nano.architecture import NANO, SMALL
from addsr_cli.models.nano.restorer import Nano, NanoConfig, build_nano, save_nano
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Machine, Settings
from addsr_cli.weights.loader import Located

GB = 10**9
TINY = NanoConfig(groups=(1,), width=8, growth=4, embedding=8)
SPEC = replace(
    SMALL,
    tile=128,
    halo=4 * TINY.halo,
    strip=64,
    footprint=replace(SMALL.footprint, parameters=20_000),
)
LAPTOP = Hardware(
    device="cpu",
    name="a laptop",
    free_bytes=8 * GB,
    total_bytes=16 * GB,
    bf16=False,
    fp16=False,
    threads=4,
)


def make_plan(hardware=LAPTOP, size=(16000, 3000), steps=1, **options):
    return plan(size, Machine(**options), hardware, SMALL, steps=steps)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    nano = build_nano(TINY)
    for parameter in nano.net.parameters():
        nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_nano(nano.net, path)
    return path


def upscaled(file, spec, **options):
    located = Located(spec=spec, file=file, reason="a test")
    photo = np.random.default_rng(0).integers(0, 256, (83, 121, 3), np.uint8)
    return Upscaler(located, Machine(device="cpu", precision="fp32", **options)).upscale(
        photo, Settings(scale=4.0, steps=1)
    )


@pytest.mark.parametrize("max_memory", [None, 25_000_000])
def test_strips_change_nothing_in_the_picture(file, max_memory):
    whole = upscaled(file, replace(SPEC, tile=4096, strip=0))
    strips = upscaled(file, SPEC, max_memory=max_memory)
    assert whole.plan.tile is whole.plan.strip is None
    assert strips.plan.strip == 64
    assert (strips.plan.region is None) == (max_memory is None)
    difference = whole.photo.samples.astype(int) - strips.photo.samples
    assert np.abs(difference).max() <= 1


def test_large_photos_are_run_in_strips_without_repeated_work():
    strips = make_plan(size=(4000, 3000))
    assert (strips.tile, strips.region, strips.strip) == (None, None, SMALL.strip)
    assert strips.processed_pixels == 4000 * 3000
    assert strips.tiles == 13  # the last one is low
    assert f"strips of {SMALL.strip} px" in strips.why


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"size": (1200, 900)}, {}),
        ({"steps": 4}, {}),
        ({"hardware": replace(LAPTOP, device="cuda:0")}, {}),
        ({}, {"tile": 512}),
        ({}, {"compile": True}),
    ],
    ids=["one piece", "steps", "gpu", "asked for tiles", "compiled"],
)
def test_strips_are_for_one_step_of_a_large_photo_on_a_cpu(changes, options):
    assert make_plan(**changes, **options).strip is None


@pytest.mark.parametrize(
    ("spec", "dtype", "size", "megabytes"),
    [
        (NANO, "bf16", (4000, 800), 606),
        (NANO, "bf16", (2000, 3000), 489),
        (NANO, "fp32", (2000, 800), 578),
        (SMALL, "bf16", (4000, 400), 829),
    ],
)
def test_the_predicted_peak_is_within_15_percent(spec, dtype, size, megabytes):
    pictures = picture_memory((size[0] // 4, size[1] // 4), size, 3, 8)
    p = plan(size, Machine(precision=dtype), LAPTOP, spec, pictures=pictures)
    assert (p.strip, p.region) == (spec.strip, None)
    assert p.peak_bytes / 1e6 == pytest.approx(megabytes, rel=0.15)


def test_less_memory_makes_bands_narrower_and_repeats_little():
    plans = [make_plan(max_memory=amount * GB // 10) for amount in (80, 12, 6)]
    bands = [p.region or p.width for p in plans]
    assert bands == sorted(bands, reverse=True)
    assert bands[-1] < bands[0]
    assert all(p.needed_bytes <= p.free_bytes for p in plans)
    assert plans[0].processed_pixels < 1.08 * 16000 * 3000


@pytest.mark.parametrize(("width", "bands"), [(4000, 1), (6000, 2), (16000, 3)])
def test_wide_photos_are_cut_where_that_repeats_little(width, bands):
    p = plan((width, 4000), Machine(precision="bf16"), LAPTOP, NANO)
    assert len(p.regions()) == bands
    assert p.processed_pixels <= 1.05 * width * 4000


def test_bands_need_not_take_less_than_the_encoder():
    size = (12000, 9000)
    few, many = (
        plan(size, Machine(), LAPTOP, NANO, pictures=PictureMemory(encoding=encoding))
        for encoding in (GB, 0)
    )
    assert 1 < len(few.regions()) < len(many.regions())


def test_bands_cover_the_width_once():
    p = make_plan(max_memory=GB)
    cores = [core[1] for core, _ in p.regions()]
    assert [c.start for c in cores] == [0, *(c.stop for c in cores[:-1])]
    assert cores[-1].stop == p.width
    assert all(core[0] == slice(0, p.height) for core, _ in p.regions())


def test_strips_that_run_out_of_memory_become_narrower_until_they_cannot():
    plans = [make_plan()]
    while (narrower := plans[-1].smaller()) is not None:
        plans.append(narrower)
    needed = [p.needed_bytes for p in plans]
    assert needed == sorted(needed, reverse=True)
    assert all(p.strip == SMALL.strip and p.tile is None for p in plans)
    assert 128 <= plans[-1].region < 256


def test_only_predictions_of_samples_can_lag():
    nano = Nano(build_nano(TINY).net)
    nano.schedule = Schedule(prediction="epsilon")
    with pytest.raises(ValueError, match="samples"):
        Streamed(nano)
