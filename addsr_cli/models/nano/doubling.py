"""Doubling a picture and convolving it: as it is trained, and without computing anything twice.

After nearest doubling, a 3x3 kernel reads every pixel of the small picture up to four times. Which
taps fall onto one pixel depends only on whether row and column of the result are even or odd; added
up, they are a 2x2 kernel for each of these four phases (the sub-pixel view of Shi et al. 2016), and
4/9 of the multiplications remain.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

from addsr_cli.models.nano.layers import Convolution


class DoublingConvolution(Convolution):
    """Nearest doubling, then a 3x3 convolution with a border of 1."""

    def forward(self, x: Tensor, border: int = 1) -> Tensor:
        """(B, in, h, w) -> (B, out, 2h, 2w); without the ``border`` of rows, 0, four rows less."""
        doubled = super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return doubled if border else doubled[..., 2:-2, :]


class PhasedConvolution(nn.Module):
    """A ``DoublingConvolution`` as four convolutions of the small picture, one for each phase.

    The results are equal up to rounding. Build it from float32 weights: the sums of taps, not the
    taps, are then what a narrower type rounds.
    """

    def __init__(self, layer: DoublingConvolution) -> None:
        super().__init__()
        self.out_channels = layer.out_channels
        self.phases = nn.ModuleList(
            _convolution(_summed_taps(_summed_taps(layer.weight, 2, row), 3, column), layer.bias)
            for row in (0, 1)
            for column in (0, 1)
        )

    def forward(self, x: Tensor, border: int = 1) -> Tensor:
        """(B, in, h, w) -> (B, out, 2h, 2w); without the ``border`` of rows, 0, four rows less."""
        batch, _, height, width = x.shape
        height += 2 * border - 2
        # filled through slices: stacking the phases would cost as much as is saved
        out = torch.empty(
            (batch, self.out_channels, 2 * height, 2 * width),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        for number, phase in enumerate(self.phases):
            assert isinstance(phase, nn.Conv2d)
            row, column = divmod(number, 2)
            # one row and one column more than there are: even ones begin at the first
            bordered = F.conv2d(x, phase.weight, phase.bias, padding=(border, 1))
            out[..., row::2, column::2] = bordered[..., row : row + height, column : column + width]
        return out


def split_into_phases(net: nn.Module) -> None:
    """Replace the network's doubling convolutions, which are its direct children, by phased ones.

    This is for inference: weights can no longer be saved under the names of the file.
    """
    for name, layer in list(net.named_children()):
        if isinstance(layer, DoublingConvolution):
            setattr(net, name, PhasedConvolution(layer))


def _convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    outs, ins, rows, columns = weight.shape
    with torch.device("meta"):  # initial weights are not wanted
        layer = nn.Conv2d(
            ins,
            outs,
            (rows, columns),
            padding=1,
            bias=bias is not None,
        )
    placed = weight.detach().contiguous(memory_format=torch.channels_last)
    layer.weight = nn.Parameter(placed, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def _summed_taps(
    taps: Tensor,
    axis: int,
    odd: int,
) -> Tensor:
    """Add up the taps that read the same pixel: the first two of odd places, else the last two."""
    first, middle, last = taps.unbind(axis)
    pair = [first + middle, last] if odd else [first, middle + last]
    return torch.stack(pair, axis)
