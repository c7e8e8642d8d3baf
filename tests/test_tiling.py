"""Tiles: they cover, they blend, and nobody can tell."""

import pytest
import torch
from skimage import data

from addsr_cli.engine import Machine, Upscaler
from addsr_cli.models.restorer import Condition
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Settings
from addsr_cli.tiling import Tiled
from addsr_cli.windows import offsets


class Pointwise:
    """A restorer whose network looks at one latent pixel at a time."""

    schedule, factor, channels, exact_codec = Schedule(prediction="sample"), 2, 3, True

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
    z, control, t = torch.randn(2, 3, height, width), torch.rand(2, 3, 2 * height, 2 * width), torch.tensor([999, 3])
    tiled = Tiled(Pointwise(), 16, overlap).denoise(z, t, control, Condition())
    assert torch.allclose(tiled, Pointwise().denoise(z, t, control, Condition()), atol=1e-6)


def test_the_network_never_sees_more_than_a_tile_and_each_tile_is_told():
    inner, told = Pointwise(), []
    tiled = Tiled(inner, 16, 4, lambda: told.append(1))
    tiled.denoise(torch.zeros(1, 3, 40, 10), torch.tensor([0]), torch.zeros(1, 3, 80, 20), Condition())
    assert inner.seen == [(16, 10)] * 3
    assert len(told) == len(tiled.boxes(40, 10)) == 3


@pytest.mark.parametrize("overlap", [16, 20, -1])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        Tiled(Pointwise(), 16, overlap)


@pytest.fixture(scope="module")
def cat():
    """A photograph, 120 x 112: fur, eyes, and soft ground."""
    return data.chelsea()[40:152, 90:210]


@pytest.fixture(scope="module")
def pictures(cat):
    """What the bundled model makes of it, by tile side; None is in one piece. One thread: busy machines are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {tile: run(cat, tile) for tile in (None, 128, 256)}
    torch.set_num_threads(before)


def run(photo, tile):
    machine = Machine(device="cpu", precision="fp32", tile=tile or 4096)
    return Upscaler("nano", machine).upscale(photo, Settings(steps=4, seed=3)).photo.rgb


def seam(picture, tile, overlap=64):
    """Mean gradient across the borders of tiles, relative to that of the whole picture."""
    x = torch.from_numpy(picture).mean(2)
    ratios = []
    for axis, length in enumerate(x.shape):
        gradient = x.diff(dim=axis).abs().mean(1 - axis)
        starts = offsets(length, tile, overlap)
        borders = {b - 1 for s in starts for b in (s, s + tile) if 0 < b < length}
        ratios.append(gradient[sorted(borders)].mean() / gradient.mean())
    return float(sum(ratios) / 2)


@pytest.mark.parametrize("tile", [128, 256])
def test_the_bundled_model_makes_the_same_picture_in_tiles(pictures, tile):
    assert abs(pictures[tile] - pictures[None]).mean() <= 1 / 255


@pytest.mark.parametrize("tile", [128, 256])
def test_the_bundled_model_leaves_no_seams(pictures, tile):
    assert seam(pictures[tile], tile) <= 1.1 * seam(pictures[None], tile)


class Codec(Pointwise):
    """Its codec must be tiled: encoding draws, decoding looks at the values only."""

    exact_codec = False

    def encode(self, image, noise=None):
        z = torch.nn.functional.avg_pool2d(image, 2)
        return z if noise is None else z + noise(z.shape)

    def decode(self, z):
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


def test_an_exact_codec_is_left_alone():
    class Exact(Codec):
        exact_codec = True

    inner = Exact()
    Tiled(inner, 16, 4).decode(torch.zeros(1, 3, 40, 30))
    assert inner.seen == [(40, 30)]
