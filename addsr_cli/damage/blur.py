"""Blur of a photo, from what blurring it once more does to its edges.

Zhuo and Sim, Defocus map estimation from a single image (2011): across an edge that is blurred by
a Gaussian of deviation s, gradients fall by R = sqrt((s^2 + t^2) / s^2) when it is blurred again
by t, so s = t / sqrt(R^2 - 1). Edges of a photo are of many kinds; its own blur is that of the
sharpest.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from addsr_cli.imageio.photo import FloatArray

AGAIN = 1.0  # pixels, deviation of the second blur
STRONGEST = 0.03  # share of the pixels that count as edges
LEAST_EDGE = 4.0  # levels a pixel, and this many times the noise
SHARPEST = 25  # percentile of the blur of edges
# What the pixels and the central difference blur themselves: an ideal step measures this.
OWN_VARIANCE = 0.3
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


def blur_deviation(squares: Sequence[FloatArray], noise: float) -> float | None:
    """Return the deviation of the blur in pixels, of squares (h, w, 1 or 3) in levels of 255.

    ``noise`` is in the same levels. None where there are no edges that stand out of it.
    """
    gradients = []
    for square in squares:
        if min(square.shape[:2]) < 8:
            continue
        plane = square @ _GRAY if square.shape[2] == 3 else square[:, :, 0]
        first = _gradient(np.ascontiguousarray(plane, np.float32))
        second = _gradient(np.asarray(cv2.GaussianBlur(plane, (0, 0), AGAIN), np.float32))
        gradients.append(np.stack([first[2:-2, 2:-2].ravel(), second[2:-2, 2:-2].ravel()]))
    if not gradients:
        return None
    first, second = np.concatenate(gradients, axis=1)
    least = max(float(np.quantile(first, 1 - STRONGEST)), LEAST_EDGE, 3 * noise)
    edges = first >= least
    if edges.sum() < 16:
        return None
    ratio = np.maximum(first[edges] / np.maximum(second[edges], 1e-3), 1.001)
    variance = AGAIN**2 / (ratio * ratio - 1)
    sharp = float(np.percentile(variance, SHARPEST))
    return float(max(0.0, sharp - OWN_VARIANCE) ** 0.5)


def _gradient(plane: FloatArray) -> FloatArray:
    """Return the length of the gradient by central differences, in levels a pixel."""
    slope_x = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    slope_y = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(cv2.magnitude(slope_x, slope_y), np.float32)
