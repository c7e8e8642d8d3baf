"""PNG's gAMA and cHRM: converts samples of another gamma or other primaries to sRGB.

Networks are trained on sRGB; linear samples would be far too dark for them, and for readers of the
output, which has no such chunk (ISO/IEC 15948, 11.3.2 and 12). Files that declare sRGB, or contain
a profile, are not changed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from addsr_cli.imageio.photo import IntArray, as_float, as_rgb, bands, quantize

SRGB_GAMMA = 1 / 2.2
TOLERANCE = 0.05  # relative; files with a closer gamma are meant as sRGB
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # white, red, green, blue: x and y
CHROMATICITY_TOLERANCE = 0.003
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Chromaticities = tuple[float, ...]


def differs(gamma: float | None, primaries: Chromaticities | None) -> bool:
    """Return whether samples with this gAMA value and these chromaticities are not sRGB."""
    return _other_gamma(gamma) is not None or _matrix(primaries) is not None


def to_srgb(
    samples: IntArray,
    gamma: float | None,
    primaries: Chromaticities | None,
) -> NDArray[np.uint16]:
    """Return (H, W, 1..4) samples in sRGB; colours outside of it are clipped, alpha stays.

    The result has 16 bits, since 8 would merge dark levels.
    """
    exponent = _other_gamma(gamma)
    matrix = _matrix(primaries)
    out = np.empty(samples.shape, np.uint16)
    colours = 3 if samples.shape[2] >= 3 else 1
    for band in bands(*samples.shape[:2]):
        pixels = as_float(samples[band])
        rgb = as_rgb(pixels).astype(np.float64)
        light = _decoded(rgb) if exponent is None else rgb ** (1 / exponent)
        if matrix is not None:
            light = np.clip(light @ matrix.T, 0, 1)
        pixels[:, :, :colours] = _encoded(light)[:, :, :colours]
        quantize(pixels, out[band])
    return out


def _other_gamma(gamma: float | None) -> float | None:
    """Return the gAMA value; None when it is missing, invalid or that of sRGB."""
    if gamma is None or not 0.01 <= gamma <= 100 or abs(gamma / SRGB_GAMMA - 1) <= TOLERANCE:
        return None
    return gamma


def _matrix(primaries: Chromaticities | None) -> NDArray[np.float64] | None:
    """Return the matrix (3, 3) from light of other primaries to light of sRGB's, white to white.

    None when they are sRGB's or invalid. White is adapted by the Bradford transform.
    """
    if primaries is None or len(primaries) != 8:
        return None
    if np.allclose(
        primaries,
        SRGB,
        rtol=0,
        atol=CHROMATICITY_TOLERANCE,
    ):
        return None
    try:
        to_xyz, white = _to_xyz(primaries)
        srgb_to_xyz, srgb_white = _to_xyz(SRGB)
        scale = np.diag((_BRADFORD @ srgb_white) / (_BRADFORD @ white))
        adapted = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ to_xyz
        matrix = np.linalg.inv(srgb_to_xyz) @ adapted
    except (np.linalg.LinAlgError, FloatingPointError):
        return None
    if not np.isfinite(matrix).all() or np.abs(matrix).max() >= 100:
        return None
    return matrix


def _to_xyz(primaries: Chromaticities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix from RGB light to XYZ, and white in XYZ.

    Raises LinAlgError and FloatingPointError.
    """
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        x, y = np.array(primaries, np.float64).reshape(4, 2).T
        xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
        white = xyz[:, 0]
        colours = xyz[:, 1:]
        return colours * np.linalg.solve(colours, white), white


def _decoded(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Return the light of sRGB samples (IEC 61966-2-1)."""
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def _encoded(light: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sRGB samples of light."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
