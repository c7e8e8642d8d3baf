"""The small model: its properties before training, and how it is stored."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli.engine.geometry import cut
from addsr_cli.engine.windows import stitch
from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.nano.architecture import ARCHITECTURE, NANO, SMALL
from addsr_cli.models.nano.doubling import split_into_phases
from addsr_cli.models.nano.restorer import (
    NanoConfig,
    build_nano,
    load_nano,
    save_nano,
    stored_config,
)
from addsr_cli.models.restorer import Conditioning
from addsr_cli.settings import PromptSettings
from addsr_cli.weights import loader

DENSE = NanoConfig(groups=(2, 1), width=8, growth=4, embedding=8, detail=8)
FOLDED = replace(DENSE, doublings=1, detail=6)


@pytest.fixture(params=[DENSE, FOLDED], ids=["two doublings", "one doubling"])
def nano(request):
    torch.manual_seed(0)
    return build_nano(request.param)


def only(config):
    """Run a test on this network alone."""
    return pytest.mark.parametrize("nano", [config], indirect=True)


def stir(nano):
    """Fill every layer with random weights."""
    with torch.no_grad():
        for p in nano.net.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return nano


@pytest.fixture
def stirred(nano):
    """A nano with random weights in every layer."""
    return stir(nano)


@pytest.fixture
def file(stirred, tmp_path):
    save_nano(stirred.net, tmp_path / "nano.safetensors", {"steps": "7"})
    return tmp_path / "nano.safetensors"


def denoise_once(nano, z, control, t=999):
    with torch.inference_mode():
        return nano.denoise(z, torch.full((len(z),), t), control, Conditioning())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


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


def test_the_noise_of_the_first_step_reaches_the_network_damped(stirred):
    (z, control), seen = inputs(4, 4), []
    stirred.net.noisy_in.register_forward_pre_hook(
        lambda layer, layer_inputs: seen.append(layer_inputs[0])
    )
    denoise_once(stirred, z, control, 999)
    assert torch.allclose(seen[0], 0.0682649 * z, atol=1e-5)


def test_noise_and_timestep_count_for_nothing_until_their_layers_have_learnt(nano):
    (z, control), (other, _) = inputs(5, 7), inputs(5, 7)
    answer = denoise_once(nano, z, control, 999)
    assert (answer - nano.encode(control)).abs().max() > 1e-3
    assert torch.equal(denoise_once(nano, other, control, 249), answer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.9)])
def test_a_constant_picture_is_left_exactly_alone(stirred, colour, dtype):
    z, _ = inputs(9, 7)
    control = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 36, 28)
    stirred.net.to(dtype)
    assert torch.equal(denoise_once(stirred, z, control), stirred.encode(control))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_dtype_rounds_only_the_networks_residual(stirred, dtype):
    z, control = inputs(9, 7)
    added = (denoise_once(stirred, z, control) - stirred.encode(control)).abs().max()
    exact = denoise_once(stirred, z, control)
    stirred.net.to(dtype)
    narrow = denoise_once(stirred, z, control)
    assert narrow.dtype == torch.float32
    assert (narrow - exact).abs().max() < 0.05 * added


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_type_keeps_every_digit_of_the_control(stirred, dtype):
    torch.nn.init.zeros_(stirred.net.out.weight)
    torch.nn.init.zeros_(stirred.net.out.bias)
    z, control = inputs(9, 7)
    wide = denoise_once(stirred, z, control)
    stirred.net.to(dtype)
    assert torch.equal(denoise_once(stirred, z, control), wide)


def test_a_narrow_network_paints_in_float32(stirred):
    z, control = inputs(9, 7)
    stirred.net.to(torch.bfloat16)
    painted = stirred.decode(denoise_once(stirred, z, control)) - control
    assert not torch.equal(painted.bfloat16().float(), painted)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 7), (6, 4), (8, 8), (9, 3)])
def test_any_latent_size_works(stirred, size):
    z, control = inputs(*size)
    output = denoise_once(stirred, z, control)
    assert output.shape == z.shape
    assert output.dtype == torch.float32
    assert output.isfinite().all()


def test_every_input_matters(stirred):
    z, control = inputs(8, 8)
    output = denoise_once(stirred, z, control)
    assert not torch.allclose(denoise_once(stirred, z, control.flip(3)), output, atol=1e-3)
    assert not torch.allclose(denoise_once(stirred, z.flip(3), control), output, atol=1e-3)
    assert not torch.allclose(denoise_once(stirred, z, control, t=249), output, atol=1e-6)


def test_samples_of_a_batch_do_not_mix(stirred):
    z, control = inputs(6, 5, batch=3)
    alone = torch.cat([denoise_once(stirred, z[k : k + 1], control[k : k + 1]) for k in range(3)])
    assert torch.allclose(denoise_once(stirred, z, control), alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_network_still_answers_in_float32(stirred, dtype):
    z, control = inputs(8, 8)
    wide = denoise_once(stirred, z, control)
    stirred.net.to(dtype)
    narrow = denoise_once(stirred, z, control)
    assert narrow.dtype == torch.float32
    assert (narrow - wide).abs().mean() < 0.02 * wide.abs().mean()


def test_it_reads_neither_pictures_nor_text(nano):
    cond = Conditioning(tags="a fox")
    assert nano.describe(torch.rand(1, 3, 8, 8), PromptSettings(prompt="a cat")) == Conditioning()
    assert nano.embed(torch.rand(1, 3, 8, 8), cond) is cond


def test_saved_weights_are_loaded_unchanged(stirred, file):
    loaded = load_nano(file)
    z, control = inputs(8, 8)
    assert torch.equal(denoise_once(loaded, z, control), denoise_once(stirred, z, control))
    assert loaded.net.config == stirred.net.config


def test_half_size_storage_is_the_rounded_weights(stirred, tmp_path):
    save_nano(stirred.net, tmp_path / "half", dtype=torch.float16)
    loaded, stored = load_nano(tmp_path / "half").net.state_dict(), load_file(tmp_path / "half")
    assert all(value.dtype == torch.float16 for value in stored.values())
    for key, value in stirred.net.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())


def test_the_file_records_its_architecture(file):
    with safe_open(file, framework="pt") as opened:
        notes = opened.metadata()
    assert (notes["arch"], notes["steps"]) == ("nano", "7")
    assert json.loads(notes["config"])["groups"] == [2, 1]


@pytest.mark.parametrize(("groups", "spec"), [((6, 6), NANO), ((6, 7), SMALL)])
def test_a_file_is_planned_like_the_bundled_network_of_its_depth(tmp_path, groups, spec):
    file = tmp_path / "nano.safetensors"
    save_nano(build_nano(replace(DENSE, groups=groups)).net, file)
    config = stored_config(file)
    assert config.groups == groups
    assert ARCHITECTURE.spec(file) == replace(spec, most_steps=None, halo=4 * config.halo)


def test_other_files_have_no_configuration(tmp_path):
    (tmp_path / "other").write_bytes(b"no tensors")
    assert stored_config(tmp_path / "other") is None
    assert stored_config(tmp_path / "missing") is None


def spoil(file, config=None, drop=(), **extra):
    """Write a file again with another configuration, fewer or more tensors."""
    with safe_open(file, framework="pt") as opened:
        notes = opened.metadata()
    state = {key: value for key, value in load_file(file).items() if key not in drop} | extra
    save_file(
        state,
        file,
        {**notes, "config": json.dumps(config) if config is not None else notes["config"]},
    )


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


def test_missing_weights_are_refused(file):
    spoil(file, drop=("out.weight",))
    with pytest.raises(ModelUnavailable, match=r"out\.weight"):
        load_nano(file)


def test_unknown_weights_are_refused(file):
    spoil(file, stranger=torch.zeros(1))
    with pytest.raises(ModelUnavailable, match="stranger"):
        load_nano(file)


def fitting(**changes):
    """The configuration of the file, changed."""
    return {"groups": [2, 1], "width": 8, "growth": 4, "embedding": 8, "detail": 8} | changes


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        "nano",
        3,
        {"groups": [2, 1]},
        {"width": 8, "growth": 4, "embedding": 8},
        fitting(groups=[2]),
        fitting(groups=[1, 2]),
        fitting(groups=[2, 1, 0]),
        fitting(groups=["a", "b"]),
        fitting(groups=[2.0, 1]),
        fitting(groups=[]),
        fitting(groups=3),
        fitting(growth=8),
        fitting(embedding=10**30),
        fitting(colour="red"),
        fitting(scaling_factor=float("nan")),
        fitting(scaling_factor=0),
        fitting(scaling_factor="2"),
        fitting(detail=6),
        fitting(doublings=1),
        fitting(doublings=3),
        {"channels": [8, 8, 8], "depths": [1, 1, 1], "embedding": 8},
    ],
)
@only(DENSE)
def test_a_configuration_that_does_not_fit_is_refused(file, config):
    spoil(file, config=config)
    with pytest.raises(ModelUnavailable) as caught:
        load_nano(file)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "config",
    [
        fitting(groups=[100_000_000, 1]),
        fitting(width=100_000),
        fitting(growth=100_000),
        fitting(embedding=10**9),
        fitting(groups=[1] * 100_000),
    ],
    ids=["depth", "width", "growth", "embedding", "groups"],
)
@only(DENSE)
def test_a_configuration_beyond_the_file_is_refused_before_memory_is_taken(file, config):
    spoil(file, config=config)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used_memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_memory + 256_000_000, limit[1]))
    try:
        with pytest.raises(ModelUnavailable, match="not a nano model"):
            load_nano(file)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


@only(DENSE)
def test_weights_of_another_size_are_one_error(file):
    spoil(file, config=fitting(width=16))
    with pytest.raises(ModelUnavailable, match=r"control_in.*and \d+ more") as caught:
        load_nano(file)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(file, value):
    broken = load_file(file)["out.bias"]
    broken[2] = value
    spoil(file, **{"out.bias": broken})
    with pytest.raises(ModelUnavailable, match=r"out\.bias"):
        load_nano(file)


def test_weights_that_are_zero_throughout_are_refused(file):
    spoil(file, **{key: torch.zeros_like(value) for key, value in load_file(file).items()})
    with pytest.raises(ModelUnavailable, match="zero"):
        load_nano(file)


def test_whole_numbers_are_no_weights(file):
    spoil(file, **{"out.bias": load_file(file)["out.bias"].long()})
    with pytest.raises(ModelUnavailable, match="whole numbers"):
        load_nano(file)


@pytest.mark.parametrize(
    "wrong", [{"groups": ()}, {"groups": (1, 0)}, {"width": 0}, {"growth": 1.5}, {"detail": 0}]
)
def test_sizes_are_whole_numbers_of_at_least_one(wrong):
    with pytest.raises(ValueError, match="whole numbers"):
        NanoConfig(**wrong)


SHIPPED = pytest.mark.parametrize(
    ("spec", "config"),
    [
        (NANO, NanoConfig(groups=(3, 3, 3, 3), doublings=1, detail=32)),
        (SMALL, NanoConfig()),
    ],
)


@SHIPPED
def test_the_bundled_files_are_the_networks_that_are_planned(spec, config):
    assert load_nano(loader.locate(spec.name).file).net.config == config


@SHIPPED
def test_the_registry_knows_how_large_the_networks_are(spec, config):
    with torch.device("meta"):
        net = build_nano(config).net
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(
        spec.footprint.parameters, rel=0.02
    )


@SHIPPED
def test_the_registry_knows_how_much_work_a_pixel_is(spec, config):
    nano, (z, control) = build_nano(config), inputs(24, 24)
    split_into_phases(nano.net)
    with FlopCounterMode(display=False) as counter:
        denoise_once(nano, z, control)
    assert counter.get_total_flops() / (24 * 24 * 16) == pytest.approx(
        spec.footprint.flop, rel=0.05
    )


@SHIPPED
def test_the_spec_has_the_halo_of_the_configuration(spec, config):
    assert spec.halo == config.halo * 4


@pytest.mark.parametrize("groups", [(1,), (2, 1)])
def test_a_row_of_dense_blocks_sees_as_far_as_its_reach_and_no_further(groups):
    torch.manual_seed(0)
    nano = stir(build_nano(NanoConfig(groups=groups, width=8, growth=4, embedding=8)))
    reach = nano.net.config.reach
    assert reach == 5 * sum(groups) + 4
    z, control = (each.requires_grad_() for each in inputs(3, 2 * reach + 9))
    nano.denoise(z, torch.tensor([749]), control, Conditioning())[..., reach + 4].sum().backward()
    seen = z.grad.abs().amax((0, 1, 2)).nonzero().flatten() - (reach + 4)
    shown = control.grad.abs().amax((0, 1, 2)).nonzero().flatten() // 4 - (reach + 4)
    assert (shown.min(), shown.max()) == (-reach, reach)
    assert (seen.min(), seen.max()) == (
        1 - reach,
        reach - 1,
    )  # its first layer looks at single blocks


def test_a_short_reach_is_the_halo_and_a_long_one_is_truncated():
    assert DENSE.halo == DENSE.reach == 19
    assert NanoConfig().halo < NanoConfig().reach


@pytest.mark.parametrize("size", [(30, 41), (50, 20)])
@only(DENSE)
def test_tiles_with_their_halo_are_the_whole_picture(stirred, size):
    z, control = inputs(*size)
    whole = denoise_once(stirred, z, control)
    everything = (slice(0, size[0]), slice(0, size[1]))
    places = cut(everything, 16, stirred.halo, size, 1)
    tiles = stitch(
        torch.zeros_like(whole),
        places,
        lambda box: denoise_once(stirred, z[..., *box], control[..., *four(box)]),
    )
    assert torch.allclose(tiles, whole, atol=1e-5)


def four(box):
    """A box of blocks in pixels."""
    return [slice(4 * side.start, 4 * side.stop) for side in box]
