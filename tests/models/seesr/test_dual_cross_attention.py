"""UNet and ControlNet against the official classes: numbers, names and refusals."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.seesr.dual_cross_attention import (
    IMAGE_TOKENS,
    build_controlnet,
    build_unet,
    image_width,
    inner_name,
    load_pairs,
    outer_name,
)

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.stem for path in (GOLDEN / "unet_controlnet").glob("*.safetensors"))
BUILD = {"unet": build_unet, "controlnet": build_controlnet}
COUNTS = {"unet": (1102, 1_126_760_324), "controlnet": (522, 489_031_440)}


def weights(part):
    return load_file(GOLDEN / "models" / part / "diffusion_pytorch_model.safetensors")


def empty(part):
    config = json.loads((GOLDEN / "models" / part / "config.json").read_text())
    with torch.device("meta"):
        return BUILD[part](config, 512)


def network(part, state=None):
    net = empty(part)
    load_pairs(net, weights(part) if state is None else state, part)
    return net.eval()


@pytest.fixture(scope="module")
def nets():
    return network("unet"), network("controlnet")


def close(ours, golden):
    assert (ours - golden).abs().max() <= 1e-4 * max(1.0, float(golden.abs().max()))


@pytest.mark.parametrize("case", CASES)
def test_residuals_and_noise_prediction_are_the_official_ones(nets, case):
    unet, controlnet = nets
    golden = load_file(GOLDEN / "unet_controlnet" / f"{case}.safetensors")
    call = json.loads((GOLDEN / "unet_controlnet" / f"{case}.json").read_text())
    shared = {
        "encoder_hidden_states": golden["in.encoder_hidden_states"],
        "cross_attention_kwargs": {IMAGE_TOKENS: golden["in.image_encoder_hidden_states"]},
        "return_dict": False,
    }
    sample, t, control = (
        golden[f"in.{name}"] for name in ("sample", "timestep", "controlnet_cond")
    )
    options = {key: call[key] for key in ("conditioning_scale", "guess_mode")}
    with torch.no_grad():
        down, middle = controlnet(sample, t, controlnet_cond=control, **options, **shared)
        guided = unet(
            sample,
            t,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **shared,
        )[0]
        alone = unet(sample, t, **shared)[0]
    assert len(down) == 12
    for number, residual in enumerate(down):
        close(residual, golden[f"out.controlnet.down.{number}"])
    close(middle, golden["out.controlnet.mid"])
    close(guided, golden["out.unet"])
    close(alone, golden["out.unet_without_controlnet"])


@pytest.mark.parametrize("part", BUILD)
def test_at_full_size_every_official_key_and_shape_is_there(part):
    listed = json.loads((GOLDEN / "fullsize_keys" / f"{part}.json").read_text())
    config = (
        json.loads((GOLDEN / "models" / part / "config.json").read_text())
        | listed["meta"]["config"]
    )
    with torch.device("meta"):
        net = BUILD[part](config, 512)
    ours = {outer_name(key): list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {key: entry["shape"] for key, entry in listed["keys"].items()}
    assert (len(ours), sum(p.numel() for p in net.parameters())) == COUNTS[part]


@pytest.mark.parametrize("part", BUILD)
def test_names_go_in_and_out_unchanged(part):
    keys = list(weights(part))
    assert [outer_name(inner_name(key)) for key in keys] == keys
    assert set(map(inner_name, keys)) == set(empty(part).state_dict())


def test_the_official_switch_in_the_config_is_no_matter_for_a_warning():
    empty("unet")  # warnings are errors here


def test_leftovers_of_a_training_idea_are_tolerated():
    network("controlnet", weights("controlnet") | {"align.proj.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("conv_in.bias"), "missing: conv_in.bias"),
        (
            lambda s: s.pop("mid_block.image_attentions.0.norm.bias"),
            "missing: mid_block.image_attentions.0.norm.bias",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), "not expected: extra"),
        (lambda s: s.update({"conv_in.bias": torch.zeros(3)}), "another shape: conv_in.bias"),
    ],
    ids=["missing", "missing image attention", "unknown", "shape"],
)
def test_anything_else_is_refused_by_name(change, words):
    state = weights("unet")
    change(state)
    with pytest.raises(ModelUnavailable, match=words):
        network("unet", state)


def test_many_wrong_keys_are_counted_not_listed():
    with pytest.raises(ModelUnavailable, match=r"and \d+ more"):
        load_pairs(empty("unet"), {}, "UNet")


def test_a_plain_network_is_recognised():
    plain = {key: value for key, value in weights("unet").items() if "image_attentions" not in key}
    with pytest.raises(ModelUnavailable, match="plain Stable Diffusion"):
        image_width(plain, "UNet")


def test_the_width_of_image_tokens_is_read_from_the_weights():
    assert image_width(weights("controlnet"), "ControlNet") == 512


def test_without_image_tokens_the_network_does_not_run(nets):
    with pytest.raises(KeyError, match=IMAGE_TOKENS):
        nets[0](torch.zeros(1, 4, 8, 8), 999, torch.zeros(1, 77, 20), cross_attention_kwargs={})
