"""The small model: what it promises before it has learnt anything, and how it is stored."""

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import pixel_unshuffle
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.nano import (
    NanoConfig,
    NanoNet,
    block_dct,
    build_nano,
    contrast_gate,
    deviations,
    load_nano,
    save_nano,
)
from addsr_cli.models.registry import NANO
from addsr_cli.models.restorer import Condition, Guide

SMALL = NanoConfig(channels=(8, 8, 8), depths=(1, 1, 1), embedding=8)


@pytest.fixture
def nano():
    torch.manual_seed(0)
    return build_nano(SMALL)


@pytest.fixture
def stirred(nano):
    """A nano whose layers all do something."""
    with torch.no_grad():
        for p in nano.net.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return nano


@pytest.fixture
def file(stirred, tmp_path):
    save_nano(stirred.net, tmp_path / "nano.safetensors", {"steps": "7"})
    return tmp_path / "nano.safetensors"


def ask(nano, z, control, t=999):
    with torch.inference_mode():
        return nano.denoise(z, torch.full((len(z),), t), control, Condition())


def inputs(h, w, batch=1):
    return torch.randn(batch, 48, h, w), torch.rand(batch, 3, 4 * h, 4 * w)


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (64, 32)])
def test_decoding_undoes_encoding(nano, size):
    image = torch.randint(0, 256, (2, 3, *size)) / 255
    before = image.clone()
    z = nano.encode(image)
    assert z.shape == (2, nano.channels, size[0] // nano.factor, size[1] // nano.factor)
    assert torch.allclose(nano.decode(z), image, atol=1e-6)
    assert torch.equal(image, before)


def test_encoding_undoes_decoding(nano):
    z = torch.randn(1, 48, 5, 3)
    before = z.clone()
    assert torch.allclose(nano.encode(nano.decode(z)), z, atol=1e-5)
    assert torch.equal(z, before)


def test_latents_of_pictures_have_about_unit_variance(nano):
    z = nano.encode(torch.rand(1, 3, 64, 64))
    assert z.mean().abs() < 0.1
    assert 0.8 < z.std() < 1.5


def test_the_block_transform_is_orthonormal_and_finds_the_mean():
    matrix = block_dct()
    assert torch.allclose(matrix @ matrix.T, torch.eye(48), atol=1e-6)
    flat = torch.full((48,), 0.3)
    assert torch.allclose((matrix @ flat)[::16], torch.full((3,), 1.2), atol=1e-6)
    assert (matrix @ flat).abs().sum() == pytest.approx(3.6, abs=1e-4)


def test_finer_detail_is_expected_to_be_weaker():
    expected = deviations(4.0)[:16]
    assert expected[0] == 4.0
    assert expected[1] == expected[4] > expected[2] == expected[8] > expected[15] > 0


def test_the_noise_of_the_first_step_reaches_the_network_damped(stirred):
    (z, control), seen = inputs(4, 4), []
    stirred.net.noisy_in.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    ask(stirred, z, control, 999)
    assert torch.allclose(seen[0], 0.0682649 * z, atol=1e-5)


def test_an_untrained_network_returns_its_control(nano):
    z, control = inputs(5, 7)
    assert torch.allclose(nano.decode(ask(nano, z, control)), control, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.9)])
def test_a_constant_picture_is_left_exactly_alone(stirred, colour, dtype):
    z, _ = inputs(9, 7)
    control = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 36, 28)
    stirred.net.to(dtype)
    assert torch.equal(ask(stirred, z, control), stirred.encode(control))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_type_rounds_only_what_the_network_adds(stirred, dtype):
    z, control = inputs(9, 7)
    added = (ask(stirred, z, control) - stirred.encode(control)).abs().max()
    exact = ask(stirred, z, control)
    stirred.net.to(dtype)
    narrow = ask(stirred, z, control)
    assert narrow.dtype == torch.float32
    assert (narrow - exact).abs().max() < 0.05 * added
    torch.nn.init.zeros_(stirred.net.out.weight)
    torch.nn.init.zeros_(stirred.net.out.bias)
    assert torch.equal(ask(stirred, z, control), stirred.encode(control))


