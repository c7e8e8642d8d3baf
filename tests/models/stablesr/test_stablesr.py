"""StableSR's networks and sampling against tensors of the official code."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from stablesr_samples import SHARED, STABLESR, floats, write_stablesr
from torch.nn.functional import interpolate, pad

from addsr_cli import color
from addsr_cli.engine.geometry import boxes, offsets
from addsr_cli.engine.tiling import Tiled
from addsr_cli.engine.windows import blend, window
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.stablesr.loading import load_bundle
from addsr_cli.sampler import InitialState, sample, sampling_steps
from addsr_cli.schedule import Schedule
from addsr_cli.settings import PromptSettings

shared = pytest.mark.skipif(SHARED is None, reason="../shared/golden/stablesr is not here")


def close(ours, golden, most=1e-4):
    assert ours.shape == golden.shape
    assert (ours - golden).abs().max() <= most * max(1.0, float(golden.abs().max()))


def unit(image):
    """From [-1, 1] to [0, 1]."""
    return image / 2 + 0.5


def pixels(golden):
    """The photo (1, 3, h, w) in [0, 1]."""
    return golden["in.image_u8_hwc"].permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def stablesr(tmp_path_factory):
    """Converted from checkpoints with a random UNet, and loaded like any bundle."""
    folder = tmp_path_factory.mktemp("stablesr")
    return load_bundle(write_stablesr(folder / "bundle", folder / "files"))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Converted from checkpoints with the weights of the golden cases."""
    folder = tmp_path_factory.mktemp("official")
    main = floats(SHARED / "models" / "stablesr.safetensors")
    return load_bundle(write_stablesr(folder / "bundle", folder / "files", main))


@torch.inference_mode()
@pytest.mark.parametrize("case", ["0.0", "0.1", "1.0", "1.1"])
def test_the_time_aware_encoder_gives_the_official_maps(stablesr, case):
    golden = load_file(STABLESR / "structcond.safetensors")
    latent = golden[f"in.latent.{case[0]}"]
    maps = stablesr.unet.encode(latent, golden[f"in.timesteps.{case}"])
    for each in maps:
        close(each, golden[f"out.{case}.width{each.shape[-1]}"])


@torch.inference_mode()
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_decoder_takes_the_official_share_of_the_canvas(stablesr, weight):
    golden = load_file(STABLESR / "cfw.safetensors")
    cond = Conditioning(fidelity=weight)
    picture = stablesr.decode(golden["in.z"] * 0.18215, pixels(golden), cond)
    close(picture * 2 - 1, golden[f"out.decoded.w{weight}"])


@torch.inference_mode()
def test_at_fidelity_0_the_decoder_is_the_plain_one(stablesr):
    z, canvas = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 64, 64)
    plain = stablesr.decode(z)
    assert torch.equal(stablesr.decode(z, canvas, Conditioning(fidelity=0.0)), plain)
    own = stablesr.decode(z, canvas, Conditioning())
    assert torch.equal(own, stablesr.decode(z, canvas, Conditioning(fidelity=0.5)))
    assert not torch.allclose(own, plain)


@torch.inference_mode()
def test_the_latent_is_a_draw_from_the_official_posterior(stablesr):
    golden = load_file(STABLESR / "cfw.safetensors")
    mean, noise = golden["out.posterior.mean"], torch.randn(1, 4, 8, 12)
    std = (0.5 * golden["out.posterior.logvar"].clamp(-30, 20)).exp()
    close(stablesr.encode(pixels(golden), lambda shape: noise), 0.18215 * (mean + std * noise))


@torch.inference_mode()
def test_guidance_of_1_is_the_conditional_output_on_the_same_maps(stablesr):
    cond = stablesr.describe(torch.zeros(1, 3, 8, 8), PromptSettings(guidance=2.0, prompt="tree"))
    assert (cond.prompt, cond.guidance, cond.fidelity) == ("tree", 2.0, 0.5)
    z, control = torch.randn(2, 2, 4, 16, 16)
    t = torch.tensor([999, 3])
    plain = stablesr.denoise(z, t, control, replace(cond, negative=None))
    assert torch.allclose(
        stablesr.denoise(z, t, control, replace(cond, guidance=1.0)), plain, atol=1e-5
    )
    assert not torch.allclose(stablesr.denoise(z, t, control, cond), plain, atol=1e-3)


@torch.inference_mode()
def test_samples_of_a_batch_do_not_see_each_other(stablesr):
    cond = stablesr.describe(torch.zeros(1, 3, 8, 8), PromptSettings())
    z, control = torch.randn(2, 2, 4, 16, 16)
    t = torch.tensor([999, 3])
    both = stablesr.denoise(z, t, control, cond)
    for k in (0, 1):
        alone = stablesr.denoise(z[k : k + 1], t[k : k + 1], control[k : k + 1], cond)
        assert torch.allclose(both[k : k + 1], alone, atol=1e-5)


