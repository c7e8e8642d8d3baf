"""Networks that take a picture in strips of rows."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import nn

from addsr_cli.models.nano.doubling import DoublingConvolution, PhasedConvolution, split_into_phases
from addsr_cli.models.nano.layers import Convolution
from addsr_cli.models.nano.restorer import NanoConfig, build_nano
from addsr_cli.models.nano.rows import RowStream
from addsr_cli.models.restorer import Conditioning

T = torch.tensor([999])


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def nano(request):
    torch.manual_seed(0)
    nano = build_nano(NanoConfig(groups=(2, 1), width=8, growth=4, embedding=8))
    for parameter in nano.net.parameters():
        nn.init.normal_(parameter, std=0.1)
    split_into_phases(nano.net)
    nano.net.requires_grad_(False).to(request.param)
    return nano


def in_strips(nano, z, control, height):
    """The output for strips of ``height`` blocks, one below the other."""
    denoise, outputs = nano.denoise_in_strips(), []
    for top in range(0, z.shape[-2], height):
        rows, pixels = slice(top, top + height), slice(4 * top, 4 * (top + height))
        last = rows.stop >= z.shape[-2]
        outputs.append(denoise(z[..., rows, :], T, control[..., pixels, :], last))
    return outputs


@pytest.mark.parametrize("height", [1, 3, 8, 21, 50])
def test_strips_give_the_whole_picture(nano, height):
    z, control = torch.randn(2, 48, 50, 5), torch.rand(2, 3, 200, 20)
    with torch.inference_mode():
        whole = nano.denoise(z, T, control, Conditioning())
        strips = torch.cat(in_strips(nano, z, control, height), dim=-2)
    rounding = torch.finfo(nano.net.control_in.weight.dtype).eps
    assert strips.dtype == torch.float32
    assert strips.shape == whole.shape
    assert (strips - whole).abs().max() < 4 * rounding * whole.abs().max()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_picture_lower_than_the_reach_comes_whole(nano, rows):
    z, control = torch.randn(1, 48, rows, 5), torch.rand(1, 3, 4 * rows, 20)
    with torch.inference_mode():
        assert torch.cat(in_strips(nano, z, control, 1), dim=-2).shape == z.shape


def test_rows_are_handed_on_as_soon_as_they_are_complete(nano):
    z, control = torch.randn(1, 48, 60, 4), torch.rand(1, 3, 240, 16)
    with torch.inference_mode():
        heights = [output.shape[-2] for output in in_strips(nano, z, control, 10)]
    taken = [10, 20, 30, 40, 50]
    waiting = [taken[k] - sum(heights[: k + 1]) for k in range(5)]
    assert waiting == pytest.approx([10, 20, 20, 20, 20], abs=1)
    assert nano.net.config.reach == 19
    assert sum(heights) == 60


@pytest.mark.parametrize(
    "layer",
    [Convolution(3, 4), DoublingConvolution(3, 4), PhasedConvolution(DoublingConvolution(3, 4))],
)
def test_a_layer_without_its_border_of_rows_is_the_inside_of_the_result(layer):
    x = torch.randn(1, 3, 6, 5)
    with torch.inference_mode():
        whole, inside = layer(x), layer(x, border=0)
    cropped = (whole.shape[-2] - inside.shape[-2]) // 2
    assert cropped == whole.shape[-2] // 6
    assert torch.allclose(inside, whole[..., cropped:-cropped, :], atol=1e-6)


def test_pictures_that_lag_are_brought_into_step():
    rows, ahead, behind = RowStream(), torch.arange(6.0).view(1, 1, 6, 1), []
    for a, b in (((0, 3), (0, 1)), ((3, 6), (1, 4)), ((6, 6), (4, 6))):
        rows.start_strip(last=a[0] == 6)
        first, second = rows.aligned(ahead[..., slice(*a), :], ahead[..., slice(*b), :])
        assert torch.equal(first, second)
        behind.append(first)
    assert torch.equal(torch.cat(behind, dim=-2), ahead)


def test_blocks_are_folded_once_all_their_rows_are_there():
    rows, x = RowStream(), torch.rand(1, 2, 8, 12)
    folded = []
    for part, last in ((x[..., :3, :], False), (x[..., 3:5, :], False), (x[..., 5:, :], True)):
        rows.start_strip(last=last)
        folded.append(rows.unshuffle(part, 4))
    assert [part.shape[-2] for part in folded] == [0, 1, 1]
    assert torch.equal(torch.cat(folded, dim=-2), F.pixel_unshuffle(x, 4))


def test_windows_of_all_layers_share_two_pieces_of_memory():
    quarter_grid = RowStream()
    full_grid = RowStream(quarter_grid.buffers)
    layer, x = Convolution(4, 4), torch.rand(1, 4, 8, 6)
    places = []
    with torch.inference_mode():
        for last in (False, False, True):
            for grid in (quarter_grid, full_grid):
                grid.start_strip(last=last)
                windows = [grid.convolve(layer, x)[0] for _ in range(3)]
                assert windows[1].data_ptr() != windows[2].data_ptr()
                places.append({window.untyped_storage().data_ptr() for window in windows})
    assert len(set.union(*places[2:4])) == 2
