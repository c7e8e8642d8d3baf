"""``--tiles official``: large pictures cut as by the official code, from the plan to the pixels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import GOLDEN, write_bundle
from safetensors.torch import load_file
from test_planner import FULL, GB, GPU, LAPTOP

from addsr_cli.color import adain
from addsr_cli.engine.official_plan import official_plan
from addsr_cli.engine.planner import plan
from addsr_cli.engine.provenance import provenance_of
from addsr_cli.engine.restoration import Sampling
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo
from addsr_cli.models.architecture import OfficialTiles
from addsr_cli.models.nano.architecture import NANO
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.seesr.architecture import ADDSR_TILES
from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.settings import Machine, Settings

SPEC = replace(FULL, official_tiles=ADDSR_TILES)


def official(size, hardware=LAPTOP, spec=SPEC, **options):
    machine = Machine(**options)
    return official_plan(plan(size, machine, hardware, spec, steps=4), machine, spec)


@pytest.mark.parametrize(
    ("size", "tile"),
    [
        ((2560, 2560), None),
        ((6400, 1024), None),  # as many pixels
        ((2561, 2560), 2560),
        ((8192, 1000), 1000),  # tiles are square
        ((8190, 3000), 2560),
    ],
)
def test_canvases_above_2560_squared_are_cut_as_by_the_official_code(size, tile):
    p = official(size)
    assert (p.tile, p.overlap, p.region, p.official) == (tile, 32, None, True)
    assert not p.blends
    assert "official" in p.why


def test_the_tiles_stay_when_memory_runs_out():
    p = official((4096, 4096), replace(GPU, free_bytes=80 * GB))
    assert not p.offload
    less = p.smaller()
    assert less.offload
    assert less.tile == p.tile
    assert less.needed_bytes < p.needed_bytes
    assert less.smaller() is None


def test_on_a_small_gpu_pictures_wait_in_main_memory():
    assert official((4096, 4096), GPU).offload
    assert not official((4096, 4096), GPU, offload=False).offload


@pytest.mark.parametrize("options", [{"tile": 512}, {"overlap": 64}])
def test_other_tiles_contradict_it(options):
    with pytest.raises(UsageError, match="--tiles official cannot be combined"):
        official((4096, 4096), **options)


def test_it_is_refused_for_models_whose_program_is_not_repeated():
    with pytest.raises(UsageError, match="not for nano"):
        official((4096, 4096), spec=NANO)


@pytest.mark.parametrize(
    ("settings", "color"),
    [
        (Settings(), "wavelet"),
        (Settings(tiles="official"), "adain"),
        (Settings(tiles="official", color="none"), "none"),
    ],
)
def test_colours_are_matched_as_by_the_official_code_unless_told_otherwise(settings, color):
    assert settings.effective_color == color


def test_a_result_can_be_made_again_from_its_own_settings():
    settings = Settings(tiles="official")
    photo = Photo(samples=np.zeros((4, 4, 3), np.uint8))
    made = provenance_of(photo, settings, official((4096, 4096)), ("full", "0" * 64), 4)
    assert made.settings.tiles == "official"
    assert official_plan(official((4096, 4096)), made.machine, SPEC).tile == 2560


@pytest.mark.slow
def test_a_whole_photo_is_the_official_picture(tmp_path, monkeypatch):
    """With the recorded noise and tokens; then AdaIN, whose own test has the official pictures."""
    golden = load_file(GOLDEN / "pipe_tiled_latent_and_vae" / "tensors.safetensors")
    notes = json.loads((GOLDEN / "pipe_tiled_latent_and_vae" / "tensors.json").read_text())
    tokens = iter([golden[f"in.ram_step.{t}"] for t in (749, 499, 249)])
    draws = [golden["in.latents"], golden["in.vae_posterior_noise"]]
    draws = iter([*draws, *(golden[f"in.noise.{t}"] for t in (749, 499, 249))])
    described = Conditioning(
        text=golden["in.prompt_embeds"], image=golden["in.ram_encoder_hidden_states"]
    )
    monkeypatch.setattr(SeeSR, "decoder_tile", notes["vae_decoder_tile_size"])
    monkeypatch.setattr(SeeSR, "describe", lambda *_: described)
    monkeypatch.setattr(SeeSR, "embed", lambda _, image, cond: replace(cond, image=next(tokens)))
    monkeypatch.setattr(
        "addsr_cli.engine.restoration.stacked_noise", lambda *_: lambda shape: next(draws)
    )
    restored = []
    by_regions = Sampling.by_regions
    monkeypatch.setattr(
        Sampling,
        "by_regions",
        lambda self: (restored.append(window) or window for window in by_regions(self)),
    )
    upscaler = Upscaler(str(write_bundle(tmp_path)), Machine(device="cpu", precision="fp32"))
    latent = OfficialTiles(
        tile=8 * notes["latent_tiled_size"], overlap=8 * notes["latent_tiled_overlap"]
    )
    upscaler.spec = replace(upscaler.spec, official_tiles=latent)
    photo = golden["in.image_u8"][0].permute(1, 2, 0).numpy()
    settings = Settings(scale=1, tiles="official", psr=notes["PSR_weight_used"])
    result = upscaler.upscale(photo, settings)
    [window] = restored
    picture = window.restored.clamp(0, 1)
    assert (picture[..., ::2, ::2] - golden["out.image_sub2"]).abs().max() < 1e-4
    matched = adain(window.restored, torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    expected = (matched.clamp(0, 1) * 255)[0].permute(1, 2, 0).numpy()
    assert np.abs(result.photo.samples - expected).max() <= 0.52
    assert "tiles=official" in result.provenance()["Comment"]
    assert "color=adain" in result.provenance()["Comment"]
