"""Metrics on 8-bit RGB pictures, uint8 (H, W, 3), reference first.

All except ssimulacra2 need nothing but the package itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.bench import niqe
from addsr_cli.similarity import log_spectrum, ssim

Picture = NDArray[np.uint8]
Measure = Callable[[Picture, Picture], float]

# Luma 16..235 of RGB in 0..1, as MATLAB's rgb2ycbcr
BT601 = np.array([65.481, 128.553, 24.966]) / 255
MIN_SIDE = 7  # pixels: the window of SSIM


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What a table says of a metric: its name, its direction, and the variant that is measured.

    ``digits`` are those to print.
    """

    name: str
    higher_is_better: bool
    variant: str
    digits: int = 4


@dataclass(frozen=True, kw_only=True)
class Metric(MetricInfo):
    """A metric of one pair of pictures; ``no_reference`` ones look at the result alone."""

    measure: Measure
    no_reference: bool = False


def psnr(reference: Picture, result: Picture) -> float:
    """Peak signal-to-noise ratio over RGB in dB; infinite for equal pictures."""
    return _decibels(reference / 255.0 - result / 255.0)


def psnr_luma(reference: Picture, result: Picture) -> float:
    """Peak signal-to-noise ratio of BT.601 luma (16 to 235) in dB, against a peak of 255."""
    return _decibels(luma(reference) - luma(result))


def ssim_rgb(reference: Picture, result: Picture) -> float:
    """Structural similarity, mean over the channels (Wang et al. 2004, uniform 7x7 window)."""
    return _ssim(reference / 255.0, result / 255.0)


def ssim_luma(reference: Picture, result: Picture) -> float:
    """Structural similarity of BT.601 luma, against a range of 255."""
    return _ssim(luma(reference)[..., None], luma(result)[..., None])


def luma(picture: Picture) -> NDArray[np.float64]:
    """BT.601 luma of RGB, float64 (H, W), 16/255 for black and 235/255 for white."""
    return np.asarray(picture / 255.0 @ BT601 + 16 / 255)


def gradient(reference: Picture, result: Picture) -> float:
    """Mean absolute gradient of the grey picture, relative to the reference: 1 is as sharp."""
    expected = _mean_gradient(reference)
    return _mean_gradient(result) / expected if expected else float("nan")


def spectrum(reference: Picture, result: Picture) -> float:
    """Mean absolute error of the log power spectrum from a quarter of Nyquist up; 0 is equal."""
    pair = torch.cat([_planes(result / 255.0), _planes(reference / 255.0)])
    return float(log_spectrum(pair).diff(dim=0).abs().mean())


def ssimulacra2(reference: Picture, result: Picture) -> float:
    """SSIMULACRA 2 (Cloudinary) by the pip package of that name.

    100 for equal pictures, below 0 for bad ones.
    """
    from ssimulacra2 import compute_ssimulacra2  # an extra

    return float(compute_ssimulacra2(_bitmap(reference), _bitmap(result)))


def _bitmap(picture: Picture) -> BytesIO:
    """The picture as a file in memory, which the package opens; BMP needs no compression."""
    file = BytesIO()
    Image.fromarray(picture).save(file, format="BMP")
    return file


def without_border(picture: Picture, border: int) -> Picture:
    """``picture`` without ``border`` pixels on every side."""
    return picture[border:-border, border:-border] if border else picture


BASIC_METRICS = (
    Metric(
        name="psnr",
        measure=psnr,
        higher_is_better=True,
        variant="RGB, dB",
        digits=2,
    ),
    Metric(
        name="ssim",
        measure=ssim_rgb,
        higher_is_better=True,
        variant="RGB, uniform 7x7 window",
    ),
    Metric(
        name="psnr_y",
        measure=psnr_luma,
        higher_is_better=True,
        variant="BT.601 luma 16-235, dB",
        digits=2,
    ),
    Metric(
        name="ssim_y",
        measure=ssim_luma,
        higher_is_better=True,
        variant="BT.601 luma 16-235, uniform 7x7 window",
    ),
    Metric(
        name="ssimulacra2",
        measure=ssimulacra2,
        higher_is_better=True,
        variant="pip ssimulacra2",
        digits=1,
    ),
    Metric(
        name="grad",
        measure=gradient,
        higher_is_better=True,
        variant="gradient over the reference's",
        digits=3,
    ),
    Metric(
        name="spec",
        measure=spectrum,
        higher_is_better=False,
        variant="log power spectrum from Nyquist / 4",
        digits=2,
    ),
    Metric(
        name="niqe",
        measure=lambda _, result: niqe.niqe(result),
        higher_is_better=False,
        variant="2013, published model, grey of RGB rounded, 96 px blocks",
        digits=3,
        no_reference=True,
    ),
)


def installed() -> tuple[list[Metric], str]:
    """The metrics that are installed here, and one line on what is missing."""
    if find_spec("ssimulacra2"):
        return list(BASIC_METRICS), ""
    metrics = [metric for metric in BASIC_METRICS if metric.measure is not ssimulacra2]
    return metrics, "no ssimulacra2: pip install ssimulacra2"


def scores(
    metrics: Sequence[Metric],
    reference: Picture | None,
    result: Picture,
    border: int = 0,
) -> dict[str, float]:
    """Value of every metric for one pair; without a reference only of no-reference metrics."""
    result = without_border(result, border)
    if reference is not None:
        reference = without_border(reference, border)
    values = {}
    for metric in metrics:
        if metric.no_reference:
            values[metric.name] = metric.measure(result, result)
        elif reference is not None:
            values[metric.name] = metric.measure(reference, result)
    return values


def _decibels(error: NDArray[Any]) -> float:
    mean = float((error**2).mean())
    return float("inf") if mean == 0 else -10 * float(np.log10(mean))


def _ssim(reference: NDArray[Any], result: NDArray[Any]) -> float:
    return float(ssim(_planes(reference), _planes(result)))


def _planes(picture: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def _mean_gradient(picture: Picture) -> float:
    grey = picture.mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
