"""Real-ESRGAN's generator: its file, its role as nano's start, and as a teacher."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F  # noqa: N812 (the field's name for it)

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.nano.restorer import NanoConfig, NanoNet, build_nano, save_nano
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.single_pass.esrgan import DEPTH, Esrgan
from addsr_cli.models.single_pass.teacher import (
    OnePassTeacher,
    begin_nano,
    is_esrgan,
    load_esrgan,
    save_esrgan,
)
from addsr_cli.settings import PromptSettings

SMALL = NanoConfig(groups=(2, 1), width=8, growth=4, embedding=8, detail=8)
KEPT = [(0, 0), (0, 2), (1, 1)]


@pytest.fixture
def origin():
    """Two groups, with weights large enough that every layer shows."""
    torch.manual_seed(0)
    net = Esrgan(groups=2, width=8, growth=4)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.2)
    return net.eval()


@pytest.fixture
def file(origin, tmp_path):
    save_esrgan(origin, tmp_path / "x4plus.safetensors", {"origin": "a test"})
    return tmp_path / "x4plus.safetensors"


@pytest.fixture
def initialized(origin):
    torch.manual_seed(1)
    nano = build_nano(SMALL)
    begin_nano(nano.net, origin, KEPT)
    return nano


def test_it_enlarges_four_times(origin):
    with torch.inference_mode():
        assert origin(torch.rand(2, 3, 5, 7)).shape == (2, 3, 20, 28)


def test_the_published_network_has_16_7_million_parameters():
    with torch.device("meta"):
        net = Esrgan()
    assert sum(p.numel() for p in net.parameters()) == 16_697_987


def test_saved_weights_are_loaded_unchanged_frozen_and_in_float32(origin, file):
    loaded = load_esrgan(file)
    assert not loaded.training
    for key, value in origin.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float())
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_file_of_this_kind_is_known_by_its_notes(file, tmp_path):
    save_nano(build_nano(SMALL).net, tmp_path / "nano.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    assert is_esrgan(str(file))
    for other in ("nano.safetensors", "text.safetensors", "missing.safetensors", "."):
        assert not is_esrgan(str(tmp_path / other))
    for name in ("", "nano", "seesr"):
        assert not is_esrgan(name)


def refused(path, *words):
    with pytest.raises(ModelUnavailable) as caught:
        load_esrgan(path)
    assert "\n" not in caught.value.message
    assert ":." not in caught.value.message
    for word in (str(path), *words):
        assert word in caught.value.message
    return True


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_one_error(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    assert refused(file)


def test_missing_and_foreign_files_are_one_error(tmp_path):
    save_nano(build_nano(SMALL).net, tmp_path / "nano.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("nano.safetensors", "other.safetensors", "missing.safetensors"):
        assert refused(tmp_path / name)


def spoil(file, drop=(), **extra):
    state = {key: value for key, value in load_file(file).items() if key not in drop}
    save_file(state | extra, file, {"arch": "esrgan"})


def test_weights_that_lack_or_are_too_many_or_of_another_size_are_named(file):
    whole = file.read_bytes()
    for damage, words in (
        ({"drop": ("up1.weight",)}, "up1.weight"),
        ({"stranger": torch.zeros(1)}, "stranger"),
        ({"hr.weight": torch.zeros(8, 8, 1, 1)}, "hr.weight"),
        ({"body.1.0.layers.9.bias": torch.zeros(1)}, "layers.9"),
        ({"first.weight": torch.tensor(1.0)}, "not those of one"),
        ({"body.x.0.layers.0.bias": torch.zeros(1)}, "lacks body.2"),
    ):
        file.write_bytes(whole)
        spoil(file, **damage)
        assert refused(file, words)


def test_a_number_of_groups_beyond_the_file_is_refused_before_memory_is_taken(file):
    spoil(file, **{"body.99999999.0.layers.0.bias": torch.zeros(4)})
    assert refused(file, "lacks")  # it counts as one group more


def test_weights_that_are_no_numbers_are_refused(file):
    spoil(file, **{"last.bias": torch.full((3,), float("nan"))})
    assert refused(file, "last.bias")


def test_nano_begins_with_the_blocks_that_are_kept_and_the_last_layers(initialized, origin):
    blocks = initialized.net.dense_blocks()
    for block, (group, place) in zip(blocks, KEPT, strict=True):
        wanted = origin.body[group][place].state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in block.state_dict().items())
    pairs = (("up1", "up1"), ("up2", "up2"), ("detail", "hr"), ("out", "last"))
    for ours, theirs in (("body_out", "body_out"), *pairs):
        for key in ("weight", "bias"):
            layer, source = initialized.net.get_submodule(ours), origin.get_submodule(theirs)
            assert torch.equal(getattr(layer, key), getattr(source, key))


def test_layers_that_only_nano_has_keep_their_weights(origin):
    torch.manual_seed(1)
    nano = build_nano(SMALL)
    names = ("time", "noisy_in", "body.0.modulation", "body.1.modulation")
    before = {
        name: {k: v.clone() for k, v in nano.net.get_submodule(name).state_dict().items()}
        for name in names
    }
    begin_nano(nano.net, origin, KEPT)
    for name, state in before.items():
        assert all(
            torch.equal(value, state[k])
            for k, value in nano.net.get_submodule(name).state_dict().items()
        )


def test_a_nano_of_another_depth_is_refused(origin):
    with pytest.raises(ValueError, match="2 dense blocks for a network of 3"):
        begin_nano(NanoNet(SMALL), origin, KEPT[:2])


@pytest.mark.parametrize("scaling", [1.0, 2.0])
def test_of_a_picture_in_blocks_the_first_layer_sees_what_that_of_the_origin_sees(origin, scaling):
    nano = build_nano(
        NanoConfig(groups=(2, 1), width=8, growth=4, embedding=8, detail=8, scaling_factor=scaling)
    )
    begin_nano(nano.net, origin, KEPT)
    small = torch.rand(1, 3, 9, 11)
    large = F.interpolate(small, scale_factor=4, mode="nearest")
    with torch.inference_mode():
        seen, wanted = nano.net.control_in(nano.encode(large)), origin.first(small)
    inside = (
        ...,
        slice(1, -1),
        slice(1, -1),
    )  # beyond the border there is grey for one and black for the other
    assert torch.allclose(seen[inside], wanted[inside], atol=1e-5)


def test_a_nano_of_all_blocks_has_the_features_of_its_origin_and_paints_its_picture(origin):
    nano = build_nano(NanoConfig(groups=(DEPTH, DEPTH), width=8, growth=4, embedding=8, detail=8))
    begin_nano(nano.net, origin, [(group, place) for group in range(2) for place in range(DEPTH)])
    small, seen = torch.rand(1, 3, 84, 84, generator=torch.Generator().manual_seed(0)), {}
    nano.net.body_out.register_forward_hook(lambda *words: seen.update(ours=words[-1]))
    origin.body_out.register_forward_hook(lambda *words: seen.update(theirs=words[-1]))
    with torch.inference_mode():
        large = F.interpolate(small, scale_factor=4, mode="nearest")
        answer = nano.denoise(
            torch.randn(1, 48, 84, 84), torch.tensor([999]), large, Conditioning()
        )
        wanted = origin(small)
    far = (..., slice(36, -36), slice(36, -36))  # farther from the border than these layers reach
    assert torch.allclose(seen["ours"][far], seen["theirs"][far], atol=1e-4)
    assert (nano.decode(answer) - large).abs().mean() > 0.1
    assert torch.allclose(
        answer[far], nano.encode(wanted)[far], atol=2e-3
    )  # the gate keeps 6e-5 of the control


@pytest.fixture
def teacher(origin):
    return OnePassTeacher(origin, build_nano(SMALL))


def answer(teacher, z, t, control):
    with torch.inference_mode():
        return teacher.denoise(z, torch.full((len(z),), t), control, Conditioning())


def test_the_teacher_answers_from_the_picture_it_is_shown_whatever_the_noise_and_the_timestep(
    teacher, origin
):
    hr = torch.rand(2, 3, 32, 24)
    first = answer(teacher, torch.randn(2, 48, 8, 6), 999, hr)
    assert torch.equal(answer(teacher, torch.zeros(2, 48, 8, 6), 249, hr), first)
    with torch.inference_mode():
        small = F.interpolate(hr, (8, 6), mode="bicubic", antialias=True).clamp(0, 1)
        expected = origin(small).clamp(0, 1)
    assert torch.allclose(teacher.decode(first), expected, atol=1e-5)
    assert first.dtype == torch.float32
    assert not torch.allclose(answer(teacher, torch.zeros(2, 48, 8, 6), 249, hr.flip(3)), first)


def test_the_teacher_is_a_restorer_that_predicts_clean_latents(teacher):
    image, z = torch.rand(1, 3, 16, 8), torch.randn(1, 48, 4, 2)
    assert torch.allclose(teacher.decode(teacher.encode(image)), image, atol=1e-6)
    assert teacher.encode(image).shape == (
        1,
        teacher.channels,
        16 // teacher.factor,
        8 // teacher.factor,
    )
    assert torch.equal(teacher.schedule.predict_z0(torch.randn_like(z), z, torch.tensor([499])), z)
    cond = Conditioning(tags="a fox")
    assert teacher.describe(image, PromptSettings(prompt="a cat")) == Conditioning()
    assert teacher.embed(image, cond) is cond
