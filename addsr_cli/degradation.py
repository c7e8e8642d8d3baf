"""Degradation of sharp photos: the second-order pipeline of Real-ESRGAN, and milder recipes.

Everything works on float32 RGB (H, W, 3) in [0, 1] and draws from one ``numpy.random.Generator``,
so that a sample is a function of its seed alone. ``degradation_recipes`` holds the numbers.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from addsr_cli.blur_kernels import Rng, final_sinc_kernel, random_blur_kernel
from addsr_cli.degradation_recipes import STRONG, Array, Degradation, DegradationStage
from addsr_cli.imageio import resize

SCALE = 4
GRAY_NOISE_ODDS, GAUSSIAN_ODDS = 0.4, 0.5
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


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
    image = _random_resize(
        image,
        rng,
        first,
        (hr.shape[1], hr.shape[0]),
    )
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
    return _to_8bit(
        _finish(
            _jpeg(image, rng, second),
            rng,
            target,
            kernel,
        )
    )


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
    image = _random_resize(
        image,
        rng,
        stage,
        (hr.shape[1], hr.shape[0]),
    )
    image = _finish(
        image,
        rng,
        target,
        final_sinc_kernel(rng, recipe.sinc_odds),
    )
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
    return _array(
        cv2.filter2D(
            image,
            -1,
            kernel,
            borderType=cv2.BORDER_REFLECT_101,
        )
    )


def _random_resize(
    image: Array,
    rng: Rng,
    stage: DegradationStage,
    base: tuple[int, int],
) -> Array:
    kind = rng.choice(3, p=stage.resize_odds)
    factor = (rng.uniform(1, stage.resize[1]), rng.uniform(stage.resize[0], 1), 1.0)[kind]
    size = (max(8, round(base[0] * factor)), max(8, round(base[1] * factor)))
    return _array(
        cv2.resize(
            image,
            size,
            interpolation=int(rng.choice(INTERPOLATIONS)),
        )
    )


def _add_noise(
    image: Array,
    rng: Rng,
    stage: DegradationStage,
) -> Array:
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


def _jpeg(
    image: Array,
    rng: Rng,
    stage: DegradationStage,
) -> Array:
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
    small = _array(
        cv2.resize(
            image,
            target,
            interpolation=int(rng.choice(INTERPOLATIONS)),
        )
    )
    return _array(np.clip(small if kernel is None else _blur(small, kernel), 0, 1))


def _to_8bit(image: Array) -> Array:
    return _array(np.round(np.clip(image, 0, 1) * 255)) / np.float32(255)


def _array(values: NDArray[Any]) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)
