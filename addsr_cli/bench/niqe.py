"""NIQE: the distance of a picture's statistics from those of natural photos.

The equations are those of Mittal, Soundararajan and Bovik (2013); window, grid of shapes, blocks
and the half-size step are those of the authors' release, whose model of natural photos is in
``assets``. Lower is better; natural photos score about 2 to 5.
"""

import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MODEL = Path(__file__).parent / "assets" / "niqe.npz"
BLOCK = 96
WINDOW, SIGMA = 7, 7 / 6
GREY = np.array([0.299, 0.587, 0.114])
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to the neighbours whose products are described
ROUNDING = 1e-9  # grey levels


def niqe(pixels: NDArray[np.uint8]) -> float:
    """NIQE of uint8 RGB (H, W, 3); NaN for a picture with fewer than two blocks of 96 pixels."""
    grey = np.rint(pixels @ GREY)
    rows, columns = (side // BLOCK for side in grey.shape)
    if rows * columns < 2:
        return float("nan")
    grey = grey[: rows * BLOCK, : columns * BLOCK]
    full_size = features(blocks(normalised(grey), BLOCK))
    half_size = features(blocks(normalised(_half(grey)), BLOCK // 2))
    both = np.hstack([full_size, half_size])
    complete = both[~np.isnan(both).any(axis=1)]
    if len(complete) < 2:
        return float("nan")
    mean, covariance = model()
    distance = mean - np.nanmean(both, axis=0)
    inverse = np.linalg.pinv((covariance + np.cov(complete, rowvar=False)) / 2)
    return float(np.sqrt(distance @ inverse @ distance))  # eq. 10


@cache
def model() -> tuple[Array, Array]:
    """Mean (36,) and covariance (36, 36) of the features of natural photos."""
    with np.load(MODEL) as arrays:
        return arrays["mean"], arrays["covariance"]


def normalised(grey: Array) -> Array:
    """Grey picture 0..255 less its local mean, over its local deviation (eq. 1 to 3)."""
    mean = _smooth(grey)
    deviation = np.sqrt(np.abs(_smooth(grey**2) - mean**2))
    detail = grey - mean
    # Flat stays flat, whatever the last digits of the filter are
    detail[np.abs(detail) < ROUNDING] = 0
    return np.asarray(detail / (deviation + 1))


def blocks(picture: Array, side: int) -> Array:
    """(H, W) cut into squares: (n, side, side); H and W divide by ``side``."""
    height, width = picture.shape
    cut = picture.reshape(height // side, side, width // side, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def features(squares: Array) -> Array:
    """Features (n, 18) of squares (n, side, side): shapes and scales of values and of products."""
    shape, left, right = fitted(squares)
    columns = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right = fitted(squares * np.roll(squares, shift, axis=(1, 2)))
        ratio = np.array([math.gamma(2 / a) / math.gamma(1 / a) for a in shape])
        columns += [shape, (right - left) * ratio, left, right]  # eq. 8
    return np.stack(columns, axis=1)


def fitted(values: Array) -> tuple[Array, Array, Array]:
    """Shape, left and right scale, each (n,), of an asymmetric generalised Gaussian (n, ...).

    Fitted by moments (Lasmar et al. 2009).
    """
    flat = values.reshape(len(values), -1)
    square = flat**2
    below = flat < 0
    above = flat > 0
    # A flat square has no values on one side: NaN, which niqe() leaves out
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt((square * below).sum(1) / below.sum(1))
        right = np.sqrt((square * above).sum(1) / above.sum(1))
        skew = left / right
        ratio = np.abs(flat).mean(1) ** 2 / square.mean(1)
        moments = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios, scales = _grid()
    # The nearest ratio; ratios rise with the shapes
    upper = np.searchsorted(ratios, moments).clip(1, len(ratios) - 1)
    nearest = upper - (moments - ratios[upper - 1] < ratios[upper] - moments)
    nearest[np.isnan(moments)] = 0  # a flat square counts as the spikiest shape, as in the release
    return shapes[nearest], left * scales[nearest], right * scales[nearest]


@cache
def _grid() -> tuple[Array, Array, Array]:
    """Candidate shapes, their ratio of moments, and the factor from deviation to scale."""
    shapes = np.arange(0.2, 10.001, 0.001)
    gammas = np.array([[math.gamma(k / a) for k in (1, 2, 3)] for a in shapes])
    ratios = gammas[:, 1] ** 2 / (gammas[:, 0] * gammas[:, 2])
    scales = np.sqrt(gammas[:, 0] / gammas[:, 2])
    return shapes, ratios, scales


def _smooth(grey: Array) -> Array:
    blurred = cv2.GaussianBlur(
        grey,
        (WINDOW, WINDOW),
        SIGMA,
        borderType=cv2.BORDER_REPLICATE,
    )
    return np.asarray(blurred, dtype=np.float64)


def _half(grey: Array) -> Array:
    """Half size: antialiased bicubic (a = -0.5) with mirrored edges, as in MATLAB's imresize."""
    distance = np.array([1.75, 1.25, 0.75, 0.25])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    half = np.where(distance < 1, near, far)
    taps = np.concatenate([half, half[::-1]]) / (2 * half.sum())
    blurred = cv2.sepFilter2D(
        grey,
        -1,
        taps,
        taps,
        anchor=(3, 3),
        borderType=cv2.BORDER_REFLECT,
    )
    return np.asarray(blurred[::2, ::2], dtype=np.float64)