def test_denoising_without_text_is_refused(stablesr):
    z = torch.zeros(1, 4, 8, 8)
    with pytest.raises(ValueError, match="call describe first"):
        stablesr.denoise(z, torch.tensor([9]), z, Conditioning())


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "starts"),
    [
        (64, 64, 32, [0]),
        (100, 64, 32, [0, 32, 36]),
        (130, 64, 32, [0, 32, 64, 66]),
        (160, 96, 48, [0, 48, 64]),
        (28, 16, 8, [0, 8, 12]),
        (20, 16, 6, [0, 4]),
    ],
)
def test_tiles_lie_where_aggregation_sampling_has_them(length, tile, overlap, starts):
    assert offsets(length, tile, overlap) == starts


@shared
def test_tiles_have_the_official_corners_and_weights():
    golden, notes = case("aggregation")
    for each in notes["latent_tiles"]:
        tiles = boxes(*each["latent"], each["tile"], each["overlap"])
        ours = [(rows.start, columns.start) for rows, columns in tiles]
        assert sorted(ours) == sorted(map(tuple, each["tiles_top_left_in_order"]))
    for name in ("out.weights.tile16", "out.weights.tile64", "out.outer_weights.size32"):
        theirs = golden[name].double()
        ours = window(*theirs.shape).double()
        assert torch.allclose(ours / ours.sum(), theirs / theirs.sum(), rtol=1e-5, atol=0)


@shared
@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("adain", ""),
        ("adain", "_batch2"),
        ("wavelet", ""),
        ("wavelet", "_batch2"),
        ("wavelet", "_small"),
    ],
)
def test_colours_are_matched_as_in_the_official_scripts(method, suffix):
    golden, notes = case("color_fix")
    name = f"out.{method}{suffix}"
    content, style = (golden[f"in.{part}{suffix}"] for part in ("content", "style"))
    close(color.match(content.clone(), style, method), golden[name], notes["tolerance"])


class Recorded:
    """The network, which records what it gets and answers."""

    def __init__(self, inner):
        for name in ("schedule", "factor", "channels", "exact_codec", "halo", "latent_control"):
            setattr(self, name, getattr(inner, name))
        self.encode, self.decode, self.describe = inner.encode, inner.decode, inner.describe
        self.embed, self.inner, self.calls = inner.embed, inner, []

    def denoise(self, z, t, control, cond):
        self.calls.append((z, self.inner.denoise(z, t, control, cond), control))
        return self.calls[-1][1]


class UntiledCodec(Tiled):
    """As in the official script, where the VAE sees the whole canvas."""

    def encode(self, image, noise=None):
        return self.inner.encode(image, noise)

    def decode(self, z, canvas=None, cond=None):
        return self.inner.decode(z, canvas, cond)


def case(name):
    golden = load_file(SHARED / name / "tensors.safetensors")
    return golden, json.loads((SHARED / name / "tensors.json").read_text())


def noises(golden, times):
    """Return the recorded draws in the order in which the sampler uses them."""
    names = ["start", "posterior", *(f"step.{t}" for t in times[:-1])]
    draws = iter([golden[f"in.noise.{name}"] for name in names])
    return lambda shape: next(draws)


