"""What a network costs and how far it sees is measured, as far as nobody knows it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the field's name for it)

from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.models.single_pass import measurements
from addsr_cli.models.single_pass.measurements import check_picture, measure
from addsr_cli.models.single_pass.network import Enlarger
from addsr_cli.models.single_pass.precision import check_precision


class Blur(nn.Module):
    """Mean over a square of ``2 * reach + 1`` pixels; twice the size."""

    def __init__(self, reach):
        super().__init__()
        self.reach = reach
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        sides = (self.reach,) * 4
        blurred = F.avg_pool2d(F.pad(x, sides), 2 * self.reach + 1, stride=1)
        return F.interpolate(blurred * self.gain, scale_factor=2.0)


class Faint(Blur):
    """A small part of every pixel is the mean over the whole reach, the rest is the pixel."""

    def forward(self, x):
        return F.interpolate(x, scale_factor=2.0) + 1e-3 * super().forward(x)


class WholePicture(Blur):
    """Brightness that depends on the mean of the whole picture."""

    def forward(self, x):
        return super().forward(x) + 0.2 * x.mean((2, 3), keepdim=True)


class Windows(Blur):
    """Every window of 16x16 pixels gets its own mean."""

    def forward(self, x):
        means = F.avg_pool2d(
            F.pad(x, (0, -x.shape[-1] % 16, 0, -x.shape[-2] % 16), "replicate"), 16
        )
        spread = F.interpolate(means, scale_factor=16.0)[..., : x.shape[-2], : x.shape[-1]]
        return F.interpolate(self.gain * (0.5 * x + 0.5 * spread), scale_factor=2.0)


def enlarger(net):
    return Enlarger(net=net.requires_grad_(False), kind="test", scale=2)


@pytest.mark.parametrize("reach", [1, 6])
def test_the_halo_is_the_reach_and_a_little_more(reach):
    measured = measure(enlarger(Blur(reach)))
    assert measured.alignment == 1
    assert reach <= measured.halo <= reach + measurements.SPARE


def test_a_faint_but_bounded_reach_is_taken_whole():
    """Far pixels that hardly count in the test picture may count in another one."""
    faint = Faint(20)
    measured = measure(enlarger(faint))
    assert measured.halo == 20
    assert measure(enlarger(Faint(60))).halo < 20  # too far to be worth it


def test_a_network_that_looks_at_the_whole_picture_has_no_halo():
    assert measure(enlarger(WholePicture(1))).halo is None


def test_windows_ask_for_tiles_that_begin_where_they_do():
    measured = measure(enlarger(Windows(1)))
    assert measured.alignment % 16 == 0
    assert measured.halo % measured.alignment == 0


def test_memory_and_operations_are_counted():
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.PixelShuffle(2))
    measured = measure(enlarger(net))
    assert measured.flop == 2 * 3 * 12 * 9
    least = 4 * 2 * 12  # the convolution's result, and the same in another order
    assert least <= measured.memory < 3 * least


def test_measurements_are_kept_and_read_again(monkeypatch):
    first = measurements.measurements(enlarger(Blur(2)), lambda: "a" * 64)
    monkeypatch.setattr(measurements, "measure", None)
    assert measurements.measurements(enlarger(Blur(2)), lambda: "a" * 64) == first


def test_the_check_picture_is_the_same_every_time_and_has_detail():
    picture = check_picture(16, 24)
    assert picture.shape == (1, 3, 16, 24)
    assert torch.equal(picture, check_picture(16, 24))
    assert 0 <= picture.min() < 0.3
    assert 0.7 < picture.max() <= 1


class Large(nn.Module):
    """Adds and subtracts a number, whose size half precision pays for."""

    def __init__(self, number):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(number))

    def forward(self, x):
        x = x.to(self.number.dtype)
        return F.interpolate(x + self.number - self.number, scale_factor=2.0)


def test_half_precision_that_gives_the_same_picture_is_taken():
    network = enlarger(Large(0.0))
    check_precision(network, torch.bfloat16)
    assert network.net.number.dtype == torch.bfloat16


@pytest.mark.parametrize(("number", "dtype"), [(8.0, torch.bfloat16), (9e5, torch.float16)])
def test_half_precision_that_gives_another_picture_is_refused(number, dtype):
    with pytest.raises(PrecisionLoss, match="float16"):
        check_precision(enlarger(Large(number)), dtype)
