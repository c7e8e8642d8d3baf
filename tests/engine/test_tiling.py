"""Tiles cover the picture, blend, and match the result in one piece."""

import numpy as np
import pytest
import torch
from skimage import data

from addsr_cli.engine.tiling import Tiled
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.models.restorer import Conditioning
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Machine, Settings


class Pointwise:
    """A restorer whose network looks at one latent pixel at a time."""

    schedule, factor, channels, exact_codec, halo = Schedule(prediction="sample"), 2, 3, True, None
    latent_control = False

    def __init__(self):
        self.seen = []

    def nothing(self, *_):
        raise AssertionError("not called in these tests")

    encode = decode = describe = embed = nothing

    def denoise(self, z, t, control, cond):
        self.seen.append(tuple(z.shape[-2:]))
        return torch.sin(3 * z) + torch.nn.functional.avg_pool2d(control, 2)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (16, 50), (33, 47), (70, 17), (5, 3)])
@pytest.mark.parametrize("overlap", [0, 4, 8, 15])
def test_tiled_equals_untiled_for_a_pointwise_network(height, width, overlap):
    torch.manual_seed(0)
    z, control, t = (
        torch.randn(2, 3, height, width),
        torch.rand(2, 3, 2 * height, 2 * width),
        torch.tensor([999, 3]),
    )
    tiled = Tiled(Pointwise(), 16, overlap).denoise(z, t, control, Conditioning())
    assert torch.allclose(tiled, Pointwise().denoise(z, t, control, Conditioning()), atol=1e-6)


def test_the_network_never_sees_more_than_a_tile_and_each_tile_is_reported():
    inner, calls = Pointwise(), []
    tiled = Tiled(inner, 16, 4, lambda: calls.append(1))
    tiled.denoise(
        torch.zeros(1, 3, 40, 10), torch.tensor([0]), torch.zeros(1, 3, 80, 20), Conditioning()
    )
    assert inner.seen == [(16, 10)] * 3
    assert len(calls) == len(tiled.boxes(40, 10)) == 3


@pytest.mark.parametrize("overlap", [16, 20, -1])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        Tiled(Pointwise(), 16, overlap)


class Blur(Pointwise):
    """A network that sees three latent pixels around, of stride 2, with zeros outside."""

    halo = 4

    def __init__(self):
        super().__init__()
        self.shrink, self.grow = (torch.randn(3, 3, side, side) / side**2 for side in (2, 3))

    def denoise(self, z, t, control, cond):
        self.seen.append(tuple(z.shape[-2:]))
        small = torch.conv2d(torch.conv2d(z, self.shrink, stride=2), self.grow, padding=1)
        return torch.nn.functional.interpolate(
            small, size=z.shape[-2:]
        ) + torch.nn.functional.avg_pool2d(control, 2)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (16, 50), (34, 46), (70, 18), (4, 2)])
@pytest.mark.parametrize("tile", [8, 16, 32])
def test_tiles_with_their_halo_match_the_result_in_one_piece(height, width, tile):
    torch.manual_seed(0)
    inner, calls = Blur(), []
    z, control, t = (
        torch.randn(2, 3, height, width),
        torch.rand(2, 3, 2 * height, 2 * width),
        torch.tensor([999, 3]),
    )
    whole = inner.denoise(z, t, control, Conditioning())
    inner.seen.clear()
    tiler = Tiled(inner, tile, 0, lambda: calls.append(1), multiple=2)
    tiled = tiler.denoise(z, t, control, Conditioning())
    assert torch.allclose(tiled, whole, atol=1e-6)
    assert max(max(size) for size in inner.seen) <= tile + 2 * inner.halo
    assert len(calls) == -(-height // tile) * -(-width // tile)


@pytest.fixture(scope="module")
def cat():
    """A photograph, 67 x 45: fur and an eye; sides of the canvas that no stride divides."""
    return data.chelsea()[80:125, 120:187]


@pytest.fixture(scope="module")
def pictures(cat):
    """The bundled model's output by precision and tile side; None is in one piece."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # busy machines are shared
    runs = [(precision, tile) for precision in ("fp32", "bf16") for tile in (None, 128)]
    yield {each: run(cat, *each) for each in [*runs, ("fp32", 240)]}
    torch.set_num_threads(before)


def run(photo, precision, tile):
    machine = Machine(device="cpu", precision=precision, tile=tile or 4096)
    return Upscaler("nano", machine).upscale(photo, Settings(steps=1)).photo.rgb


@pytest.mark.parametrize(("precision", "tile"), [("fp32", 128), ("fp32", 240), ("bf16", 128)])
def test_the_bundled_model_makes_the_same_picture_in_tiles(pictures, precision, tile):
    eight_bit = {key: np.round(255 * picture) for key, picture in pictures.items()}
    assert np.abs(eight_bit[precision, tile] - eight_bit[precision, None]).max() <= 1


class Codec(Pointwise):
    """Its codec must be tiled: encoding draws, decoding looks at the values only."""

    exact_codec = False

    def encode(self, image, noise=None):
        z = torch.nn.functional.avg_pool2d(image, 2)
        return z if noise is None else z + noise(z.shape)

    def decode(self, z, canvas=None, cond=None):
        self.seen.append(tuple(z.shape[-2:]))
        return torch.nn.functional.interpolate(torch.cos(z), scale_factor=2)


def test_a_codec_that_is_not_exact_goes_through_tiles_with_one_noise_for_all():
    image, inner = torch.rand(1, 3, 80, 60), Codec()
    draws = torch.randn(1, 3, 40, 30)
    tiled = Tiled(inner, 16, 4)
    z = tiled.encode(image, lambda shape: draws)
    assert torch.allclose(z, inner.encode(image) + draws, atol=1e-5)
    assert torch.allclose(tiled.encode(image), inner.encode(image), atol=1e-5)
    assert torch.allclose(tiled.decode(z), Codec().decode(z), atol=1e-5)
    assert max(inner.seen) <= (16, 16)


class ReadsThePhoto(Codec):
    """The network reads the canvas's latent, the decoder the canvas and its share of it."""

    latent_control = True

    def denoise(self, z, t, control, cond):
        return torch.sin(3 * z) + control

    def decode(self, z, canvas=None, cond=None):
        large = torch.nn.functional.interpolate(torch.cos(z), scale_factor=2)
        return torch.lerp(large, canvas, cond.fidelity)


def test_latents_as_control_and_the_decoders_canvas_are_cut_as_the_latent_is():
    inner, cond, t = ReadsThePhoto(), Conditioning(fidelity=0.3), torch.tensor([9])
    z, control = torch.randn(2, 2, 3, 40, 30)
    canvas = torch.rand(2, 3, 80, 60)
    tiled = Tiled(inner, 16, 4)
    whole = inner.denoise(z, t, control, cond)
    assert torch.allclose(tiled.denoise(z, t, control, cond), whole, atol=1e-5)
    assert torch.allclose(tiled.decode(z, canvas, cond), inner.decode(z, canvas, cond), atol=1e-5)


def test_an_exact_codec_is_left_alone():
    class Exact(Codec):
        exact_codec = True

    inner = Exact()
    Tiled(inner, 16, 4).decode(torch.zeros(1, 3, 40, 30))
    assert inner.seen == [(40, 30)]
