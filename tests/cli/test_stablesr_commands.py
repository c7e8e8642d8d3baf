"""A small StableSR bundle through the commands, in this process."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stablesr_samples import write_stablesr

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def turbo(tmp_path_factory):
    """A bundle whose default is 4 steps, as StableSR-Turbo's."""
    folder = tmp_path_factory.mktemp("turbo")
    return write_stablesr(folder / "bundle", folder / "files", steps=4)


@pytest.fixture
def restored(addsr, photo, turbo):
    """Upscale a photo with the bundle; returns the record and the pixels (H, W, 3), 0 to 255."""

    def run(*options, size=(32, 32)):
        path = photo("photo.png", size)
        arguments = (path, "--model", turbo, *CPU, "--seed", 7, "--overwrite", "--json", *options)
        outcome = addsr("upscale", *arguments)
        assert outcome.code == 0, outcome.err
        record = json.loads(outcome.out)
        with Image.open(record["output"]) as picture:
            return record, np.asarray(picture.convert("RGB")).astype(int)

    return run


def test_turbo_takes_four_steps_and_its_own_fidelity(restored, addsr):
    record, pixels = restored()
    assert record["steps"] == 4
    assert pixels.shape == (128, 128, 3)
    with Image.open(record["output"]) as picture:
        assert "fidelity=0.5" in picture.text["Comment"]
    assert addsr("compare", "photo.png", record["output"]).code == 0


@pytest.mark.slow
def test_fidelity_dials_the_decoder_and_changes_no_step(restored):
    pictures = {}
    for weight in (0, 0.5, 1):
        record, pictures[weight] = restored("--fidelity", weight)
        assert record["steps"] == 4
    assert np.abs(pictures[0] - pictures[1]).max() > 2
    # the fused features enter linearly, so that half the weight lies between
    middle = np.abs(pictures[0.5] - (pictures[0] + pictures[1]) / 2).mean()
    assert middle < np.abs(pictures[0] - pictures[1]).mean() / 2


@pytest.mark.slow
def test_two_hundred_steps_run_as_one_command(restored):
    record, pixels = restored("--steps", 200)
    assert record["steps"] == 200
    assert 0 < pixels.std() < 128


@pytest.mark.slow
def test_a_small_photo_keeps_nothing_of_the_enlarged_canvas_s_padding(restored):
    """Officially 27 x 19 at x4 would be cut after it was made smaller, so that padding stays."""
    record, pixels = restored("--steps", 1, "--fidelity", 0, size=(27, 19))
    assert record["size_out"] == [108, 76]
    assert pixels.shape == (76, 108, 3)


@pytest.mark.slow
def test_one_side_above_1280_pixels_is_no_special_case(restored):
    """Officially it crashes: its outer tiles need both sides above 1280 or neither."""
    _, pixels = restored("--steps", 1, "--fidelity", 0, size=(324, 32))
    assert pixels.shape == (128, 1296, 3)


@pytest.mark.slow
def test_a_batch_skips_what_it_has_done(addsr, photo, turbo):
    for name in ("a.png", "b.png"):
        photo(f"in/{name}", (32, 32))
    batch = ("batch", "in", "--model", turbo, *CPU, "--seed", 7, "--json", "--steps", 2)
    assert addsr(*batch).code == 0
    written = {path.name: path.stat().st_mtime_ns for path in Path("in_x4").glob("*.png")}
    assert written.keys() == {"a_x4.png", "b_x4.png"}
    assert addsr(*batch).code == 0
    assert all(Path("in_x4", name).stat().st_mtime_ns == time for name, time in written.items())


@pytest.mark.slow
def test_bench_measures_its_speed_and_quality_like_any_models(addsr, photo, turbo):
    quick = ("--sizes", 32, "--steps", 2, "--runs", 1, "--seconds", 0)
    outcome = addsr("bench", "--model", turbo, *CPU, *quick, "--json")
    assert outcome.code == 0, outcome.err
    photo("set/hr/a.png", (128, 128))
    photo("set/lr/a.png", (32, 32))
    options = ("--data", "set", "--metrics", "psnr,ssim", "--steps", 2)
    outcome = addsr("bench", "--model", turbo, *CPU, *options, "--json")
    assert outcome.code == 0, outcome.err
