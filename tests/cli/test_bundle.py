"""The full model's path through the command line, with a bundle of random numbers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import write_bundle
from PIL import Image
from safetensors.torch import load_file, save_file

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.weights.loader import DTYPES, load, locate


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("models") / "golden")


@pytest.fixture(scope="module")
def upscaler(bundle):
    return Upscaler(str(bundle), Machine(device="cpu", precision="fp32"))


@pytest.fixture
def photo(tmp_path):
    y, x = np.mgrid[:18, :27]
    waves = [127 + 100 * np.sin(x / (2 + k) + k) * np.cos(y / (3 + k)) for k in range(3)]
    Image.fromarray(np.stack(waves, 2).astype(np.uint8)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def pixels(seed=0, height=16, width=16):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_the_tagger_is_in_float32_whatever_the_precision(bundle, dtype):
    networks = load(locate(str(bundle)), device="cpu", dtype=dtype)
    narrow = DTYPES[dtype]
    for part, expected in (
        (networks.unet, narrow),
        (networks.vae, narrow),
        (networks.tagger, torch.float32),
    ):
        assert {p.dtype for p in part.parameters()} == {expected}
    assert networks.halo is None


def test_tags_and_prompt_are_combined_and_recorded(addsr, bundle, photo, tmp_path):
    outcome = addsr(
        "upscale", photo, "--model", bundle, "--prompt", "a cat", "--steps", 4, "--json"
    )
    assert outcome.code == 0
    record = json.loads(outcome.out)
    assert (record["status"], record["size_out"], record["steps"]) == ("ok", [108, 72], 4)
    assert record["tags"].startswith("tag")
    assert record["prompt"].startswith(f"{record['tags']}, a cat,clean")
    with Image.open(tmp_path / "photo_x4.jpg") as image:
        assert image.size == (108, 72)
    assert "Loading" not in outcome.err


def test_all_prompt_options_reach_the_network(addsr, bundle, photo):
    options = (
        "--tags",
        "a fox",
        "--prompt",
        "at dusk",
        "--added-prompt",
        "sharp",
        "--guidance",
        2.5,
    )
    more = ("--negative-prompt", "blur", "--conditioning-scale", 0.7, "--steps", 2, "--json")
    outcome = addsr("upscale", photo, "--model", bundle, *options, *more)
    record = json.loads(outcome.out)
    assert (record["tags"], record["prompt"]) == ("a fox", "a fox, at dusk,sharp")


BASE = Settings(steps=2, color="none", tags="fox")


@pytest.fixture(scope="module")
def plain(upscaler):
    """The output with the settings of ``BASE``."""
    return upscaler.upscale(pixels(), BASE).photo.rgb


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a red house"},
        {"tags": "none"},
        {"added_prompt": ""},
        {"guidance": 4.0},
        {"conditioning_scale": 0.5},
        {"start": "noise"},
        {"seed": 1},
        {"psr": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_changes_the_picture(upscaler, plain, change):
    other = upscaler.upscale(pixels(), replace(BASE, **change)).photo.rgb
    assert np.abs(plain - other).max() > 1e-3


def test_a_negative_prompt_counts_under_guidance_only(upscaler):
    def run(**more):
        return upscaler.upscale(pixels(), Settings(steps=1, color="none", **more)).photo.rgb

    assert (run() == run(negative_prompt="ugly")).all()
    assert np.abs(run(guidance=4.0) - run(guidance=4.0, negative_prompt="ugly")).max() > 1e-3


@pytest.mark.parametrize(
    "option", [("--guidance", 21), ("--guidance", -1), ("--conditioning-scale", 5)]
)
def test_impossible_weights_are_refused(addsr, bundle, photo, option):
    assert addsr("upscale", photo, "--model", bundle, *option).code == 2


def test_prompt_options_for_a_model_without_text_are_noted(addsr, photo):
    outcome = addsr("upscale", photo, "--model", "nano", "--tags", "a fox", "--steps", 1)
    assert outcome.code == 0
    assert "reads no text" in outcome.err


def test_a_small_photo_is_worked_on_at_the_size_the_networks_know(bundle):
    record = json.loads((bundle / "bundle.json").read_text())
    assert record["shortest"] == 64
    plan = Upscaler(str(bundle)).plan(10, 8, Settings(scale=2))[0]
    assert (plan.width, plan.height) == (80, 64)
    result = Upscaler(str(bundle)).upscale(pixels(height=8, width=10), Settings(scale=2, steps=1))
    assert result.photo.size == (20, 16)


def test_the_same_seed_gives_the_same_picture(upscaler):
    first, again = (
        upscaler.upscale(pixels(), Settings(steps=2, seed=7)).photo.rgb for _ in range(2)
    )
    assert (first == again).all()


def test_numbers_that_overflow_lead_to_a_wider_type(bundle, monkeypatch):
    true, types = SeeSR.denoise, []

    def overflowing(self, z, t, control, cond):
        types.append(self._weight.dtype)
        output = true(self, z, t, control, cond)
        return output * float("inf") if types[-1] != torch.float32 else output

    monkeypatch.setattr(SeeSR, "denoise", overflowing)
    upscaler = Upscaler(str(bundle), Machine(device="cpu", precision="bf16"))
    result = upscaler.upscale(pixels(), Settings(steps=2))
    assert types == [torch.bfloat16, torch.float32, torch.float32]
    assert result.plan.dtype == "fp32"
    assert any("continued with" in note for note in result.warnings)
    assert np.isfinite(result.photo.rgb).all()


def test_the_model_hash_covers_every_file(bundle, tmp_path):
    copy = write_bundle(tmp_path / "copy")
    assert locate(str(copy)).digest() == locate(str(bundle)).digest()
    path = copy / "tokenizer" / "merges.txt"
    path.write_text(path.read_text() + "\n")
    Bundle.read(copy).write(copy)
    assert locate(str(copy)).digest() != locate(str(bundle)).digest()


@pytest.mark.parametrize(
    "part", ["unet", "controlnet", "vae", "text_encoder", "tokenizer", "tagger"]
)
def test_a_missing_part_is_named(tmp_path, part):
    folder = write_bundle(tmp_path / "bundle")
    shutil.rmtree(folder / part)
    with pytest.raises(ModelUnavailable, match=f"lacks {part}"):
        Upscaler(str(folder)).upscale(pixels(), Settings(steps=1))


@pytest.mark.parametrize(
    "file", ["unet/diffusion_pytorch_model.safetensors", "tagger/model.safetensors"]
)
def test_a_broken_weight_file_is_one_error(addsr, photo, tmp_path, file):
    folder = write_bundle(tmp_path / "bundle")
    path = folder / file
    path.write_bytes(path.read_bytes()[:1000])
    outcome = addsr("upscale", photo, "--model", folder)
    assert outcome.code == 4
    assert "cannot be loaded" in outcome.err


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "addsr-bundle-1"}'])
def test_a_broken_record_is_one_error(tmp_path, text):
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(ModelUnavailable, match="not a bundle record"):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": "many"},
        {"parameters": -1},
        {"parameters": float("inf")},
        {"default_steps": 2.5},
        {"default_steps": True},
        {"guidance": float("nan")},
        {"guidance": "strong"},
        {"shortest": 10**12},
        {"name": ["golden"]},
        {"rule": {}},
        {"words": {"added_prompt": 5}},
        {"words": []},
        {"files": [1, 2]},
    ],
    ids=json.dumps,
)
def test_a_record_of_wrong_types_or_sizes_is_one_error(tmp_path, change):
    Bundle(name="golden", parameters=1).write(tmp_path)
    record = json.loads((tmp_path / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps(record | change))
    with pytest.raises(ModelUnavailable, match="not a bundle record"):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"parameters": ' + "9" * 100_000 + "}"], ids=["deep", "long"]
)
def test_a_record_that_python_cannot_parse_is_one_error(addsr, photo, tmp_path, text):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bundle.json").write_text(text)
    outcome = addsr("upscale", photo, "--model", tmp_path / "model")
    assert outcome.code == 4
    assert "not a bundle record" in outcome.err


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_weights_of_no_network_are_detected_on_loading_and_by_verify(addsr, photo, tmp_path, value):
    folder = write_bundle(tmp_path / "bundle")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(
        {key: torch.full_like(tensor, value) for key, tensor in load_file(path).items()}, path
    )
    Bundle.read(folder).write(folder)
    outcome = addsr("upscale", photo, "--model", folder)
    assert outcome.code == 4
    assert "unet: " in outcome.err
    verified = addsr("models", "verify", folder)
    assert verified.code == 4
    assert "unet/diffusion_pytorch_model.safetensors: " in verified.out


@pytest.mark.parametrize(("rule", "steps"), [("leading", 5), ("trailing", 2)])
def test_seesr_and_its_turbo_run_through_the_same_loop(tmp_path, rule, steps):
    from addsr_cli.models.bundle import PromptDefaults

    folder = write_bundle(tmp_path / "bundle")
    prompt_defaults = PromptDefaults(added_prompt="clean, high-resolution, 8k")
    record = {
        "name": "seesr",
        "parameters": 2_000_000,
        "prompt_defaults": prompt_defaults,
        "shortest_side": 64,
        "guidance": 5.5,
    }
    Bundle(**record, scheduler=rule, default_steps=steps).write(folder)
    upscaler = Upscaler(str(folder), Machine(device="cpu", precision="fp32"))
    calls, true = [], SeeSR.denoise

    class Watching(SeeSR):
        def denoise(self, z, t, control, cond):
            calls.append((int(t[0]), cond.guidance, control))
            return true(self, z, t, control, cond)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeeSR, "denoise", Watching.denoise)
        result = upscaler.upscale(pixels(), Settings(tags="none"))
    assert result.steps == steps == len(calls)
    assert calls[0][0] == (801 if rule == "leading" else 999)
    assert {guidance for _, guidance, _ in calls} == {5.5}
    assert all(control is calls[0][2] for _, _, control in calls)
    assert result.prompt.endswith(",clean, high-resolution, 8k")
    assert np.isfinite(result.photo.rgb).all()


def test_a_model_of_four_steps_refuses_five(addsr, bundle, photo):
    outcome = addsr("upscale", photo, "--model", bundle, "--steps", 5)
    assert outcome.code == 2
    assert "1 to 4" in outcome.err
