"""Tiles: they cover, they blend, and nobody can tell."""

from itertools import pairwise

import pytest
import torch
from skimage import data

from addsr_cli.engine import Machine, Upscaler
from addsr_cli.models.restorer import Condition
from addsr_cli.schedule import Schedule
from addsr_cli.settings import Settings
from addsr_cli.tiling import Tiled, offsets, window

SIZES = [(length, tile, overlap) for length in (1, 16, 31, 32, 33, 47, 64, 100) for tile, overlap in ((32, 8), (16, 0))]


class Pointwise:
    """A restorer whose network looks at one latent pixel at a time."""

    schedule, factor, channels = Schedule(prediction="sample"), 2, 3

    def __init__(self):
        self.seen = []

    def nothing(self, *_):
        raise AssertionError("not called in these tests")

    encode = decode = describe = embed = nothing

    def denoise(self, z, t, control, cond):
        self.seen.append(tuple(z.shape[-2:]))
        return torch.sin(3 * z) + torch.nn.functional.avg_pool2d(control, 2)


@pytest.mark.parametrize(("length", "tile", "overlap"), SIZES)
def test_tiles_cover_everything_and_the_last_one_is_flush(length, tile, overlap):
    starts = offsets(length, tile, overlap)
    assert {i for s in starts for i in range(s, min(s + tile, length))} == set(range(length))
    assert starts[-1] + tile == length or starts == [0]
    assert starts == sorted(set(starts))
    assert all(a + tile - b >= overlap for a, b in pairwise(starts))


def test_one_tile_is_enough_when_the_picture_fits():
    assert offsets(32, 32, 8) == offsets(5, 32, 8) == [0]


@pytest.mark.parametrize("length", [1, 2, 31, 32, 192])
def test_the_window_is_positive_symmetric_and_highest_in_the_middle(length):
    w = window(length)
    assert (w > 0).all()
    assert torch.allclose(w, w.flip(0))
    assert w.argmax() in (length // 2, (length - 1) // 2)


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
