"""Colour matching: against the official code's pictures, and as laws."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from skimage.color import rgb2lab

from addsr_cli.color import adain, blur, lab, low_pass, match, wavelet
from addsr_cli.settings import Color

METHODS = get_args(Color)
GOLDEN = Path(__file__).parent / "golden" / "color_fix.safetensors"


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.rand(2, 3, 33, 40), torch.rand(2, 3, 33, 40) * 0.5 + 0.2


def error(ours, reference):
    return float((ours - reference).abs().max())


def picture(pixels):
    """uint8 (H, W, 3) -> [0, 1] (1, 3, H, W)."""
    return pixels.permute(2, 0, 1)[None].float() / 255


def truncated(image):
    """What torchvision's ToPILImage makes of a float image."""
    return image.clamp(0, 1).mul(255).byte()[0].permute(1, 2, 0)


@pytest.mark.parametrize(
    ("method", "name"),
    [("wavelet", "out.wavelet_reconstruction"), ("adain", "out.adaptive_instance_normalization")],
)
def test_float_results_are_the_official_ones(golden, method, name):
    assert error(match(golden["in.x"].clone(), golden["in.y"], method), golden[name]) <= 1e-5


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_8_bit_pictures_are_the_official_ones(golden, method):
    ours = truncated(
        match(picture(golden["in.target_u8_hwc"]), picture(golden["in.source_u8_hwc"]), method)
    )
    difference = (ours.int() - golden[f"out.{method}_color_fix_u8_hwc"].int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.001


def test_one_blur_is_the_official_one(golden):
    assert error(blur(golden["in.x"], 4), golden["out.wavelet_blur_r4"]) <= 1e-5


def test_the_decomposition_is_the_official_one(golden):
    low = low_pass(golden["in.x"])
    assert error(low, golden["out.wavelet_decomposition.low"]) <= 1e-5
    assert error(golden["in.x"] - low, golden["out.wavelet_decomposition.high"]) <= 1e-5


@pytest.mark.parametrize("radius", [1, 2, 16, 50])
def test_a_blur_leaves_a_flat_picture_alone_however_small(radius):
    flat = torch.full((1, 3, 5, 4), 0.3)
    assert torch.allclose(blur(flat, radius), flat)


def test_a_blur_does_not_write_into_its_input(pair):
    before = pair[0].clone()
    blur(pair[0], 2)
    assert torch.equal(pair[0], before)


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_that_equals_its_reference_stays(method, pair):
    image = pair[0]
    assert error(match(image.clone(), image, method), image) < (1e-3 if method == "lab" else 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_smooth_16_bit_gradient_keeps_its_values(method):
    ramp = torch.linspace(0, 1, 4096).expand(1, 3, 4, -1)
    matched = match(ramp.clone(), ramp, method).clamp(0, 1).mul(65535).round()
    assert len(matched[0, 1, 2].unique()) > 4000


@pytest.mark.parametrize("method", METHODS)
def test_a_change_too_small_to_see_stays_that_small(method, pair):
    image, reference = pair
    stirred = (image + 1e-6 * torch.randn_like(image)).clamp(0, 1)
    assert (
        error(match(stirred.clone(), reference, method), match(image.clone(), reference, method))
        < 1e-4
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_reference_is_never_changed(method, pair):
    image, reference = pair
    before = reference.clone()
    match(image, reference, method)
    assert torch.equal(reference, before)


def test_wavelet_takes_the_broad_colours_of_the_reference(pair):
    image, reference = pair
    assert error(low_pass(wavelet(image.clone(), reference)), low_pass(reference)) < 0.1
    shifted = wavelet(image + 0.25, reference)
    assert error(shifted, wavelet(image.clone(), reference)) < 1e-6


def test_adain_takes_mean_and_deviation_of_the_reference(pair):
    image, reference = pair
    matched = adain(image, reference)
    assert error(matched.mean((2, 3)), reference.mean((2, 3))) < 1e-5
    assert error(matched.std((2, 3)), reference.std((2, 3))) < 1e-4


def test_lab_leaves_lightness_alone(pair):
    image, reference = (x * 0.2 + 0.4 for x in pair)  # muted, so that no colour leaves the gamut
    matched = lab(image, reference)
    ours, before = (rgb2lab(x[0].permute(1, 2, 0).numpy()) for x in (matched, image))
    assert abs(ours[..., 0] - before[..., 0]).max() < 0.01  # of 100
    assert abs(ours[..., 1] - before[..., 1]).max() > 1


def test_none_returns_the_picture_itself(pair):
    assert match(*pair, "none") is pair[0]


@pytest.mark.parametrize("method", ["wavelet", "adain", "lab"])
def test_half_precision_comes_back_as_float32(method, pair):
    assert match(pair[0].half(), pair[1], method).dtype == torch.float32
