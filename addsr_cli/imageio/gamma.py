"""PNG's gAMA and cHRM: samples of another gamma or other primaries become sRGB.

The networks know photos as sRGB shows them; linear samples would look far too dark to them, and to
readers once the chunk is gone (ISO/IEC 15948, 11.3.2 and 12). Files that say sRGB, or bring a
profile, are not touched.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from addsr_cli.imageio.photo import FloatArray

USUAL = 1 / 2.2
TOLERANCE = 0.05  # of gamma times 2.2: nearer ones are written for, and shown as, sRGB
SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # white, red, green, blue: x and y
NEAR = 0.003  # of a chromaticity
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_BAND_PIXELS = 1 << 18

Chromaticities = tuple[float, ...]


def differs(gamma: float | None, primaries: Chromaticities | None) -> bool:
    """Whether samples with this gAMA value, and these chromaticities, are not sRGB as they are."""
    return _other_gamma(gamma) is not None or _matrix(primaries) is not None


def to_srgb(rgb: FloatArray, gamma: float | None, primaries: Chromaticities | None) -> None:
    """Convert (H, W, 3) in [0, 1] in place; what lies outside of sRGB ends at its border."""
    exponent, matrix = _other_gamma(gamma), _matrix(primaries)
    rows = max(1, _BAND_PIXELS // rgb.shape[1])
    for start in range(0, rgb.shape[0], rows):
        band = rgb[start : start + rows].astype(np.float64)
        light = _decoded(band) if exponent is None else band ** (1 / exponent)
        if matrix is not None:
            light = np.clip(light @ matrix.T, 0, 1)
        rgb[start : start + rows] = _encoded(light)


def _other_gamma(gamma: float | None) -> float | None:
    """The gAMA value, when it is one and not that of sRGB."""
    if gamma is None or not 0.01 <= gamma <= 100 or abs(gamma / USUAL - 1) <= TOLERANCE:
        return None
    return gamma


def _matrix(primaries: Chromaticities | None) -> NDArray[np.float64] | None:
    """Light of other primaries -> light of sRGB's, white to white.

    None when they are sRGB's or make no sense.
    """
    if (
        primaries is None
        or len(primaries) != 8
        or np.allclose(
            primaries,
            SRGB,
            rtol=0,
            atol=NEAR,
        )
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
    return matrix if np.isfinite(matrix).all() and np.abs(matrix).max() < 100 else None


def _to_xyz(primaries: Chromaticities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RGB light -> XYZ, and the XYZ of white. Raises LinAlgError and FloatingPointError."""
    with np.errstate(
        divide="raise",
        invalid="raise",
        over="raise",
    ):
        x, y = np.array(primaries, np.float64).reshape(4, 2).T
        xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
        white, colours = xyz[:, 0], xyz[:, 1:]
        return colours * np.linalg.solve(colours, white), white


def _decoded(samples: NDArray[Any]) -> NDArray[np.float64]:
    """SRGB samples -> light (IEC 61966-2-1)."""
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def _encoded(light: NDArray[Any]) -> NDArray[np.float64]:
    """Light -> sRGB samples."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
