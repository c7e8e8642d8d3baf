"""What two pictures differ by: plain measures on 8-bit RGB pictures, uint8 (H, W, 3), reference first.

All of them except ssimulacra2 need nothing but the package itself.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from addsr_cli.bench import niqe
from addsr_cli.similarity import log_spectrum, ssim

Picture = NDArray[np.uint8]
Measure = Callable[[Picture, Picture], float]

BT601 = (
    np.array([65.481, 128.553, 24.966]) / 255
)  # luma 16..235 of RGB in 0..1, as MATLAB's rgb2ycbcr
SMALLEST = 7  # pixels: the window of SSIM


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measure: how it is called, which way is better, and in which variant it is measured.

    ``digits`` are those to print; ``blind`` says that it looks at the result alone.
    """

    name: str
    measure: Measure
    larger: bool
    variant: str
    digits: int = 4
    blind: bool = False


def psnr(reference: Picture, result: Picture) -> float:
    """Peak signal-to-noise ratio over RGB in dB; infinite for equal pictures."""
    return _decibels(reference / 255.0 - result / 255.0)


def psnr_luma(reference: Picture, result: Picture) -> float:
    """Peak signal-to-noise ratio of BT.601 luma (16 to 235) in dB, not rounded, against a peak of 255."""
    return _decibels(luma(reference) - luma(result))


def ssim_rgb(reference: Picture, result: Picture) -> float:
    """Structural similarity, the mean over the three channels (Wang et al. 2004, uniform 7x7 window)."""
    return _ssim(reference / 255.0, result / 255.0)


def ssim_luma(reference: Picture, result: Picture) -> float:
    """Structural similarity of BT.601 luma, against a range of 255."""
    return _ssim(luma(reference)[..., None], luma(result)[..., None])


def luma(picture: Picture) -> NDArray[np.float64]:
    """BT.601 luma of RGB, float64 (H, W), 16/255 for black and 235/255 for white."""
    return np.asarray(picture / 255.0 @ BT601 + 16 / 255)


def gradient(reference: Picture, result: Picture) -> float:
    """Mean absolute difference of neighbouring pixels of the grey picture, relative to the reference: 1 is as sharp."""
    wanted = _steepness(reference)
    return _steepness(result) / wanted if wanted else float("nan")


def spectrum(reference: Picture, result: Picture) -> float:
    """Mean absolute error of the log power spectrum from a quarter of Nyquist up: 0 is the same spectrum."""
    both = torch.cat([_planes(x / 255.0) for x in (result, reference)])
    return float(log_spectrum(both).diff(dim=0).abs().mean())


def ssimulacra2(reference: Picture, result: Picture) -> float:
    """SSIMULACRA 2 (Cloudinary), through the pip package of that name; 100 for equal pictures, below 0 for bad ones."""
    from ssimulacra2 import compute_ssimulacra2  # an extra

    with tempfile.TemporaryDirectory() as folder:  # the package reads files only
        paths = [Path(folder) / name for name in ("reference.png", "result.png")]
        for path, picture in zip(paths, (reference, result), strict=True):
            Image.fromarray(picture).save(path, compress_level=1)
        return float(compute_ssimulacra2(*map(str, paths)))


def without_border(picture: Picture, border: int) -> Picture:
    """``picture`` less ``border`` pixels on every side."""
    return picture[border:-border, border:-border] if border else picture


PLAIN = (
    Metric(
        name="psnr",
        measure=psnr,
        larger=True,
        variant="RGB, dB",
        digits=2,
    ),
    Metric(
        name="ssim",
        measure=ssim_rgb,
        larger=True,
        variant="RGB, uniform 7x7 window",
    ),
    Metric(
        name="psnr_y",
        measure=psnr_luma,
        larger=True,
        variant="BT.601 luma 16-235, dB",
        digits=2,
    ),
    Metric(
        name="ssim_y",
        measure=ssim_luma,
        larger=True,
        variant="BT.601 luma 16-235, uniform 7x7 window",
    ),
    Metric(
        name="ssimulacra2",
        measure=ssimulacra2,
        larger=True,
        variant="pip ssimulacra2",
        digits=1,
    ),
    Metric(
        name="grad",
        measure=gradient,
        larger=True,
        variant="gradient over the reference's",
        digits=3,
    ),
    Metric(
        name="spec",
        measure=spectrum,
        larger=False,
        variant="log power spectrum from Nyquist / 4",
        digits=2,
    ),
    Metric(
        name="niqe",
        measure=lambda _, result: niqe.niqe(result),
        larger=False,
        variant="2013, published model, grey of RGB rounded, 96 px blocks",
        digits=3,
        blind=True,
    ),
)


def installed() -> tuple[list[Metric], str]:
    """The plain metrics that can be had here, and one line on what is missing."""
    if find_spec("ssimulacra2"):
        return list(PLAIN), ""
    return [
        m for m in PLAIN if m.measure is not ssimulacra2
    ], "no ssimulacra2: pip install ssimulacra2"


def scores(
    metrics: Sequence[Metric],
    reference: Picture | None,
    result: Picture,
    border: int = 0,
) -> dict[str, float]:
    """Value of every metric for one pair; without a reference only the blind ones."""
    seen = without_border(result, border)
    wanted = None if reference is None else without_border(reference, border)
    found = {}
    for metric in metrics:
        if metric.blind:
            found[metric.name] = metric.measure(seen, seen)
        elif wanted is not None:
            found[metric.name] = metric.measure(wanted, seen)
    return found


def _decibels(error: NDArray[Any]) -> float:
    mean = float((error**2).mean())
    return float("inf") if mean == 0 else -10 * float(np.log10(mean))


def _ssim(reference: NDArray[Any], result: NDArray[Any]) -> float:
    return float(ssim(_planes(reference), _planes(result)))


def _planes(picture: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def _steepness(picture: Picture) -> float:
    grey = picture.mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
