"""Convolutions of a doubled picture, split into the phases of its pixels."""

import pytest
import torch

from addsr_cli.models.architecture import LoadOptions
from addsr_cli.models.nano.architecture import ARCHITECTURE
from addsr_cli.models.nano.doubling import DoublingConvolution, PhasedConvolution
from addsr_cli.models.nano.restorer import NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.restorer import Conditioning


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 3)])
def test_phases_are_the_doubled_picture_convolved(size):
    torch.manual_seed(0)
    layer = DoublingConvolution(3, 5)
    x = torch.randn(2, 3, *size)
    with torch.inference_mode():
        assert torch.allclose(PhasedConvolution(layer)(x), layer(x), atol=1e-6)


def test_in_half_precision_phases_are_as_close_to_float32_as_the_plain_form():
    torch.manual_seed(0)
    layer = DoublingConvolution(16, 16)
    x = torch.randn(1, 16, 24, 24).bfloat16()
    with torch.inference_mode():
        exact = layer(x.float())
        phased = PhasedConvolution(layer).bfloat16()(x)
        plain = layer.bfloat16()(x)
    assert phased.is_contiguous(memory_format=torch.channels_last)
    assert (phased - exact).abs().mean() < 1.1 * (plain - exact).abs().mean()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_a_loaded_network_paints_what_the_trained_one_does(tmp_path, dtype, tolerance):
    torch.manual_seed(0)
    save_nano(
        build_nano(NanoConfig(groups=(1,), width=8, growth=4, embedding=8)).net,
        tmp_path / "nano.safetensors",
    )
    trained = load_nano(tmp_path / "nano.safetensors")
    loaded = ARCHITECTURE.load(
        tmp_path / "nano.safetensors", LoadOptions(device="cpu", dtype=dtype)
    )
    assert any(isinstance(layer, PhasedConvolution) for layer in loaded.net.children())
    z = torch.randn(1, 48, 6, 5)
    control = torch.rand(1, 3, 24, 20)
    with torch.inference_mode():
        pictures = [
            nano.denoise(z, torch.tensor([999]), control, Conditioning())
            for nano in (trained, loaded)
        ]
    assert torch.allclose(*pictures, atol=tolerance)