def official_canvas(golden, side):
    """The photo enlarged and padded as the official script does it, in [0, 1]."""
    photo = pixels(golden) * 2 - 1
    height, width = photo.shape[-2:]
    scale = max(side / min(height, width), 4)
    size = int(height * scale), int(width * scale)
    canvas = interpolate(photo, size=size, mode="bicubic", align_corners=False).clamp(-1, 1)
    if any(length % 32 for length in size):
        bottom, right = ((length // 32 + 1) * 32 - length for length in size)
        canvas = pad(canvas, (0, right, 0, bottom), mode="reflect")
    return unit(canvas)


def run(official, golden, notes, canvas, start, weight, prefix="out."):
    times, tile = notes["timesteps"], notes["tile_size_latent"]
    official.schedule = Schedule(
        prediction={"eps": "epsilon", "v": "v"}[notes["parameterization"]], scheduler="linspace"
    )
    assert list(official.schedule.timesteps(len(times))) == times
    inner = UntiledCodec(official, tile, notes["call"].get("--tile_overlap", 8))
    network, predictions = Recorded(inner), []
    image = sample(
        network,
        canvas,
        Conditioning(text=golden["in.context"], fidelity=weight),
        timesteps=times,
        noise=noises(golden, times),
        psr=None,
        start=start,
        on_step=lambda k, z0: predictions.append(z0),
    )
    for t, z0, (z, output, control) in zip(times, predictions, network.calls, strict=True):
        close(control, golden[f"{prefix}lr_latent"])
        close(z, golden[f"{prefix}step.{t}.latents"])
        close(output, golden[f"{prefix}step.{t}.model_output"])
        close(z0, golden[f"{prefix}step.{t}.x0"])
    close(predictions[-1], golden[f"{prefix}latents_final"])
    return image


def matched(image, canvas, notes):
    method = notes["call"]["--colorfix_type"]
    return color.match(image.clone(), canvas, "none" if method == "nofix" else method)


def off_by_one(image, golden):
    """The official files are truncated, ours rounded."""
    ours = (image.clamp(0, 1)[0].permute(1, 2, 0) * 255).round()
    assert (ours - golden["out.image_u8_hwc"].float()).abs().max() <= 1


@shared
@pytest.mark.parametrize("name", ["unet_a_square", "unet_b_batch2_wide"])
@torch.inference_mode()
def test_the_unet_gives_the_official_output(official, name):
    golden, _ = case(name)
    cond = Conditioning(text=golden["in.context"])
    sampled = golden["in.sample"]
    close(
        official.denoise(sampled, golden["in.timesteps"], golden["in.lr_latent"], cond),
        golden["out.model_output"],
    )


@pytest.mark.slow
@shared
def test_a_square_run_from_noise_is_the_official_one(official):
    golden, notes = case("run_square")
    canvas = unit(golden["out.canvas"])
    image = run(official, golden, notes, canvas, "noise", 0.5)
    close(image * 2 - 1, golden["out.decoded"])
    off_by_one(matched(image, canvas, notes), golden)


@pytest.mark.slow
@shared
@pytest.mark.parametrize(
    ("name", "weight"),
    [("run_canvas_tiled", 0.5), ("run_v_canvas", 0.5), ("run_canvas_small", 1.0)],
)
def test_aggregation_sampling_through_the_tiler_is_the_official_one(official, name, weight):
    golden, notes = case(name)
    canvas = official_canvas(golden, notes["input_size"])
    close(canvas[..., ::2, ::2] * 2 - 1, golden["out.canvas_sub2"])
    image = run(official, golden, notes, canvas, "lr", weight)
    close(image[..., ::2, ::2] * 2 - 1, golden["out.decoded_sub2"])
    image = matched(image, canvas, notes)
    height, width = golden["out.image_u8_hwc"].shape[:2]
    if name == "run_canvas_small":
        image = interpolate(image.clamp(0, 1), size=(height, width), mode="bicubic")
    off_by_one(image[..., :height, :width], golden)


@pytest.mark.slow
@shared
def test_a_large_official_run_is_four_runs_blended_as_pictures(official):
    golden, notes = case("run_outer_tiles")
    whole = official_canvas(golden, notes["input_size"])
    numbers = {(0, 0): 0, (32, 0): 1, (0, 64): 2, (32, 64): 3}

    def piece(box):
        prefix = f"out.tile{numbers[box[0].start, box[1].start]}."
        canvas = whole[..., *box].contiguous()
        image = run(official, golden, notes, canvas, "lr", 0.0, prefix)
        close(image[..., ::2, ::2] * 2 - 1, golden[f"{prefix}decoded_sub2"])
        # AdaIN's epsilon weighs less in [-1, 1], where the script works, than in [0, 1]
        scripts = matched(image * 2 - 1, canvas * 2 - 1, notes)
        close(scripts[..., ::2, ::2], golden[f"{prefix}color_fixed_sub2"])
        return matched(image, canvas, notes)

    tiles = boxes(*whole.shape[-2:], 160, 64)
    off_by_one(blend(torch.empty_like(whole), tiles, piece), golden)


@pytest.mark.slow
@shared
@torch.inference_mode()
def test_guided_sampling_in_tiles_is_the_official_one(official):
    golden, notes = case("sample_guided")
    official.schedule = Schedule(prediction="v", scheduler="linspace")
    tiled = Tiled(official, notes["tile_size_latent"], notes["tile_overlap"])
    cond = Conditioning(
        text=golden["in.context"],
        negative=golden["in.negative_context"],
        guidance=notes["guidance"],
    )
    latent = golden["in.lr_latent"]
    initial = InitialState(z=golden["in.x_T"], canvas=latent, cond=cond, control=latent)
    draws = iter([golden[f"in.noise.step.{t}"] for t in notes["timesteps"]])
    options = {"timesteps": notes["timesteps"], "noise": lambda shape: next(draws), "psr": None}
    for step in sampling_steps(tiled, initial, **options):
        close(step.z0, golden[f"out.step.{step.t}.x0"])
    close(step.z0, golden["out.latents_final"])
