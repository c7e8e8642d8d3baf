"""Networks are recognised from the names and shapes of their weights."""

import pytest
import torch
from one_pass_files import (
    published,
    save_compact_file,
    save_esrgan_file,
    tiny_compact,
    tiny_esrgan,
)
from safetensors.torch import save_file

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.single_pass.reading import read_network

PICTURE = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", ["new", "bsrgan", "old"])
@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_every_layout_of_esrgan_gives_the_same_picture(tmp_path, layout, doublings):
    file = save_esrgan_file(tmp_path / "x.pth", layout, doublings=doublings)
    network = read_network(file)
    assert (network.kind, network.scale) == ("ESRGAN", 2**doublings)
    expected = tiny_esrgan(doublings=doublings)(PICTURE)
    assert torch.allclose(network.enlarge(PICTURE), expected, atol=1e-5)


def test_a_network_that_folds_pixels_first_takes_any_size(tmp_path):
    network = read_network(save_esrgan_file(tmp_path / "x.pth", unshuffle=2))
    assert (network.scale, network.multiple) == (2, 2)
    odd = PICTURE[..., :5, :7]
    whole = torch.nn.functional.pad(odd, (0, 1, 0, 1), mode="reflect")
    expected = tiny_esrgan(unshuffle=2)(whole)[..., :10, :14]
    assert torch.allclose(network.enlarge(odd), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact_networks_are_recognised_with_their_scale(tmp_path, scale):
    network = read_network(save_compact_file(tmp_path / "x.pth", scale=scale))
    assert (network.kind, network.scale, network.halo) == ("compact", scale, 5)
    expected = tiny_compact(scale=scale)(PICTURE)
    assert torch.allclose(network.enlarge(PICTURE), expected, atol=1e-5)


def test_the_published_networks_have_the_published_numbers_of_weights():
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in net.parameters())
            for net in (
                tiny_compact(layers=32, width=64),
                tiny_esrgan(groups=6, width=64, growth=32),
            )
        ]
    assert counts == [1_213_296, 4_467_779]


@pytest.mark.parametrize("entry", ["params_ema", "params", "state_dict", None])
def test_the_weights_may_be_in_an_entry_and_have_a_prefix(tmp_path, entry):
    state = {f"module.{key}": value for key, value in published(tiny_esrgan(), "new").items()}
    torch.save({entry: state, "iteration": 7} if entry else state, tmp_path / "x.pth")
    assert read_network(tmp_path / "x.pth").scale == 4


def test_safetensors_and_half_precision_are_read_too(tmp_path):
    state = {key: value.half() for key, value in published(tiny_esrgan(), "new").items()}
    save_file(state, tmp_path / "x.safetensors")
    network = read_network(tmp_path / "x.safetensors")
    assert next(network.net.parameters()).dtype == torch.float32
    assert torch.allclose(network.enlarge(PICTURE), tiny_esrgan()(PICTURE), atol=0.02)


def test_a_grey_network_gets_the_luma_and_leaves_the_colours(tmp_path):
    network = read_network(save_compact_file(tmp_path / "x.pth", colours=1, scale=2))
    assert network.channels == 1
    grey = PICTURE.mean(1, keepdim=True).expand(1, 3, 6, 8)
    expected = tiny_compact(colours=1, scale=2)(grey[:, :1]).expand(1, 3, 12, 16)
    assert torch.allclose(network.enlarge(grey), expected, atol=1e-5)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    enlarged = (network.enlarge(PICTURE) * luma).sum(1, keepdim=True)
    expected = tiny_compact(colours=1, scale=2)((PICTURE * luma).sum(1, keepdim=True))
    assert torch.allclose(enlarged, expected, atol=1e-5)


def refused(file):
    with pytest.raises(ModelUnavailable) as caught:
        read_network(file)
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


class Harmful:
    """Its pickle would run code."""

    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def test_a_pickle_that_would_run_code_does_not(tmp_path):
    torch.save({"params": {"conv_first.weight": Harmful()}}, tmp_path / "x.pth")
    assert "would run" in refused(tmp_path / "x.pth")


def test_damaged_and_incomplete_files_are_one_line(tmp_path):
    file = save_esrgan_file(tmp_path / "x.pth")
    whole = file.read_bytes()
    for damaged in (b"", b"<html>quota</html>", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert refused(file)
    state = published(tiny_esrgan(), "new")
    del state["conv_hr.bias"]
    torch.save(state, file)
    assert "hr.bias" in refused(file)
    torch.save(
        published(tiny_esrgan(), "new") | {"conv_last.bias": torch.full((3,), torch.nan)}, file
    )
    assert "NaN" in refused(file)


def test_a_header_that_asks_for_much_memory_is_refused_before_it_is_taken(tmp_path):
    state = published(tiny_esrgan(), "new") | {"conv_first.weight": torch.zeros(300_000, 3, 1, 1)}
    torch.save(state, tmp_path / "x.pth")
    assert refused(tmp_path / "x.pth")