def test_what_the_network_adds_grows_with_the_contrast_around():
    board = torch.zeros(1, 3, 4 * 16, 4 * 16)
    board[..., ::2, ::2] = 1
    gates = [contrast_gate(pixel_unshuffle(0.5 + contrast * board, 4), 0.01).mean() for contrast in (0, 0.002, 0.01, 1)]
    assert gates[0] == 0
    assert [gate.item() for gate in gates[1:]] == pytest.approx([1 / 26, 0.5, 1], abs=1e-3)
    dot = torch.full((1, 3, 4 * 16, 4 * 16), 0.5)
    dot[0, 1, 32, 32] = 1
    gate = contrast_gate(pixel_unshuffle(dot, 4), 0.01)[0, 0]
    assert gate[8, 8] > 0.999
    assert gate[8, :5].max() == 0
    assert gate[8, 12:].max() == 0
    assert (gate[8, 5:9].diff() >= -1e-6).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 7), (6, 4), (8, 8), (9, 3)])
def test_any_latent_size_works(stirred, size):
    z, control = inputs(*size)
    output = ask(stirred, z, control)
    assert output.shape == z.shape
    assert output.dtype == torch.float32
    assert output.isfinite().all()


def test_an_odd_size_is_the_padded_size_cropped(stirred):
    z, control = inputs(5, 7)
    wide = torch.nn.functional.pad(z, (0, 1, 0, 3), "replicate")
    latent = torch.nn.functional.pad(stirred.encode(control), (0, 1, 0, 3), "replicate")
    assert torch.allclose(ask(stirred, z, control), ask(stirred, wide, stirred.decode(latent))[..., :5, :7], atol=1e-5)


def test_every_input_matters(stirred):
    z, control = inputs(8, 8)
    output = ask(stirred, z, control)
    assert not torch.allclose(ask(stirred, z, control.flip(3)), output, atol=1e-3)
    assert not torch.allclose(ask(stirred, z.flip(3), control), output, atol=1e-3)
    assert not torch.allclose(ask(stirred, z, control, t=249), output, atol=1e-6)


def test_samples_of_a_batch_do_not_mix(stirred):
    z, control = inputs(6, 5, batch=3)
    alone = torch.cat([ask(stirred, z[k : k + 1], control[k : k + 1]) for k in range(3)])
    assert torch.allclose(ask(stirred, z, control), alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_network_still_answers_in_float32(stirred, dtype):
    z, control = inputs(8, 8)
    wide = ask(stirred, z, control)
    stirred.net.to(dtype)
    narrow = ask(stirred, z, control)
    assert narrow.dtype == torch.float32
    assert (narrow - wide).abs().mean() < 0.02 * wide.abs().mean()


def test_it_reads_neither_pictures_nor_text(nano):
    cond = Condition(tags="kept")
    assert nano.describe(torch.rand(1, 3, 8, 8), Guide(prompt="a cat")) == Condition()
    assert nano.embed(torch.rand(1, 3, 8, 8), cond) is cond


def test_what_is_saved_is_what_is_loaded(stirred, file):
    loaded = load_nano(file)
    z, control = inputs(8, 8)
    assert torch.equal(ask(loaded, z, control), ask(stirred, z, control))
    assert loaded.net.config == SMALL


def test_half_size_storage_is_the_rounded_weights(stirred, tmp_path):
    save_nano(stirred.net, tmp_path / "half", dtype=torch.float16)
    loaded, stored = load_nano(tmp_path / "half").net.state_dict(), load_file(tmp_path / "half")
    assert all(value.dtype == torch.float16 for value in stored.values())
    for key, value in stirred.net.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())


def test_the_file_says_what_it_is(file):
    with safe_open(file, framework="pt") as opened:
        notes = opened.metadata()
    assert (notes["arch"], notes["steps"]) == ("nano", "7")
    assert json.loads(notes["config"])["channels"] == [8, 8, 8]


def spoil(file, config=None, drop=(), **extra):
    """Write a file again with another configuration, fewer or more tensors."""
    with safe_open(file, framework="pt") as opened:
        notes = opened.metadata()
    state = {key: value for key, value in load_file(file).items() if key not in drop} | extra
    save_file(state, file, {**notes, "config": json.dumps(config) if config is not None else notes["config"]})


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelUnavailable, match="not a nano model"):
        load_nano(file)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"PK" + bytes(1000))
    save_file({"a": torch.zeros(1)}, tmp_path / "y")
    for name in ("x", "y", "missing"):
        with pytest.raises(ModelUnavailable, match=name):
            load_nano(tmp_path / name)


