"""Noise of a photo, from what a high-pass leaves of its flattest blocks.

Immerkær, Fast noise variance estimation (1996): the difference of two Laplacians is blind to
edges and gradients, and passes white noise with a known gain. Flat blocks are told by slower
variation than that, so that choosing them does not choose those with the least noise.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from addsr_cli.imageio.photo import FloatArray

BLOCK = 8  # pixels a side
FLATTEST = 0.15  # share of the blocks
LEAST_BLOCKS = 24
# Near black and white noise is clipped; such blocks are left out where there are others.
DARKEST, BRIGHTEST = 8.0, 247.0
_KERNEL = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32) / 6  # white noise keeps its deviation


def noise_deviation(squares: Sequence[FloatArray]) -> float:
    """Return the standard deviation of the noise, in levels of 255, of squares (h, w, 1 or 3).

    It is that of the green channel, 0 for pictures below 12 pixels a side.
    """
    energies, variations, means = [], [], []
    for square in squares:
        if min(square.shape[:2]) < BLOCK + 4:
            continue
        plane = np.ascontiguousarray(square[:, :, square.shape[2] // 2])
        fine = cv2.filter2D(plane, -1, _KERNEL)[2:-2, 2:-2]
        smooth = cv2.GaussianBlur(plane, (0, 0), 2.0)
        slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[2:-2, 2:-2]
        slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[2:-2, 2:-2]
        energies.append(_block_means(fine * fine))
        variations.append(_block_means(slope_x * slope_x + slope_y * slope_y))
        means.append(_block_means(plane[2:-2, 2:-2]))
    if not energies:
        return 0.0
    energy, variation, mean = (np.concatenate(each) for each in (energies, variations, means))
    unclipped = (mean > DARKEST) & (mean < BRIGHTEST)
    if unclipped.sum() >= min(LEAST_BLOCKS, mean.size // 4):
        energy, variation = energy[unclipped], variation[unclipped]
    count = min(energy.size, max(LEAST_BLOCKS, int(FLATTEST * energy.size)))
    flattest = np.argpartition(variation, count - 1)[:count]
    return float(np.median(energy[flattest]) ** 0.5)


def _block_means(plane: FloatArray) -> FloatArray:
    """Return the mean of every whole block, in one row."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    blocks = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    means: FloatArray = blocks.mean(axis=(1, 3)).ravel()
    return means
