"""Degradation: recipes, kernels and noise against their published numbers."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.special import j1

from addsr_cli import blur_kernels, degradation
from addsr_cli.blur_kernels import (
    KERNEL_KINDS,
    KERNEL_ODDS,
    KERNEL_SIDES,
    gaussian_kernel,
    sinc_kernel,
)
from addsr_cli.degradation import degrade, usm_sharpen
from addsr_cli.degradation_recipes import (
    CLEAN,
    MILD,
    RECIPES,
    STRONG,
    DegradationStage,
    chroma_noise,
    halftone,
)

EVERY = sorted(RECIPES)
KERNELS = [
    (side, kind, beta) for side in (7, 21) for kind in KERNEL_KINDS for beta in (0.5, 1.0, 1.7)
]


@pytest.fixture(scope="module")
def hr():
    rng = np.random.default_rng(0)
    soft = cv2.resize(
        rng.random((5, 6, 3), dtype=np.float32), (80, 64), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(soft + rng.normal(0, 0.05, soft.shape), 0, 1).astype(np.float32)


def degraded(hr, recipe, seed=0):
    return degrade(hr, np.random.default_rng(seed), RECIPES[recipe])


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("seed", range(8))
def test_the_result_is_a_quarter_in_range_and_on_the_8_bit_grid(hr, recipe, seed):
    lr = degraded(hr, recipe, seed)
    assert (lr.shape, lr.dtype) == ((16, 20, 3), np.float32)
    assert 0 <= lr.min() <= lr.max() <= 1
    assert np.abs(lr * 255 - np.round(lr * 255)).max() < 1e-4


@pytest.mark.parametrize("recipe", EVERY)
def test_a_seed_means_one_result_and_the_input_stays_unchanged(hr, recipe):
    before = hr.copy()
    assert np.array_equal(degraded(hr, recipe, 5), degraded(hr, recipe, 5))
    assert np.array_equal(hr, before)


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"clean"}))
def test_seeds_differ(hr, recipe):
    assert len({degraded(hr, recipe, seed).tobytes() for seed in range(10)}) == 10


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("size", [(80, 64), (40, 32), (33, 47)])
def test_the_result_has_the_requested_size(hr, recipe, size):
    for seed in range(3):
        assert degrade(hr, np.random.default_rng(seed), RECIPES[recipe], size).shape == (
            size[1],
            size[0],
            3,
        )


def test_clean_and_of_the_same_size_is_the_picture_in_8_bits(hr):
    assert np.abs(degrade(hr, np.random.default_rng(0), CLEAN, (80, 64)) - hr).max() <= 0.51 / 255


@pytest.mark.parametrize("recipe", EVERY)
def test_a_very_small_picture_works(recipe):
    assert degraded(np.full((16, 16, 3), 0.5, np.float32), recipe).shape == (4, 4, 3)


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"clean"}))
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_survive(recipe, value):
    assert np.isfinite(degraded(np.full((32, 32, 3), value, np.float32), recipe)).all()


def test_clean_is_antialiased_bicubic_and_nothing_else(hr):
    planes = [
        Image.fromarray(hr[..., c]).resize((20, 16), Image.Resampling.BICUBIC) for c in range(3)
    ]
    expected = np.clip(np.stack(planes, axis=2), 0, 1)
    assert np.abs(degraded(hr, "clean") - expected).max() <= 0.51 / 255
    assert CLEAN.stages == ()


def test_strong_degrades_more_than_mild_and_mild_more_than_clean(hr):
    clean = degraded(hr, "clean")
    mild, strong = (
        np.mean([np.abs(degraded(hr, r, s) - clean).mean() for s in range(40)])
        for r in ("mild", "strong")
    )
    assert 0.005 < mild < strong


@pytest.mark.parametrize(("side", "kind", "beta"), KERNELS)
def test_kernels_sum_to_one_and_are_symmetric_about_the_centre(side, kind, beta):
    kernel = gaussian_kernel(side, (2.5, 0.7), 0.6, kind, beta)
    assert kernel.shape == (side, side)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    assert kernel.min() >= 0
    assert kernel.argmax() == side * side // 2


@pytest.mark.parametrize("kind", ["iso", "generalised_iso", "plateau_iso"])
def test_isotropic_kernels_are_unchanged_by_rotation(kind):
    kernel = gaussian_kernel(21, (1.8, 1.8), 0.6, kind, 1.3)
    assert np.allclose(kernel, np.rot90(kernel), atol=1e-7)
    assert np.allclose(kernel, kernel.T, atol=1e-7)
    assert np.allclose(kernel, gaussian_kernel(21, (1.8, 1.8), -2.0, kind, 1.3), atol=1e-7)


def test_long_kernels_are_long_in_the_direction_of_their_angle():
    flat, upright = (gaussian_kernel(21, (3, 0.5), angle, "aniso") for angle in (0, np.pi / 2))
    assert flat[10].sum() > 0.6 > flat[:, 10].sum()
    assert np.allclose(upright, flat.T, atol=1e-6)


def test_the_plain_kernel_is_the_gaussian_of_the_textbook():
    line = np.exp(-0.5 * (np.arange(-10, 11) / 1.5) ** 2)
    expected = np.outer(line, line) / line.sum() ** 2
    assert np.allclose(gaussian_kernel(21, (1.5, 1.5), 0.3), expected, atol=1e-7)
    assert np.allclose(
        gaussian_kernel(21, (1.5, 1.5), 0, "generalised_iso", 1.0), expected, atol=1e-7
    )


@pytest.mark.parametrize("side", [7, 13, 21])
@pytest.mark.parametrize("cutoff", [np.pi / 5, np.pi / 3, 2.0, np.pi])
def test_the_sinc_kernel_is_the_formula_of_real_esrgan(side, cutoff):
    expected = np.empty((side, side))
    for y in range(side):
        for x in range(side):
            r = np.hypot(y - (side - 1) / 2, x - (side - 1) / 2)
            expected[y, x] = (
                cutoff * j1(cutoff * r) / (2 * np.pi * r) if r else cutoff**2 / (4 * np.pi)
            )
    assert np.allclose(sinc_kernel(side, cutoff), expected / expected.sum(), atol=1e-6)


TABLE = {
    "strong": (
        (1.0, (0.2, 3), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3), (30, 95)),
        (0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5), (30, 95)),
    ),
    "mild": (
        (1.0, (0.2, 3), (0.2, 0.7, 0.1), (0.3, 1.5), (1, 15), (0.05, 2), (60, 95)),
        (0.5, (0.2, 1.5), (0.3, 0.4, 0.3), (0.6, 1.2), (1, 12), (0.05, 1), (60, 100)),
    ),
}
COLUMNS = ("blur_odds", "sigma", "resize_odds", "resize", "noise", "poisson", "jpeg")


@pytest.mark.parametrize("recipe", [STRONG, MILD], ids=lambda r: r.name)
def test_recipes_are_those_of_real_esrgan_and_its_gentler_sibling(recipe):
    assert recipe.stages == tuple(
        DegradationStage(**dict(zip(COLUMNS, row, strict=True))) for row in TABLE[recipe.name]
    )


def test_the_odds_shared_by_all_recipes_are_those_of_real_esrgan():
    assert KERNEL_ODDS == (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    assert KERNEL_SIDES == (7, 9, 11, 13, 15, 17, 19, 21)
    assert blur_kernels.SINC_ODDS == 0.1
    assert (STRONG.sinc_odds, STRONG.jpeg_last_odds, STRONG.second_odds) == (0.8, 0.5, 1.0)
    assert (degradation.GRAY_NOISE_ODDS, degradation.GAUSSIAN_ODDS) == (0.4, 0.5)
    assert (blur_kernels.GENERALISED_BETA, blur_kernels.PLATEAU_BETA) == ((0.5, 4.0), (1.0, 2.0))


def test_kernels_are_drawn_with_their_odds_and_ranges(monkeypatch):
    seen = []
    monkeypatch.setattr(blur_kernels, "gaussian_kernel", lambda *drawn: seen.append(drawn))
    monkeypatch.setattr(
        blur_kernels, "sinc_kernel", lambda side, cutoff: seen.append((side, cutoff))
    )
    rng = np.random.default_rng(0)
    for _ in range(3000):
        blur_kernels.random_blur_kernel(rng, (0.2, 3))
    sincs, gaussians = [d for d in seen if len(d) == 2], [d for d in seen if len(d) == 5]
    assert len(sincs) / 3000 == pytest.approx(0.1, abs=0.02)
    for kind, odds in zip(KERNEL_KINDS, KERNEL_ODDS, strict=True):
        assert np.mean([d[3] == kind for d in gaussians]) == pytest.approx(odds, abs=0.03)
    assert all(np.pi / (3 if side < 13 else 5) <= cutoff <= np.pi for side, cutoff in sincs)
    assert all(0.2 <= s <= 3 for d in gaussians for s in d[1])
    assert all((d[1][0] == d[1][1]) == ("aniso" not in d[3]) for d in gaussians)
    assert all(
        (1 if "plateau" in d[3] else 0.5) <= d[4] <= (2 if "plateau" in d[3] else 4)
        for d in gaussians
    )


def test_noise_is_gray_in_two_of_five_pictures():
    ramp, rng = np.linspace(0.3, 0.7, 256, dtype=np.float32), np.random.default_rng(0)
    image = np.repeat(ramp.reshape(16, 16, 1), 3, axis=2)
    noisy = [degradation._add_noise(image, rng, STRONG.stages[0]) for _ in range(600)]
    assert np.mean([np.ptp(n, axis=2).max() < 1e-6 for n in noisy]) == pytest.approx(0.4, abs=0.06)
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.01)


def test_sizes_are_drawn_with_their_odds_and_ranges():
    image, rng = np.zeros((40, 40, 3), np.float32), np.random.default_rng(0)
    base = (1000, 8)
    widths = np.array(
        [
            degradation._random_resize(image, rng, STRONG.stages[0], base).shape[1]
            for _ in range(600)
        ]
    )
    assert (widths > 1000).mean() == pytest.approx(0.2, abs=0.05)
    assert (widths < 1000).mean() == pytest.approx(0.7, abs=0.06)
    assert 150 <= widths.min() < 200
    assert 1400 < widths.max() <= 1500


@pytest.mark.parametrize("recipe", ["mild", "strong"])
def test_jpeg_is_written_twice_with_the_quality_of_its_stage(hr, recipe, monkeypatch):
    encode, seen = cv2.imencode, []
    monkeypatch.setattr(cv2, "imencode", lambda *a: (seen.append(a[2][1]), encode(*a))[1])
    for seed in range(30):
        degraded(hr, recipe, seed)
    assert len(seen) == 60
    for stage, qualities in zip(RECIPES[recipe].stages, (seen[::2], seen[1::2]), strict=True):
        assert stage.jpeg[0] <= min(qualities) < max(qualities) <= stage.jpeg[1]


def test_sharpening_does_not_change_flat_and_soft_areas():
    flat, ramp = np.full((60, 60, 3), 0.4, np.float32), np.linspace(0.4, 0.5, 60, dtype=np.float32)
    soft = np.tile(ramp[None, :, None], (60, 1, 3))
    assert np.array_equal(usm_sharpen(flat), flat)
    assert np.array_equal(usm_sharpen(soft), soft)


def test_sharpening_raises_the_contrast_of_edges_and_stays_in_range():
    edge = np.full((60, 60, 3), 0.3, np.float32)
    edge[:, 30:] = 0.7
    sharp = usm_sharpen(edge)
    assert sharp[30, 31, 0] - sharp[30, 28, 0] > 0.45
    assert 0 <= usm_sharpen(np.round(edge)).min() <= usm_sharpen(np.round(edge)).max() <= 1


def grain(lr):
    """Noise of single pixels: the median of the finest diagonal detail."""
    grey = lr.mean(axis=2)
    detail = grey[:-1:2, :-1:2] - grey[1::2, :-1:2] - grey[:-1:2, 1::2] + grey[1::2, 1::2]
    return float(np.median(np.abs(detail)))


@pytest.fixture(scope="module")
def mean():
    """Grain of a flat picture by recipe, over forty seeds."""
    flat = np.full((256, 256, 3), 0.5, np.float32)
    return {
        name: np.mean([grain(degraded(flat, name, seed)) for seed in range(40)]) for name in EVERY
    }


def test_the_camera_recipe_keeps_more_noise_of_single_pixels_than_the_others(mean):
    assert mean["camera"] > 1.2 * mean["strong"]
    assert mean["camera"] > 1.2 * mean["mild"]
    assert mean["clean"] == 0


def test_the_camera_recipe_ends_with_jpeg_and_may_have_one_stage(hr, monkeypatch):
    counts = []
    true_jpeg, true_noise = degradation._jpeg, degradation._add_noise
    monkeypatch.setattr(degradation, "_jpeg", lambda *w: counts.append("jpeg") or true_jpeg(*w))
    monkeypatch.setattr(
        degradation, "_add_noise", lambda *w: counts.append("noise") or true_noise(*w)
    )
    endings = []
    for seed in range(40):
        counts.clear()
        degraded(hr, "camera", seed)
        endings.append((counts[-1], counts.count("noise")))
    assert {last for last, _ in endings} == {"jpeg"}
    assert {count for _, count in endings} == {1, 2}


def test_the_sensor_recipe_adds_its_noise_to_every_pixel_after_the_last_shrinking(monkeypatch):
    sizes, endings = set(), set()
    true_jpeg, true_noise = degradation._jpeg, degradation._add_noise
    events = []
    monkeypatch.setattr(degradation, "_jpeg", lambda *w: events.append("jpeg") or true_jpeg(*w))

    def noise(image, *rest):
        sizes.add(image.shape[:2])
        events.append("noise")
        return true_noise(image, *rest)

    monkeypatch.setattr(degradation, "_add_noise", noise)
    for seed in range(40):
        events.clear()
        degraded(np.full((256, 256, 3), 0.5, np.float32), "sensor", seed)
        endings.add(tuple(events))
    assert sizes == {(64, 64)}
    assert endings == {("noise",), ("noise", "jpeg")}


def test_the_sensor_recipe_is_the_grainiest(mean):
    assert max(mean, key=mean.get) == "sensor"
    assert mean["sensor"] > 1.5 * mean["camera"]


FLAT = np.full((64, 64, 3), 0.5, np.float32)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def neighbours(field):
    """Correlation of each value with the one beside it."""
    return float(np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1])


def test_chroma_noise_leaves_luma_alone_and_has_coarse_grains():
    together = []
    for seed in range(20):
        added = chroma_noise(FLAT, np.random.default_rng(seed)) - FLAT
        assert np.abs(added @ LUMA).max() < 1e-5
        assert 2 / 255 < added[..., 0].std() < 21 / 255
        together.append(neighbours(added[..., 0]))
    assert np.mean(together) > 0.6
    assert min(together) > -0.1


def test_the_chroma_recipe_colours_more_than_it_greys_and_in_larger_grains_than_the_others():
    large = np.full((256, 256, 3), 0.5, np.float32)

    def measured(name):
        noises = [degraded(large, name, seed) - 0.5 for seed in range(30)]
        blue = [each[..., 2] - each @ LUMA for each in noises]
        ratios = [b.std() / (each @ LUMA).std() for b, each in zip(blue, noises, strict=True)]
        return np.median(ratios), np.mean([neighbours(b) for b in blue if b.std() > 1e-3])

    (colour, coarse), (plain, single) = measured("chroma"), measured("sensor")
    assert colour > 2 > plain
    assert coarse > single + 0.3


def blockiness(lr):
    """Steps across the borders of 8x8 blocks, relative to those within."""
    steps = np.abs(np.diff(lr, axis=1)).mean(axis=(0, 2))
    border = np.arange(1, lr.shape[1]) % 8 == 0
    return float(steps[border].mean() / steps[~border].mean())


def test_the_blocks_recipe_shows_the_blocks_of_jpeg():
    rng = np.random.default_rng(0)
    soft = cv2.resize(
        rng.random((9, 9, 3), dtype=np.float32), (512, 512), interpolation=cv2.INTER_CUBIC
    ).clip(0, 1)
    mean = {
        name: np.mean([blockiness(degraded(soft, name, seed)) for seed in range(20)])
        for name in ("blocks", "clean")
    }
    assert mean["clean"] == pytest.approx(1, abs=0.1)
    assert mean["blocks"] > 1.5


def strongest(picture):
    """Return the strongest frequency (cycles per pixel) and its power relative to the median."""
    grey = picture.mean(axis=2)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in reversed(grey.shape))))
    return radius.ravel()[power.argmax()], float(power.max() / np.median(power))


def test_a_screen_has_its_energy_at_the_distance_of_its_dots():
    for seed in range(12):
        period = np.random.default_rng(seed).uniform(2.5, 5)
        frequency, _ = strongest(halftone(FLAT, np.random.default_rng(seed)))
        assert frequency == pytest.approx(1 / period, abs=1 / 64)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_screen_does_not_change_bare_paper_and_full_ink(value):
    page = np.full((16, 16, 3), value, np.float32)
    assert np.array_equal(halftone(page, np.random.default_rng(0)), page)


def test_the_print_recipe_has_a_screen_and_the_others_have_none():
    large = np.full((256, 256, 3), 0.5, np.float32)
    printed, plain = (
        [strongest(degraded(large, name, seed)) for seed in range(12)]
        for name in ("print", "sensor")
    )
    assert all(0.2 - 1 / 64 <= frequency <= 0.4 + 1 / 64 for frequency, _ in printed)
    assert np.median([height for _, height in printed]) > 5 * np.median(
        [height for _, height in plain]
    )