def test_missing_and_unknown_weights_are_refused(file):
    spoil(file, drop=("out.weight",))
    with pytest.raises(ModelUnavailable, match=r"out\.weight"):
        load_nano(file)


def test_unknown_weights_are_refused(file):
    spoil(file, stranger=torch.zeros(1))
    with pytest.raises(ModelUnavailable, match="stranger"):
        load_nano(file)


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        "nano",
        3,
        {"channels": [8, 8], "depths": [1]},
        {"channels": [8, 8], "depths": [1, 1], "embedding": 8},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8, "colour": "red"},
        {"channels": ["a", "b", "c"], "depths": [1, 1, 1]},
        {"channels": [], "depths": []},
        {"channels": [8, 8, 8], "depths": [1.0, 1, 1], "embedding": 8},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 10**30},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8, "scaling_factor": float("nan")},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8, "scaling_factor": 0},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8, "scaling_factor": "2"},
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(file, config):
    spoil(file, config=config)
    with pytest.raises(ModelUnavailable) as caught:
        load_nano(file)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "config",
    [
        {"channels": [8, 8, 8], "depths": [100_000_000, 1, 1], "embedding": 8},
        {"channels": [100_000, 8, 8], "depths": [1, 1, 1], "embedding": 8},
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 10**9},
        {"channels": [1] * 100_000, "depths": [1] * 100_000, "embedding": 8},
    ],
    ids=["depth", "width", "embedding", "levels"],
)
def test_a_configuration_beyond_the_file_is_refused_before_memory_is_taken(file, config):
    spoil(file, config=config)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 256_000_000, limit[1]))
    try:
        with pytest.raises(ModelUnavailable, match="not a nano model"):
            load_nano(file)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def test_weights_of_another_size_are_one_sentence(file):
    spoil(file, config={"channels": [8, 8, 16], "depths": [1, 1, 1], "embedding": 8})
    with pytest.raises(ModelUnavailable, match=r"middle.*and \d+ more") as caught:
        load_nano(file)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(file, value):
    broken = load_file(file)["out.bias"]
    broken[3] = value
    spoil(file, **{"out.bias": broken})
    with pytest.raises(ModelUnavailable, match=r"out\.bias"):
        load_nano(file)


def test_weights_that_are_zero_throughout_are_refused(file):
    spoil(file, **{key: torch.zeros_like(value) for key, value in load_file(file).items()})
    with pytest.raises(ModelUnavailable, match="zero"):
        load_nano(file)


def test_whole_numbers_are_no_weights(file):
    spoil(file, **{"out.bias": torch.zeros(48, dtype=torch.int64)})
    with pytest.raises(ModelUnavailable, match="whole numbers"):
        load_nano(file)


@pytest.mark.parametrize(("channels", "depths"), [((8,), (1, 1)), ((0, 8), (1, 1)), ((8, 8), (1, 0)), ((), ())])
def test_levels_must_match(channels, depths):
    with pytest.raises(ValueError, match=r"per level|empty"):
        NanoConfig(channels=channels, depths=depths)


def test_the_registry_knows_how_large_the_network_is():
    with torch.device("meta"):
        net = NanoNet(NanoConfig())
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(NANO.footprint.parameters, rel=0.02)


def test_the_registry_knows_how_much_work_a_pixel_is():
    net, z, t = NanoNet(NanoConfig()), torch.zeros(1, 48, 32, 32), torch.zeros(1)
    with FlopCounterMode(display=False) as counter:
        net(z, t, z)
    assert counter.get_total_flops() / (32 * 32 * 16) == pytest.approx(NANO.footprint.flop, rel=0.05)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_the_network_sees_as_far_as_its_halo_and_no_further(stirred, cut):
    halo, stride, width = stirred.halo, stirred.net.stride, 3 * stirred.halo
    assert halo % stride == 0
    assert NANO.halo == halo * stirred.factor
    answers = []
    for value in (0, 1):
        z, control = torch.full((1, 48, 4, width), 0.3), torch.linspace(0, 1, 4 * width).expand(1, 3, 16, -1).clone()
        z[..., : halo + cut], control[..., : 4 * (halo + cut)] = value, value
        answers.append(ask(stirred, z, control, 749))
    farthest = int((answers[0] != answers[1]).any(1)[0].any(0).nonzero().max()) - (halo + cut - 1)
    assert halo - 2 * stride < farthest <= halo
