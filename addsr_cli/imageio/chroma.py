"""Smooth colours of pictures whose chroma was stored at a lower resolution than their luma.

libheif repeats each chroma sample over the 2x2 pixels (4:2:0) or 2x1 pixels (4:2:2) that share it,
even where bilinear interpolation is asked for, and pillow-heif has no option for it
(https://github.com/strukturag/libheif/issues/935). Colour edges become stairs, which a larger
picture shows. Decoders of JPEG, WebP and AVIF interpolate: so does this module, on the decoded RGB.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_BT601 = (0.299, 0.114)
_RED_AND_BLUE = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Luma weights of red and blue by the MatrixCoefficients of H.273, table 4; others: BT.601."""

_BLOCKS = {420: (2, 2), 422: (1, 2)}  # rows and columns that share a chroma sample
_BAND = 256  # rows at a time
_REPEATED = 0.25
"""Chroma was repeated if it varies within its blocks by less than this share of the interpolation.

Rounding and clipped colours make it 0.01 to 0.1. Chroma that is interpolated already has about 1.
"""


def smooth_chroma(
    samples: NDArray[Any],
    bits: int,
    chroma: object,
    matrix_coefficients: int,
) -> NDArray[Any]:
    """Interpolate the chroma of RGB pixels that a decoder made by repeating chroma samples.

    Args:
        samples: unsigned integers, (H, W, 3 or 4); alpha is kept.
        bits: their largest value is 2 ** bits - 1.
        chroma: the file's subsampling: 420, 422, or any other value for none.
        matrix_coefficients: of the file's YCbCr, as in ITU-T H.273.

    Returns:
        An array of the same shape and dtype: each pixel plus the difference between bilinear
        interpolation and repetition of the chroma, for samples in the middle of their pixels.
        ``samples`` itself where there is nothing to interpolate: chroma at full resolution, grey
        pictures, or chroma that does not repeat (another decoder, or a crop by an odd offset).

    """
    block = _BLOCKS.get(chroma) if isinstance(chroma, int) else None
    if block is None or samples.shape[2] < 3:
        return samples
    to_ycc = _ycc_matrix(*_RED_AND_BLUE.get(matrix_coefficients, _BT601))
    stored, deviation = _stored_chroma(samples, block, to_ycc[1:])
    width = samples.shape[1]
    height = len(samples)
    bands = [slice(first, min(first + _BAND, height)) for first in range(0, height, _BAND)]
    change = sum(float(np.abs(_change(stored, block, rows, width)).sum()) for rows in bands)
    if deviation >= _REPEATED * change:
        return samples
    smoothed = samples.copy()
    to_rgb = np.linalg.inv(to_ycc)[:, 1:].astype(np.float32)  # luma stays as it is
    top = (1 << bits) - 1
    for rows in bands:
        band = samples[rows, :, :3] + _change(stored, block, rows, width) @ to_rgb.T
        smoothed[rows, :, :3] = np.rint(np.clip(band, 0, top, out=band), out=band)
    return smoothed


def _ycc_matrix(red: float, blue: float) -> NDArray[np.float32]:
    """Return the matrix (3, 3) from RGB to Y, Cb, Cr; H.273, equations 38 to 40."""
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    return np.stack([luma, cb, cr]).astype(np.float32)


def _stored_chroma(
    samples: NDArray[Any],
    block: tuple[int, int],
    to_chroma: NDArray[np.float32],
) -> tuple[NDArray[np.float32], float]:
    """Return the mean Cb and Cr of each block, (H / rows, W / columns, 2).

    Also returns the sum of the absolute deviations of the pixels' own values from it.
    """
    height, width = samples.shape[:2]
    rows, columns = block
    size = (-(-width // columns), -(-height // rows))
    stored = np.empty((size[1], size[0], 2), np.float32)
    deviation = 0.0
    for first in range(0, height, _BAND):
        chroma = samples[first : first + _BAND, :, :3].astype(np.float32) @ to_chroma.T
        odd = (-chroma.shape[0] % rows, -width % columns)
        chroma = np.pad(chroma, ((0, odd[0]), (0, odd[1]), (0, 0)), "edge")
        half = (size[0], chroma.shape[0] // rows)
        mean: Any = cv2.resize(chroma, half, interpolation=cv2.INTER_AREA)
        stored[first // rows : first // rows + half[1]] = mean
        deviation += float(np.abs(chroma - _repeated(mean, block)).sum())
    return stored, deviation


def _change(
    stored: NDArray[np.float32],
    block: tuple[int, int],
    rows: slice,
    width: int,
) -> NDArray[np.float32]:
    """Return interpolated minus repeated chroma of ``rows`` of the picture, (rows, width, 2)."""
    height = block[0]
    above = max(rows.start // height - 1, 0)  # interpolation reads one sample beyond the rows
    near = stored[above : -(-rows.stop // height) + 1]
    full = (near.shape[1] * block[1], near.shape[0] * height)
    change = cv2.resize(near, full, interpolation=cv2.INTER_LINEAR) - _repeated(near, block)
    start = rows.start - above * height
    return change[start : start + rows.stop - rows.start, :width]


def _repeated(chroma: NDArray[np.float32], block: tuple[int, int]) -> NDArray[np.float32]:
    return chroma.repeat(block[0], axis=0).repeat(block[1], axis=1)
