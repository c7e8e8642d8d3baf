"""Distances between pictures (B, 3, H, W) in [0, 1] -> one value per sample (B,), always float32."""

import math
from collections.abc import Mapping
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor

from addsr_cli.perceptual import LPIPS
from addsr_cli.similarity import in_float32, log_spectrum, ssim

WINDOW = 16  # pixels per side in which ``texture`` looks
RINGS, DIRECTIONS = 3, 8
EDGE, NEAR = 9, 5  # pixels over which ``teeth`` looks for edges, and along them
PERIODS, REPEATS = (8, 16), 4  # pixels after which ``lattice`` expects a grid again, and how many times per window
HIDDEN = 1 / 255  # what hides a grid where there is no detail
FAINT = 0.02  # share of the detail below which a grid counts by its power, not by its strength
WEAK_SLOPE = 4e-4  # squared, over two pixels: weaker edges count less


@in_float32
def charbonnier(a: Tensor, b: Tensor, eps: float = 1e-3) -> Tensor:
    """Smooth absolute distance, mean over pixels: ``sqrt((a - b)^2 + eps^2)``."""
    return torch.sqrt((a - b) ** 2 + eps**2).flatten(1).mean(1)


def spectrum(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the log power spectra from a quarter of Nyquist up (after Durall et al. 2020).

    Power below that of rounding to 8 bits does not count.
    """
    of_a, of_b = log_spectrum(torch.cat([a, b]), _rounding(*a.shape[-2:])).chunk(2)
    return (of_a - of_b).abs().mean(1)


@in_float32
def texture(a: Tensor, b: Tensor) -> Tensor:
    """How strong detail is and which way it runs, neighbourhood by neighbourhood; relative to the detail of ``b``.

    Amplitudes of every 16x16 window in three rings of frequency (from 1/8 cycle per pixel) and eight directions: dots
    along an edge differ from the edge, though the power spectrum of the whole picture may be the same. Sides of at
    least 16 pixels.
    """
    of_a, of_b = _window_amplitudes(torch.cat([a, b])).chunk(2)
    return (of_a - of_b).abs().flatten(1).mean(1) / of_b.flatten(1).mean(1)


@in_float32
def teeth(a: Tensor, b: Tensor) -> Tensor:
    """How much ``a`` varies along the edges of ``b`` beyond what ``b`` itself does: dots and steps that an edge lacks.

    The structure tensor of ``b``, averaged over 9x9 pixels, tells where edges are straight and which way they run; the
    root of the mean squared slope in that direction, over 5x5 pixels, is compared. Sides of at least 11 pixels.
    """
    of_b = _slope_products(b)
    xx, xy, yy = F.avg_pool2d(of_b, EDGE, stride=1).unbind(1)
    spread = torch.sqrt((xx - yy).square() / 4 + xy.square() + 1e-12)
    straight = spread / ((xx + yy) / 2 + WEAK_SLOPE)
    along = 0.5 * torch.atan2(2 * xy, xx - yy) + math.pi / 2

    def slope(products: Tensor) -> Tensor:
        margin = (EDGE - NEAR) // 2
        near = F.avg_pool2d(products, NEAR, stride=1)[..., margin:-margin, margin:-margin]
        squared = along.cos().square() * near[:, 0] + (2 * along).sin() * near[:, 1] + along.sin().square() * near[:, 2]
        return torch.sqrt(squared.clamp(min=0) + 1e-5)

    excess = torch.relu(slope(_slope_products(a)) - slope(of_b))
    return (straight.square() * excess).flatten(1).mean(1)


@in_float32
def lattice(a: Tensor, b: Tensor) -> Tensor:
    """How much of the fine detail of ``a`` is grids and stripes of 16 pixels or a part of that, beyond that of ``b``.

    What a picture has beyond its mean over 5x5 pixels is averaged over the 4x4 blocks of 8x8, then of 16x16 pixels of
    every window (they overlap by half): chance cancels, a pattern stays. The power that stays, less what chance leaves
    on average, is compared with all that is there and hides it: a share, whose root counts (of faint ones the share).
    Below two blocks per side nothing counts, nor does what is beyond a multiple of 8 or 16.
    """
    total, of_a, of_b = torch.zeros_like(a[:, 0, 0, 0]), _fine(a), _fine(b)
    for period in (each for each in PERIODS if min(a.shape[-2:]) >= 2 * each):
        excess = torch.relu(_repeated(of_a, period) - _repeated(of_b, period).clamp(min=0))
        total = total + (excess / torch.sqrt(excess + FAINT)).flatten(1).mean(1)
    return total


def _repeated(fine: Tensor, period: int) -> Tensor:
    """Share (B, rows, columns) of detail (B, 1, H, W) that comes again, by window; unbiased, so also below 0."""
    rows, columns = (side // period * period for side in fine.shape[-2:])
    fine = fine[..., :rows, :columns]
    side = min(REPEATS, rows // period, columns // period)

    def over_blocks(each: Tensor) -> Tensor:
        return F.avg_pool2d(F.pixel_unshuffle(each, period), side, stride=side // 2)

    mean, power = over_blocks(fine).square().mean(1), over_blocks(fine.square()).mean(1)
    pattern = (side**2 * mean - power) / (side**2 - 1)  # products of different blocks only
    return pattern / (power.detach() + HIDDEN**2)


def _fine(picture: Tensor) -> Tensor:
    """What the grey picture (B, 1, H, W) has beyond its means over 5x5 pixels."""
    grey = picture.mean(1, keepdim=True)
    return grey - F.avg_pool2d(grey, 5, stride=1, padding=2, count_include_pad=False)


def _slope_products(picture: Tensor) -> Tensor:
    """Products of the central differences of the grey picture: xx, xy, yy (B, 3, H - 2, W - 2)."""
    grey = picture.mean(1)
    x, y = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    return torch.stack([x * x, x * y, y * y], dim=1)


def _window_amplitudes(picture: Tensor) -> Tensor:
    """Root of the mean power (B, rows, columns, 24) of windows that overlap by half; never below rounding to 8 bits."""
    grey = picture.mean(1)
    windows = grey.unfold(1, WINDOW, WINDOW // 2).unfold(2, WINDOW, WINDOW // 2)
    hann = torch.hann_window(WINDOW, periodic=False, dtype=picture.dtype, device=picture.device)
    weighted = (windows - windows.mean((-2, -1), keepdim=True)) * hann[:, None] * hann
    power = torch.fft.rfft2(weighted).abs().square().flatten(-2)
    return torch.sqrt(power @ _sectors().to(power).T + _rounding(WINDOW, WINDOW))


def _rounding(height: int, width: int) -> float:
    """Power that rounding to 8 bits has at any frequency, under a Hann window of this size."""
    window = (3 / 8) ** 2 * height * width  # sum of its squares
    return window / (12 * 255**2)


@cache
def _sectors() -> Tensor:
    """Weights (24, WINDOW * (WINDOW / 2 + 1)) that take the mean over each ring and direction of a half spectrum."""
    down, right = torch.fft.fftfreq(WINDOW)[:, None], torch.fft.rfftfreq(WINDOW)[None]
    radius, angle = torch.hypot(down, right), torch.atan2(down, right)
    direction = torch.floor((angle / math.pi + 0.5) * DIRECTIONS + 0.5).long() % DIRECTIONS
    ring = torch.floor(8 * radius).long().clamp(max=RINGS)  # the corners beyond 1/2 cycle belong to the last
    sector = torch.where(ring > 0, (ring - 1) * DIRECTIONS + direction, -1).flatten()
    members = (sector == torch.arange(RINGS * DIRECTIONS)[:, None]).float()
    return members / members.sum(1, keepdim=True)


class Anchors:
    """Distances to HR that hold a student to the truth, each (B,), for the names whose weight is above 0."""

    def __init__(self, weights: Mapping[str, float], device: torch.device) -> None:
        self.names = [name for name, weight in weights.items() if weight > 0]
        self.lpips = LPIPS.load("vgg", device=device) if "lpips" in self.names else None

    def __call__(self, picture: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W) in [0, 1] -> loss by name."""
        return {name: self._distance(name, picture, hr) for name in self.names}

    def _distance(self, name: str, picture: Tensor, hr: Tensor) -> Tensor:
        if name == "l1":
            return charbonnier(picture, hr)
        if name == "l2":
            return (picture.float() - hr.float()).square().flatten(1).mean(1)
        if name == "ssim":
            return 1 - ssim(picture, hr)
        if name == "spectrum":
            return spectrum(picture, hr)
        if name == "texture":
            return texture(picture, hr)
        if name == "teeth":
            return teeth(picture, hr)
        if name == "lattice":
            return lattice(picture, hr)
        assert self.lpips is not None
        distance: Tensor = self.lpips(picture, hr)
        return distance
