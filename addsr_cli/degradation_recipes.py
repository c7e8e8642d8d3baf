"""Recipes of degradation: what happens to a sharp photo, in which order and how strongly.

Numbers of ``STRONG`` are those of Real-ESRGAN
x4plus, ``MILD`` those of its gentler sibling; ``CAMERA`` lies between them and keeps the noise of
single pixels, as small cameras do, where the others mostly blur it; ``SENSOR`` adds its noise last
of all, to every pixel of the small picture, as a raw developer without noise reduction leaves it;
``CHROMA`` has the coarse, correlated colour noise of small sensors in poor light, ``BLOCKS`` heavy
JPEG compression, ``PRINT`` the screen of a printed picture; ``CLEAN`` is antialiased bicubic
shrinking and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.blur_kernels import Range, Rng

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DegradationStage:
    """Random ranges of one round of blur, resize, noise and JPEG.

    ``noise`` is the sigma in 1/255, ``resize_odds`` are those of (up, down, keep).
    """

    blur_odds: float
    sigma: Range
    resize_odds: tuple[float, float, float]
    resize: Range
    noise: Range
    poisson: Range
    jpeg: Range


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A recipe of up to two stages.

    Without a stage it is bicubic downscaling; the noise of a single stage follows the last
    downscaling. ``artifact`` is applied to the small picture before the noise of a single stage.
    ``second_odds`` is the probability of the second stage, ``sinc_odds`` that of a final sinc
    filter, ``jpeg_last_odds`` that of JPEG after the last downscaling instead of before it.
    """

    name: str
    stages: tuple[DegradationStage, ...] = field(default=())
    second_odds: float = 1.0
    sinc_odds: float = 0.8
    jpeg_last_odds: float = 0.5
    artifact: Callable[[Array, Rng], Array] | None = None


def chroma_noise(image: Array, rng: Rng) -> Array:
    """Add colour noise with grains of 1 to 6 pixels, sigma 3 to 20 of 255, and none in the luma."""
    height, width = image.shape[:2]
    grain = rng.uniform(1, 6)
    coarse = (max(2, round(height / grain)), max(2, round(width / grain)), 2)
    field = rng.standard_normal(coarse, dtype=np.float32)
    smooth = cv2.resize(
        field,
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    strength = np.float32(rng.uniform(3, 20) / 255 / (smooth.std() + 1e-6))
    red, blue = np.moveaxis(smooth * strength, -1, 0)
    green = -(0.299 * red + 0.114 * blue) / 0.587
    return np.clip(image + np.stack([red, green, blue], axis=-1), 0, 1)


def halftone(image: Array, rng: Rng) -> Array:
    """Add a printer's dot screen: 2.5 to 5 pixels between dots, at an angle per colour."""
    rows, columns = np.indices(image.shape[:2], dtype=np.float32)
    period = rng.uniform(2.5, 5)
    rotation = rng.uniform(0, np.pi / 2)
    phases = []
    for turn in np.deg2rad((15, 75, 0)) + rotation:
        u = np.cos(turn) * columns + np.sin(turn) * rows
        v = np.cos(turn) * rows - np.sin(turn) * columns
        phases.append(np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period))
    screen = np.stack(phases, axis=-1) * rng.uniform(0.05, 0.25)
    if rng.random() < 0.5:  # black ink alone
        screen = np.repeat(screen[..., :1], 3, axis=-1)
    return np.clip(image + 2 * screen * image * (1 - image), 0, 1).astype(np.float32)


STRONG = Degradation(
    name="strong",
    stages=(
        DegradationStage(
            blur_odds=1.0,
            sigma=(0.2, 3),
            resize_odds=(0.2, 0.7, 0.1),
            resize=(0.15, 1.5),
            noise=(1, 30),
            poisson=(0.05, 3),
            jpeg=(30, 95),
        ),
        DegradationStage(
            blur_odds=0.8,
            sigma=(0.2, 1.5),
            resize_odds=(0.3, 0.4, 0.3),
            resize=(0.3, 1.2),
            noise=(1, 25),
            poisson=(0.05, 2.5),
            jpeg=(30, 95),
        ),
    ),
)
MILD = Degradation(
    name="mild",
    stages=(
        DegradationStage(
            blur_odds=1.0,
            sigma=(0.2, 3),
            resize_odds=(0.2, 0.7, 0.1),
            resize=(0.3, 1.5),
            noise=(1, 15),
            poisson=(0.05, 2),
            jpeg=(60, 95),
        ),
        DegradationStage(
            blur_odds=0.5,
            sigma=(0.2, 1.5),
            resize_odds=(0.3, 0.4, 0.3),
            resize=(0.6, 1.2),
            noise=(1, 12),
            poisson=(0.05, 1),
            jpeg=(60, 100),
        ),
    ),
)
CAMERA = Degradation(
    name="camera",
    stages=(
        DegradationStage(
            blur_odds=1.0,
            sigma=(0.2, 2.5),
            resize_odds=(0.2, 0.5, 0.3),
            resize=(0.25, 1.2),
            noise=(1, 20),
            poisson=(0.05, 2),
            jpeg=(40, 95),
        ),
        DegradationStage(
            blur_odds=0.5,
            sigma=(0.2, 1.4),
            resize_odds=(0.3, 0.4, 0.3),
            resize=(0.4, 1.2),
            noise=(1, 12),
            poisson=(0.05, 1.2),
            jpeg=(50, 95),
        ),
    ),
    second_odds=0.8,
    sinc_odds=0.3,
    jpeg_last_odds=1.0,
)
SENSOR = Degradation(
    name="sensor",
    stages=(
        DegradationStage(
            blur_odds=0.5,
            sigma=(0.2, 2),
            resize_odds=(0, 0.4, 0.6),
            resize=(0.35, 1),
            noise=(1, 25),
            poisson=(0.05, 2.5),
            jpeg=(60, 98),
        ),
    ),
    sinc_odds=0.0,
    jpeg_last_odds=0.5,
)
CHROMA = Degradation(
    name="chroma",
    stages=(
        DegradationStage(
            blur_odds=0.4,
            sigma=(0.2, 1.5),
            resize_odds=(0, 0.3, 0.7),
            resize=(0.5, 1),
            noise=(0, 6),
            poisson=(0, 0.6),
            jpeg=(50, 98),
        ),
    ),
    sinc_odds=0.0,
    jpeg_last_odds=0.6,
    artifact=chroma_noise,
)
BLOCKS = Degradation(
    name="blocks",
    stages=(
        DegradationStage(
            blur_odds=0.3,
            sigma=(0.2, 1.5),
            resize_odds=(0, 0.2, 0.8),
            resize=(0.6, 1),
            noise=(0, 3),
            poisson=(0, 0.3),
            jpeg=(8, 45),
        ),
    ),
    sinc_odds=0.0,
    jpeg_last_odds=1.0,
)
PRINT = Degradation(
    name="print",
    stages=(
        DegradationStage(
            blur_odds=0.5,
            sigma=(0.2, 1.5),
            resize_odds=(0, 0.2, 0.8),
            resize=(0.6, 1),
            noise=(1, 10),
            poisson=(0.05, 1),
            jpeg=(40, 95),
        ),
    ),
    sinc_odds=0.0,
    jpeg_last_odds=0.8,
    artifact=halftone,
)
CLEAN = Degradation(name="clean")
RECIPES = {
    recipe.name: recipe for recipe in (CLEAN, MILD, CAMERA, SENSOR, STRONG, CHROMA, BLOCKS, PRINT)
}
