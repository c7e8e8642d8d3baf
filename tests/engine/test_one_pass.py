"""Networks that answer in one pass, from a photo to a photo."""

from dataclasses import replace

import numpy as np
import pytest
from one_pass_files import save_compact_file, save_esrgan_file

from addsr_cli import Settings, Upscaler
from addsr_cli.engine import one_pass
from addsr_cli.engine.one_pass import enlarge_into
from addsr_cli.engine.progress import ProgressCounter
from addsr_cli.imageio import from_array
from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.models.single_pass import precision
from addsr_cli.models.single_pass.reading import read_network
from addsr_cli.settings import Machine

CPU = Machine(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    save_compact_file(folder / "compact.pth")
    save_compact_file(folder / "restore.pth", scale=1)
    save_compact_file(folder / "grey.pth", colours=1)
    save_esrgan_file(folder / "esrgan.pth", groups=1)
    save_esrgan_file(folder / "double.pth", groups=1, doublings=1)
    return folder


@pytest.fixture
def photo():
    return np.random.default_rng(0).random((40, 56, 3), np.float32)


@pytest.mark.parametrize("name", ["compact", "esrgan", "grey"])
def test_tiles_give_the_picture_of_one_piece(folder, name):
    photo = np.random.default_rng(0).random((40, 88, 3), np.float32)
    model = str(folder / f"{name}.pth")
    whole = Upscaler(model, CPU).upscale(photo).photo.rgb
    tiled = Upscaler(model, Machine(device="cpu", precision="fp32", tile=128)).upscale(photo)
    assert tiled.plan.tiles_per_step > 1
    assert np.abs(tiled.photo.rgb - whole).max() <= 1 / 255


def test_tiles_of_a_network_of_unknown_reach_overlap_and_are_blended(folder, photo):
    upscaler = Upscaler(str(folder / "compact.pth"), CPU)
    network = read_network(folder / "compact.pth").tiled(8, None)
    plan = upscaler.plan(56, 40)[0]
    counter = ProgressCounter(on_progress=None, steps=1, pass_tiles=[1])
    whole, tiled = (np.empty((160, 224, 3), np.uint16) for _ in range(2))
    blending = replace(plan, tile=96, overlap=48, halo=None)
    enlarge_into(whole, network, from_array(photo), plan, counter, 0)
    enlarge_into(tiled, network, from_array(photo), blending, counter, 0)
    assert counter.done > 2
    assert np.abs(tiled.astype(float) - whole).mean() < 65535 / 255


@pytest.mark.parametrize("settings", [Settings(), Settings(scale=3), Settings(fidelity=1)])
def test_rows_of_tiles_are_resized_and_mixed_as_the_whole_is(folder, settings, monkeypatch):
    photo = np.random.default_rng(0).random((88, 40, 3), np.float32)
    model = str(folder / "compact.pth")
    whole = Upscaler(model, CPU).upscale(photo, settings).photo.rgb
    monkeypatch.setattr(
        one_pass,
        "bands",
        lambda height, _: (slice(y, min(y + 7, height)) for y in range(0, height, 7)),
    )
    tiled = Upscaler(model, replace(CPU, tile=128)).upscale(photo, settings)
    assert tiled.plan.tiles_per_step > 1
    assert np.abs(tiled.photo.rgb - whole).max() <= 1 / 255


def test_a_large_photo_needs_memory_for_rows_of_tiles_only(folder):
    upscaler = Upscaler(str(folder / "compact.pth"), CPU)
    tall, taller = (upscaler.plan(500, height)[0] for height in (4000, 8000))
    grown = taller.needed_bytes - tall.needed_bytes
    assert grown <= 12 * 16 * 500 * 4000  # samples and encoding of 8 bits, no float32


@pytest.mark.parametrize(
    ("name", "settings", "size"),
    [
        ("compact", Settings(), (224, 160)),
        ("double", Settings(), (112, 80)),
        ("restore", Settings(), (56, 40)),
        ("restore", Settings(scale=2), (112, 80)),
        ("double", Settings(scale=3), (168, 120)),
        ("compact", Settings(scale=1), (56, 40)),
        ("compact", Settings(width=100), (100, 71)),
    ],
)
def test_the_default_size_is_the_networks_own_and_any_other_is_possible(
    folder, photo, name, settings, size
):
    result = Upscaler(str(folder / f"{name}.pth"), CPU).upscale(photo, settings)
    assert result.photo.size == size
    assert result.steps == 0


def test_settings_without_a_meaning_are_said_once(folder, photo):
    settings = Settings(steps=2, psr=0.1, prompt="a cat", color="lab")
    [warning] = Upscaler(str(folder / "compact.pth"), CPU).upscale(photo, settings).warnings
    for word in ("one pass", "steps", "PSR", "prompts", "colour matching"):
        assert word in warning
    # a batch gives every photo a seed of its own
    assert not Upscaler(str(folder / "compact.pth"), CPU).upscale(photo, Settings(seed=7)).warnings


def test_fidelity_mixes_the_plain_enlargement_in(folder, photo):
    upscaler = Upscaler(str(folder / "compact.pth"), CPU)
    own, mixed = (
        upscaler.upscale(photo, Settings(fidelity=fidelity)).photo.rgb for fidelity in (0.5, 1)
    )
    assert 0.01 < np.abs(own - mixed).mean() < 0.3


def test_half_precision_that_changes_the_picture_is_left_and_not_tried_again(
    folder, photo, monkeypatch
):
    tried = []

    def refuse(network, dtype):
        tried.append(dtype)
        raise PrecisionLoss("a test picture has values up to 9.0/255 off in bfloat16")

    monkeypatch.setattr(precision, "check_precision", refuse)
    upscaler = Upscaler(str(folder / "compact.pth"), Machine(device="cpu", precision="bf16"))
    for _ in range(2):
        result = upscaler.upscale(photo)
        assert result.plan.dtype == "fp32"
        assert "9.0/255 off" in result.warnings[0]
    assert len(tried) == 1


def test_grey_stays_grey_and_alpha_stays(folder, photo):
    result = Upscaler(str(folder / "grey.pth"), CPU).upscale(photo[:, :, :2])
    assert result.photo.gray
    assert result.photo.has_alpha
    assert result.photo.size == (224, 160)


def test_the_file_says_which_network_made_it_and_no_seed(folder, photo):
    text = Upscaler(str(folder / "compact.pth"), CPU).upscale(photo).provenance()["Comment"]
    assert "model=compact" in text
    assert "seed" not in text
