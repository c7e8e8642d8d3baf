"""From a sharp crop to a believable bad photo: the second-order degradation of Real-ESRGAN, and milder company.

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
import torch
from numpy.typing import NDArray

from addsr_cli.imageio import resize

Array = NDArray[np.float32]
Rng = np.random.Generator
Range = tuple[float, float]

SCALE = 4
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
GRAY_NOISE_ODDS, GAUSSIAN_ODDS = 0.4, 0.5
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


@dataclass(frozen=True, kw_only=True)
class DegradationStage:
    """One round of blur, resize, noise and JPEG. Noise sigma in 1/255, resize odds are (up, down, keep)."""

    blur_odds: float
    sigma: Range
    resize_odds: tuple[float, float, float]
    resize: Range
    noise: Range
    poisson: Range
    jpeg: Range


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Two stages; none means plain bicubic shrinking, one that its noise comes after the last shrinking.

    ``damage`` is done to the small picture before the noise of a single stage. ``second_odds`` is
    how often the second stage happens, ``sinc_odds`` how often a last sinc filter rings over all,
    ``jpeg_last_odds`` how often JPEG comes after the last shrinking and not before.
    """

    name: str
    stages: tuple[DegradationStage, ...] = field(default=())
    second_odds: float = 1.0
    sinc_odds: float = 0.8
    jpeg_last_odds: float = 0.5
    damage: Callable[[Array, Rng], Array] | None = None


def chroma_noise(image: Array, rng: Rng) -> Array:
    """Add colour noise whose grains are 1 to 6 pixels wide, sigma 3 to 20 of 255, and none to the luma."""
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
    """Lay a printer's dot screen over a picture: 2.5 to 5 pixels between dots, at another angle for each colour."""
    rows, columns = np.indices(image.shape[:2], dtype=np.float32)
    period, first = rng.uniform(2.5, 5), rng.uniform(0, np.pi / 2)
    phases = []
    for turn in np.deg2rad((15, 75, 0)) + first:
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
    damage=chroma_noise,
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
    damage=halftone,
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
    """LR counterpart of ``hr`` (H, W, 3) -> (h, w, 3), rounded to 8 bits.

    ``size`` is (w, h) in pixels, by default a quarter of the sides, which must divide by 4 then.
    """
    target = size or (hr.shape[1] // SCALE, hr.shape[0] // SCALE)
    if not recipe.stages:
        return _to_8bit(resize(hr, target))
    if len(recipe.stages) == 1:
        return _one_stage(hr, rng, target, recipe)
    first, second = recipe.stages
    image = _blur(hr, _random_kernel(rng, first.sigma))
    image = _jpeg(
        _add_noise(_random_resize(image, rng, first, (hr.shape[1], hr.shape[0])), rng, first),
        rng,
        first,
    )
    if recipe.second_odds == 1 or rng.random() < recipe.second_odds:
        if rng.random() < second.blur_odds:
            image = _blur(image, _random_kernel(rng, second.sigma))
        image = _add_noise(_random_resize(image, rng, second, target), rng, second)
    kernel = _final_kernel(rng, recipe.sinc_odds)
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
    image = _blur(hr, _random_kernel(rng, stage.sigma)) if rng.random() < stage.blur_odds else hr
    image = _random_resize(image, rng, stage, (hr.shape[1], hr.shape[0]))
    image = _finish(image, rng, target, _final_kernel(rng, recipe.sinc_odds))
    image = _add_noise(recipe.damage(image, rng) if recipe.damage else image, rng, stage)
    return _jpeg(image, rng, stage) if rng.random() < recipe.jpeg_last_odds else _to_8bit(image)


def usm_sharpen(
    image: Array,
    amount: float = 0.5,
    radius: int = 51,
    threshold: float = 10 / 255,
) -> Array:
    """Unsharp masking of a training target, applied only where it changes more than ``threshold``."""
    blurred = cv2.GaussianBlur(image, (radius, radius), 0)
    residual = image - blurred
    mask = cv2.GaussianBlur((np.abs(residual) > threshold).astype(np.float32), (radius, radius), 0)
    sharp = np.clip(image + amount * residual, 0, 1)
    return _array(mask * sharp + (1 - mask) * image)


def gaussian_kernel(
    side: int,
    sigma: Range,
    angle: float,
    kind: str = "iso",
    beta: float = 1.0,
) -> Array:
    """Normalised kernel (side, side): Gaussian, generalised Gaussian or plateau, rotated by ``angle`` radians."""
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
    """Normalised circular low-pass (side, side) with ``cutoff`` in radians per pixel: rings like a cheap resizer."""
    axis = np.arange(side) - side // 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    radius[side // 2, side // 2] = 1.0  # the limit is set below
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * radius)).numpy()
    kernel = cutoff * bessel / (2 * np.pi * radius)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * np.pi)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _random_kernel(rng: Rng, sigma: Range) -> Array:
    side = int(rng.choice(KERNEL_SIDES))
    if rng.random() < SINC_ODDS:
        return sinc_kernel(side, rng.uniform(np.pi / (3 if side < 13 else 5), np.pi))
    kind = str(rng.choice(KERNEL_KINDS, p=KERNEL_ODDS))
    first, second = rng.uniform(*sigma), rng.uniform(*sigma)
    low, high = PLATEAU_BETA if kind.startswith("plateau") else GENERALISED_BETA
    beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
    spread = (first, first if kind.endswith("iso") and "aniso" not in kind else second)
    return gaussian_kernel(side, spread, rng.uniform(-np.pi, np.pi), kind, beta)


def _final_kernel(rng: Rng, odds: float) -> Array | None:
    if rng.random() >= odds:
        return None
    return sinc_kernel(int(rng.choice(KERNEL_SIDES)), rng.uniform(np.pi / 3, np.pi))


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
