"""The UNet that ships as nano: its basis, its receptive field, and its start as the identity."""

import pytest
import torch

from addsr_cli.models.nano.architecture import NANO
from addsr_cli.models.nano.restorer import build_nano
from addsr_cli.models.nano.unet import UNetConfig, block_dct, deviations
from addsr_cli.models.restorer import Conditioning

SMALL = UNetConfig(channels=(8, 8, 8), depths=(1, 1, 1), embedding=8)


@pytest.fixture
def nano():
    torch.manual_seed(0)
    return build_nano(SMALL)


@pytest.fixture
def stirred(nano):
    """A nano with random weights in every layer."""
    with torch.no_grad():
        for p in nano.net.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return nano


def denoise_once(nano, z, control, t=999):
    with torch.inference_mode():
        return nano.denoise(z, torch.full((len(z),), t), control, Conditioning())


def inputs(h, w):
    return torch.randn(1, 48, h, w), torch.rand(1, 3, 4 * h, 4 * w)


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


@pytest.mark.parametrize("t", [999, 249])
def test_an_untrained_network_returns_its_control(nano, t):
    z, control = inputs(5, 7)
    assert torch.allclose(nano.decode(denoise_once(nano, z, control, t)), control, atol=1e-6)


def test_an_odd_size_is_the_padded_size_cropped(stirred):
    z, control = inputs(5, 7)
    wide = torch.nn.functional.pad(z, (0, 1, 0, 3), "replicate")
    latent = torch.nn.functional.pad(stirred.encode(control), (0, 1, 0, 3), "replicate")
    assert torch.allclose(
        denoise_once(stirred, z, control),
        denoise_once(stirred, wide, stirred.decode(latent))[..., :5, :7],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("channels", "depths"), [((8,), (1, 1)), ((0, 8), (1, 1)), ((8, 8), (1, 0)), ((), ())]
)
def test_levels_must_match(channels, depths):
    with pytest.raises(ValueError, match=r"per level|empty"):
        UNetConfig(channels=channels, depths=depths)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_the_network_sees_as_far_as_its_halo_and_no_further(stirred, cut):
    halo, stride, width = stirred.halo, stirred.net.stride, 3 * stirred.halo
    assert halo % stride == 0
    assert NANO.halo == halo * stirred.factor
    answers = []
    for value in (0, 1):
        z, control = (
            torch.full((1, 48, 4, width), 0.3),
            torch.linspace(0, 1, 4 * width).expand(1, 3, 16, -1).clone(),
        )
        z[..., : halo + cut], control[..., : 4 * (halo + cut)] = value, value
        answers.append(denoise_once(stirred, z, control, 749))
    farthest = int((answers[0] != answers[1]).any(1)[0].any(0).nonzero().max()) - (halo + cut - 1)
    assert halo - 2 * stride < farthest <= halo
