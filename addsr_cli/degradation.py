"""Degradation of sharp photos: the second-order pipeline of Real-ESRGAN, and milder recipes.

Everything works on float32 RGB (H, W, 3) in [0, 1] and draws from one ``numpy.random.Generator``,
so that a sample is a function of its seed alone. Numbers of ``STRONG`` are those of Real-ESRGAN
x4plus, ``MILD`` those of its gentler sibling; ``CAMERA`` lies between them and keeps the noise of
single pixels, as small cameras do, where the others mostly blur it; ``SENSOR`` adds its noise last
of all, to every pixel of the small picture, as a raw developer without noise reduction leaves it;
``CHROMA`` has the coarse, correlated colour noise of small sensors in poor light, ``BLOCKS`` heavy
JPEG compression, ``PRINT`` the screen of a printed picture; ``CLEAN`` is antialiased bicubic
shrinking and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.blur_kernels import Range, Rng, final_sinc_kernel, random_blur_kernel
from addsr_cli.imageio import resize

Array = NDArray[np.float32]

SCALE = 4
GRAY_NOISE_ODDS, GAUSSIAN_ODDS = 0.4, 0.5
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


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
    smooth = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
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


def degrade(
    hr: Array,
    rng: Rng,
    recipe: Degradation = STRONG,
    size: tuple[int, int] | None = None,
) -> Array:
    """Return the LR counterpart (h, w, 3) of ``hr`` (H, W, 3), rounded to 8 bits.

    ``size`` is (w, h) in pixels, by default a quarter of the sides, which must divide by 4 then.
    """
    target = size or (hr.shape[1] // SCALE, hr.shape[0] // SCALE)
    if not recipe.stages:
        return _to_8bit(resize(hr, target))
    if len(recipe.stages) == 1:
        return _one_stage(hr, rng, target, recipe)
    first, second = recipe.stages
    image = _blur(hr, random_blur_kernel(rng, first.sigma))
    image = _random_resize(image, rng, first, (hr.shape[1], hr.shape[0]))
    image = _add_noise(image, rng, first)
    image = _jpeg(image, rng, first)
    if recipe.second_odds == 1 or rng.random() < recipe.second_odds:
        if rng.random() < second.blur_odds:
            image = _blur(image, random_blur_kernel(rng, second.sigma))
        image = _random_resize(image, rng, second, target)
        image = _add_noise(image, rng, second)
    kernel = final_sinc_kernel(rng, recipe.sinc_odds)
    if rng.random() < recipe.jpeg_last_odds:
        return _jpeg(_finish(image, rng, target, kernel), rng, second)
    return _to_8bit(_finish(_jpeg(image, rng, second), rng, target, kernel))


def _one_stage(
    hr: Array,
    rng: Rng,
    target: tuple[int, int],
    recipe: Degradation,
) -> Array:
    (stage,) = recipe.stages
    image = hr
    if rng.random() < stage.blur_odds:
        image = _blur(image, random_blur_kernel(rng, stage.sigma))
    image = _random_resize(image, rng, stage, (hr.shape[1], hr.shape[0]))
    image = _finish(image, rng, target, final_sinc_kernel(rng, recipe.sinc_odds))
    if recipe.artifact:
        image = recipe.artifact(image, rng)
    image = _add_noise(image, rng, stage)
    return _jpeg(image, rng, stage) if rng.random() < recipe.jpeg_last_odds else _to_8bit(image)


def usm_sharpen(
    image: Array,
    amount: float = 0.5,
    radius: int = 51,
    threshold: float = 10 / 255,
) -> Array:
    """Unsharp masking of a training target where it changes more than ``threshold``."""
    blurred = cv2.GaussianBlur(image, (radius, radius), 0)
    residual = image - blurred
    mask = cv2.GaussianBlur((np.abs(residual) > threshold).astype(np.float32), (radius, radius), 0)
    sharp = np.clip(image + amount * residual, 0, 1)
    return _array(mask * sharp + (1 - mask) * image)


def _blur(image: Array, kernel: Array) -> Array:
    return _array(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def _random_resize(
    image: Array,
    rng: Rng,
    stage: DegradationStage,
    base: tuple[int, int],
) -> Array:
    kind = rng.choice(3, p=stage.resize_odds)
    factor = (rng.uniform(1, stage.resize[1]), rng.uniform(stage.resize[0], 1), 1.0)[kind]
    size = (max(8, round(base[0] * factor)), max(8, round(base[1] * factor)))
    return _array(cv2.resize(image, size, interpolation=int(rng.choice(INTERPOLATIONS))))


def _add_noise(image: Array, rng: Rng, stage: DegradationStage) -> Array:
    gray = rng.random() < GRAY_NOISE_ODDS
    if rng.random() < GAUSSIAN_ODDS:
        shape = (*image.shape[:2], 1) if gray else image.shape
        noisy = image + rng.standard_normal(shape, dtype=np.float32) * np.float32(
            rng.uniform(*stage.noise) / 255
        )
        return np.clip(noisy, 0, 1)
    clean = _to_8bit(image)
    source = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)[..., None] if gray else clean
    levels = len(np.unique(np.round(source * 255)))
    values = 2.0 ** np.ceil(np.log2(max(levels, 2)))
    noise = rng.poisson(np.maximum(source, 0) * values) / values - source
    return np.clip(image + (noise * rng.uniform(*stage.poisson)).astype(np.float32), 0, 1)


def _jpeg(image: Array, rng: Rng, stage: DegradationStage) -> Array:
    quality = round(rng.uniform(*stage.jpeg))
    pixels = np.round(np.clip(image[..., ::-1], 0, 1) * 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _array(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]) / np.float32(255)


def _finish(
    image: Array,
    rng: Rng,
    target: tuple[int, int],
    kernel: Array | None,
) -> Array:
    small = _array(cv2.resize(image, target, interpolation=int(rng.choice(INTERPOLATIONS))))
    return _array(np.clip(small if kernel is None else _blur(small, kernel), 0, 1))


def _to_8bit(image: Array) -> Array:
    return _array(np.round(np.clip(image, 0, 1) * 255)) / np.float32(255)


def _array(values: NDArray[Any]) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
