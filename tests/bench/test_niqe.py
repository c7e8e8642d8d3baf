import numpy as np
import pytest

from addsr_cli.bench.niqe import features, fitted, model, niqe


@pytest.fixture(scope="module")
def cloud():
    """Pink noise, the same on every machine up to rounding: uint8 (300, 420, 3)."""
    rng = np.random.default_rng(7)
    power = np.fft.fftfreq(300)[:, None] ** 2 + np.fft.fftfreq(420)[None] ** 2
    power[0, 0] = 1
    planes = [
        np.fft.ifft2(np.fft.fft2(rng.standard_normal((300, 420))) / power**0.5).real
        for _ in range(3)
    ]
    picture = np.stack(planes, -1)
    return np.clip(np.rint(128 + 45 * (picture - picture.mean()) / picture.std()), 0, 255).astype(
        np.uint8
    )


def test_niqe_agrees_with_a_second_implementation(cloud):
    """The score of BasicSR 1.4.2 for the grey version of this picture, with the same model."""
    assert niqe(cloud) == pytest.approx(6.230877, abs=1e-3)


def test_noise_and_blur_are_farther_from_nature(cloud):
    rng = np.random.default_rng(0)
    assert niqe(np.clip(cloud + rng.normal(0, 40, cloud.shape), 0, 255).astype(np.uint8)) > niqe(
        cloud
    )


def test_a_picture_of_less_than_two_blocks_has_none(cloud):
    assert np.isnan(niqe(cloud[:150, :150]))


def test_a_flat_picture_has_none_and_raises_no_warning():
    assert np.isnan(niqe(np.full((200, 200, 3), 90, np.uint8)))


def test_a_gaussian_has_the_shape_of_a_gaussian():
    values = np.random.default_rng(0).normal(0, 2, (1, 200, 200))
    shape, left, right = fitted(values)
    assert shape[0] == pytest.approx(2, abs=0.05)
    assert left[0] == pytest.approx(2 * 2**0.5, rel=0.05)
    assert right[0] == pytest.approx(left[0], rel=0.05)


def test_there_are_18_features_and_a_model_of_36():
    assert features(np.random.default_rng(0).normal(0, 1, (3, 24, 24))).shape == (3, 18)
    mean, covariance = model()
    assert mean.shape == (36,)
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
