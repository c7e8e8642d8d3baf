"""One photo on every device: on the CPU, and on CUDA under the marker ``gpu``."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import write_bundle

from addsr_cli import Machine, Settings, Upscaler

ONE = Settings(
    steps=1, tags="a fox"
)  # which nano does not read; those of a random tagger differ by a rounding


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The bundled model, and the full one with a few random weights."""
    return {"nano": "nano", "full": str(write_bundle(tmp_path_factory.mktemp("models") / "golden"))}


@pytest.fixture(scope="module")
def exact(models):
    """The picture of a model on the CPU, in float32 and one piece, computed once each."""
    cache = {}

    def picture_of(name, settings=ONE):
        if (name, settings) not in cache:
            machine = Machine(device="cpu", precision="fp32")
            cache[name, settings] = (
                Upscaler(models[name], machine).upscale(picture(), settings).photo.rgb
            )
        return cache[name, settings]

    return picture_of


def picture(height=16, width=20):
    """Waves with grain, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / (2 + k) + k) * np.cos(y / (3 + k)) for k in range(3)]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return np.clip(np.stack(waves, axis=2) + grain, 0, 255).astype(np.uint8)


def networks(restorer):
    """Every network of a model."""
    if hasattr(restorer, "net"):
        return [restorer.net]
    return [restorer.unet, restorer.controlnet, restorer.vae, restorer.text.model, restorer.tagger]


def retried(result):
    """The errors before the successful attempt."""
    return [note for note in result.warnings if "continued with" in note]


def apart(a, b):
    """Mean difference of two pictures, in grey levels of 255."""
    return 255 * np.abs(a - b).mean()


@pytest.mark.parametrize("name", ["nano", "full"])
def test_a_model_loads_where_it_is_wanted_and_makes_the_same_picture(models, exact, device, name):
    upscaler = Upscaler(models[name], Machine(device=device, precision="fp32"))
    result = upscaler.upscale(picture(), ONE)
    places = {p.device.type for net in networks(upscaler.model.network) for p in net.parameters()}
    assert places == {device} == {result.plan.device.split(":")[0]}
    assert (result.plan.dtype, retried(result)) == ("fp32", [])
    assert apart(result.photo.rgb, exact(name)) < 1
    assert result.peak_memory > 10**6


@pytest.mark.parametrize(("precision", "most"), [("fp16", 1), ("bf16", 4)])
@pytest.mark.parametrize("name", ["nano", "full"])
def test_half_precision_stays_near_float32(models, exact, device, name, precision, most):
    result = Upscaler(models[name], Machine(device=device, precision=precision)).upscale(
        picture(), ONE
    )
    assert (result.plan.dtype, retried(result)) == (precision, [])
    assert apart(result.photo.rgb, exact(name)) < most


def test_tiles_make_the_same_picture(device):
    whole, tiled = (
        Upscaler("nano", Machine(device=device, precision="fp32", tile=tile)).upscale(
            picture(8, 112), ONE
        )
        for tile in (None, 128)
    )
    assert (whole.plan.tile, tiled.plan.tile) == (None, 128)
    assert np.abs(whole.photo.rgb - tiled.photo.rgb).max() < 1 / 255


def test_pictures_that_wait_in_main_memory_come_out_the_same(device):
    settings = replace(ONE, steps=2)
    here, away = (
        Upscaler(
            "nano", Machine(device=device, precision="fp32", offload=offload, tile=128)
        ).upscale(picture(8, 112), settings)
        for offload in (False, True)
    )
    assert (here.plan.offload, away.plan.offload) == (False, device != "cpu")
    assert np.abs(here.photo.rgb - away.photo.rgb).max() < 1 / 255


def test_memory_that_runs_out_means_smaller_tiles(device, denoise):
    upscaler = Upscaler("nano", Machine(device=device, precision="fp32"))
    whole = upscaler.upscale(picture(8, 112), ONE)

    def tight(model, z, answer):
        if z.shape[-1] * model.factor > 400:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return answer()

    denoise(tight)
    result = upscaler.upscale(picture(8, 112), ONE)
    assert whole.plan.tile is None
    assert result.plan.tile is not None
    assert "out of memory" in retried(result)[0]
    assert np.abs(result.photo.rgb - whole.photo.rgb).max() < 1 / 255


@pytest.mark.gpu
def test_a_card_that_is_truly_full_means_smaller_tiles(denoise):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    upscaler = Upscaler("nano", Machine(device="cuda", precision="fp32"))
    whole = upscaler.upscale(picture(256, 256), ONE)
    times = []

    def crowded(model, z, answer):
        times.append(z.shape)
        if len(times) > 1:
            return answer()
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        ballast = torch.empty(max(0, free - 2**23), dtype=torch.uint8, device="cuda")
        return answer() + 0 * len(ballast)

    denoise(crowded)
    result = upscaler.upscale(picture(256, 256), ONE)
    assert len(times) > 1
    assert "out of memory" in retried(result)[0]
    assert np.abs(result.photo.rgb - whole.photo.rgb).max() < 1 / 255


def test_guidance_counts_and_is_the_same_everywhere(models, exact, device):
    settings = replace(ONE, prompt="a cat", guidance=3.0)
    result = Upscaler(models["full"], Machine(device=device, precision="fp32")).upscale(
        picture(), settings
    )
    assert apart(result.photo.rgb, exact("full", settings)) < 1
    assert apart(result.photo.rgb, exact("full", replace(settings, guidance=1.0))) > 1
