"""Positions and blending weights of tiles."""

from itertools import pairwise

import pytest
import torch

from addsr_cli.engine.geometry import boxes, cut, offsets
from addsr_cli.engine.windows import blend, window

SIZES = [
    (length, tile, overlap)
    for length in (1, 16, 31, 32, 33, 47, 64, 100)
    for tile, overlap in ((32, 8), (16, 0))
]


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
def test_the_window_is_positive_and_highest_in_the_middle(length):
    w = window(7, length)
    assert (w > 0).all()
    assert torch.allclose(w, w.flip(1))
    assert w.max(0).values.argmax() in (length // 2, (length - 1) // 2)


def test_rows_are_half_a_pixel_off_centre_as_in_the_official_code():
    w = window(8, 8)
    assert w[4, 0] == w[:, 0].max()
    assert torch.equal(w[3], w[5])


def test_blending_in_another_scale_fills_the_whole_area():
    ones = blend(
        torch.zeros(2, 3, 20, 28), boxes(10, 14, 8, 2), lambda box: torch.ones(2, 3, 16, 16), 2
    )
    assert torch.allclose(ones, torch.ones(2, 3, 20, 28))


@pytest.mark.parametrize(
    ("length", "tile", "halo"), [(33, 8, 4), (64, 16, 4), (5, 8, 4), (40, 8, 16)]
)
def test_tiles_with_a_halo_lie_side_by_side_and_see_so_much_around(length, tile, halo):
    area = (slice(0, length), slice(0, 1))
    rows = [(own, seen) for (own, _), (seen, _) in cut(area, tile, halo, (length, 1), 4)]
    assert [i for own, _ in rows for i in range(own.start, own.stop)] == list(range(length))
    for own, seen in rows:
        assert seen.start == max(0, own.start - halo)
        assert seen.stop == min(length, own.stop + halo)
        assert seen.start % 4 == 0
