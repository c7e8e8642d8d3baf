"""FID and KID: their formulas against others' code, and which pictures are compared."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from transformers import Dinov2Config, Dinov2Model

from addsr_cli.bench.set_distance import (
    SIDE,
    FeatureNetwork,
    SetDistances,
    dinov2_features,
    frechet_distance,
    kernel_distance,
    vgg_features,
)


@pytest.fixture
def sets():
    """Two sets of features of other sizes, means and covariances."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)), rng.normal(0.5, 2, (50, 6))


def test_the_frechet_distance_is_that_of_scipys_matrix_root(sets):
    first, second = sets
    a, b = (np.cov(each, rowvar=False) for each in sets)
    expected = np.square(first.mean(0) - second.mean(0)).sum()
    expected += np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)


def test_the_frechet_distance_of_a_shifted_set_is_the_square_of_the_shift(sets):
    assert frechet_distance(sets[0], sets[0] + 3) == pytest.approx(6 * 9)


def test_fewer_features_than_dimensions_have_a_frechet_distance(sets):
    assert frechet_distance(sets[0][:3], sets[0][:3]) == pytest.approx(0, abs=1e-6)


def test_the_kernel_distance_is_the_sum_over_all_pairs(sets):
    first, second = (each[:5] for each in sets)

    def kernel(x, y):
        return (x @ y / 6 + 1) ** 3

    own = [
        np.mean([kernel(x, y) for x in s for y in s if x is not y])
        for s in map(list, (first, second))
    ]
    between = np.mean([kernel(x, y) for x in first for y in second])
    assert kernel_distance(first, second) == pytest.approx(sum(own) - 2 * between)


def test_the_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    values = [kernel_distance(*rng.normal(size=(2, 6, 3))) for _ in range(2000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 2000**0.5
    assert min(values) < 0


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_one_feature_has_no_distance(distance, sets):
    assert math.isnan(distance(sets[0][:1], sets[1]))


def colours(patches):
    """Return mean and deviation of each patch's channels."""
    return torch.cat([patches.mean((2, 3)), patches.std((2, 3))], dim=1)


COLOURS = FeatureNetwork(name="colours", title="colours", dimensions=6, load=lambda _: colours)


def test_a_method_is_compared_with_the_references_of_its_own_photos():
    rng = np.random.default_rng(0)
    collected = SetDistances(COLOURS, border=1)
    for stem in "abc":
        picture = rng.integers(0, 256, (2 * SIDE + 9, 2 * SIDE + 2, 3), np.uint8)
        collected("real", "reference", stem, picture)
        collected("real", "darker", stem, picture // 2)
        if stem != "c":
            collected("real", "same", stem, picture)
    collected("blind", "same", "a", picture)
    assert collected.most_patches == 12
    assert collected.distances("real", "same") == pytest.approx(
        {"fid_colours": 0, "kid_colours": 0}, abs=5e-3
    )
    assert min(collected.distances("real", "darker").values()) > 0.01
    assert collected.distances("blind", "same") == {}


def test_small_pictures_are_one_patch():
    collected = SetDistances(COLOURS)
    collected("real", "reference", "a", np.zeros((30, 400, 3), np.uint8))
    assert collected.most_patches == 1


def test_dinov2_reads_imagenet_colours_and_gives_its_class_token(tmp_path):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    network = Dinov2Model(Dinov2Config(**sizes, image_size=56, mlp_ratio=1)).eval()
    network.save_pretrained(tmp_path)
    features = dinov2_features(tmp_path, "cpu")
    mean, deviation = (
        torch.tensor(values)[:, None, None]
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    patches = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected = network((patches - mean) / deviation).last_hidden_state[:, 0]
        assert torch.allclose(features(patches), expected, atol=1e-5)


def test_vgg_gives_the_mean_of_its_last_stage(perceptual_weights):
    with torch.inference_mode():
        features = vgg_features("cpu")(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 512)
    assert features.min() >= 0
