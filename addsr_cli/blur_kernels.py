"""Random blur kernels of Real-ESRGAN: Gaussian, generalised Gaussian, plateau and sinc."""

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32]
Rng = np.random.Generator
Range = tuple[float, float]

KERNEL_SIDES = tuple(range(7, 22, 2))
KERNEL_KINDS = (
    "iso",
    "aniso",
    "generalised_iso",
    "generalised_aniso",
    "plateau_iso",
    "plateau_aniso",
)
KERNEL_ODDS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
GENERALISED_BETA, PLATEAU_BETA = (0.5, 4.0), (1.0, 2.0)
SINC_ODDS = 0.1


def gaussian_kernel(
    side: int,
    sigma: Range,
    angle: float,
    kind: str = "iso",
    beta: float = 1.0,
) -> Array:
    """Normalised kernel (side, side), rotated by ``angle`` radians.

    Gaussian, generalised Gaussian or plateau, as ``kind`` says.
    """
    axis = np.arange(side) - side // 2
    x, y = np.meshgrid(axis, axis)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = -np.sin(angle) * x + np.cos(angle) * y
    distance = (u / sigma[0]) ** 2 + (v / sigma[1]) ** 2
    if kind.startswith("plateau"):
        kernel = 1 / (distance**beta + 1)
    else:
        kernel = np.exp(-0.5 * distance ** (beta if kind.startswith("generalised") else 1.0))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def sinc_kernel(side: int, cutoff: float) -> Array:
    """Normalised circular low-pass (side, side), which rings like a cheap resizer.

    ``cutoff`` is in radians per pixel.
    """
    axis = np.arange(side) - side // 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    radius[side // 2, side // 2] = 1.0  # the limit is set below
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * radius)).numpy()
    kernel = cutoff * bessel / (2 * np.pi * radius)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * np.pi)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def random_blur_kernel(rng: Rng, sigma: Range) -> Array:
    """A kernel of random kind, size, rotation and shape; ``sigma`` in pixels."""
    side = int(rng.choice(KERNEL_SIDES))
    if rng.random() < SINC_ODDS:
        return sinc_kernel(side, rng.uniform(np.pi / (3 if side < 13 else 5), np.pi))
    kind = str(rng.choice(KERNEL_KINDS, p=KERNEL_ODDS))
    first = rng.uniform(*sigma)
    second = rng.uniform(*sigma)
    low, high = PLATEAU_BETA if kind.startswith("plateau") else GENERALISED_BETA
    beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
    isotropic = kind.endswith("iso") and "aniso" not in kind
    spread = (first, first if isotropic else second)
    return gaussian_kernel(
        side,
        spread,
        rng.uniform(-np.pi, np.pi),
        kind,
        beta,
    )


def final_sinc_kernel(rng: Rng, odds: float) -> Array | None:
    """A sinc kernel with probability ``odds``, else None."""
    if rng.random() >= odds:
        return None
    return sinc_kernel(int(rng.choice(KERNEL_SIDES)), rng.uniform(np.pi / 3, np.pi))
