"""Distances, as laws."""

import numpy as np
import pytest
import torch

from addsr_cli.errors import ModelUnavailable
from addsr_cli.perceptual import LPIPS
from addsr_cli.similarity import log_spectrum, ssim
from addsr_cli.train.losses import Anchors, charbonnier, lattice, spectrum, teeth, texture


def test_charbonnier_is_never_less_than_the_distance_and_hardly_more(pair):
    distance = (pair[0] - pair[1]).abs().flatten(1).mean(1)
    assert (charbonnier(*pair) >= distance).all()
    assert (charbonnier(*pair) <= distance + 1e-3).all()


def test_charbonnier_has_a_gradient_where_the_pictures_agree():
    a = torch.zeros(1, 3, 8, 8, requires_grad=True)
    charbonnier(a, torch.zeros(1, 3, 8, 8)).sum().backward()
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_there_is_one_value_per_sample_and_samples_do_not_mix(pair):
    alone = torch.cat([charbonnier(pair[0][k : k + 1], pair[1][k : k + 1]) for k in range(3)])
    assert torch.allclose(charbonnier(*pair), alone, atol=1e-6)


def test_anchors_are_distances_to_the_original_for_what_weighs_something(pair):
    anchors = Anchors(
        {
            "l1": 0.1,
            "l2": 2.0,
            "lpips": 0.0,
            "ssim": 1.0,
            "spectrum": 0.2,
            "texture": 3.0,
            "teeth": 0.1,
            "lattice": 2.0,
        },
        torch.device("cpu"),
    )
    found = anchors(*pair)
    assert found.keys() == {"l1", "l2", "ssim", "spectrum", "texture", "teeth", "lattice"}
    assert torch.equal(found["spectrum"], spectrum(*pair))
    assert torch.equal(found["texture"], texture(*pair))
    assert torch.equal(found["teeth"], teeth(*pair))
    assert torch.equal(found["lattice"], lattice(*pair))
    assert torch.equal(found["l1"], charbonnier(*pair))
    assert torch.allclose(found["l2"], (pair[0] - pair[1]).square().mean((1, 2, 3)))
    assert torch.equal(found["ssim"], 1 - ssim(*pair))


@pytest.mark.parametrize("distance", [charbonnier, spectrum, texture, teeth, lattice])
def test_distances_are_float32_also_within_autocast_and_of_narrow_pictures(pair, distance):
    exact = distance(*pair)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distance(*pair), exact)
    narrow = [picture.bfloat16() for picture in pair]
    assert torch.equal(distance(*narrow), distance(*(picture.float() for picture in narrow)))


def test_lpips_is_vggs_and_never_trained(perceptual_weights):
    picture, hr = torch.rand(2, 2, 3, 40, 48)
    anchors = Anchors({"lpips": 1.0}, torch.device("cpu"))
    found = anchors(picture.requires_grad_(), hr)["lpips"]
    assert torch.allclose(found, LPIPS.load("vgg", weights=perceptual_weights)(picture, hr))
    found.sum().backward()
    assert picture.grad.abs().max() > 0
    assert not any(p.requires_grad for p in anchors.lpips.parameters())


def test_lpips_without_its_weights_is_a_sentence():
    with pytest.raises(ModelUnavailable, match="weights of LPIPS") as caught:
        Anchors({"lpips": 1.0}, torch.device("cpu"))
    assert "python -m addsr_cli.fetch_perceptual" in caught.value.hint


def noise(seed=0, strength=0.1):
    return 0.5 + strength * torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(seed))


def test_a_spectrum_is_that_of_the_numpy_formula():
    picture = noise().double()
    grey = picture[1].mean(0).numpy()
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.hanning(64)[:, None] * np.hanning(48))) ** 2
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(48)[None])
    lows = np.arange(0.125, 0.5, 0.0625)
    expected = [np.log(power[(radius >= low) & (radius < low + 0.0625)].mean() + 1e-9) for low in lows]
    assert log_spectrum(picture)[1].numpy() == pytest.approx(np.array(expected), rel=1e-9)


def test_a_spectrum_knows_strength_but_neither_place_nor_brightness():
    picture = noise()
    assert spectrum(picture, picture).abs().max() == 0
    assert spectrum(0.8 * picture, 0.8 * picture + 0.1).abs().max() < 1e-3
    doubled = 0.5 + 2 * (picture - 0.5)
    assert spectrum(doubled, picture).numpy() == pytest.approx([np.log(4)] * 2, abs=0.01)
    assert spectrum(noise(1), picture).max() < 0.3


def test_a_spectrum_below_the_rounding_of_8_bits_does_not_count():
    flat = torch.full((2, 3, 64, 48), 0.5)
    assert spectrum(noise(strength=1e-5), flat).max() < 0.02
    picture = flat.clone().requires_grad_()
    spectrum(picture, noise()).sum().backward()
    assert torch.isfinite(picture.grad).all()


def stripes(angle, period=4.0, strength=0.2, side=64):
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    phase = (np.cos(angle) * column + np.sin(angle) * row) * 2 * np.pi / period
    return (0.5 + strength * torch.sin(phase)).float().expand(1, 3, -1, -1)


def test_texture_knows_strength_whatever_the_phase_and_brightness():
    picture = stripes(0.3)
    assert texture(picture, picture).max() == 0
    assert texture(picture + 0.1, picture).max() < 1e-4
    assert texture(picture.roll(1, 3), picture).max() < 0.05
    assert texture(stripes(0.3, strength=0.1), picture).item() == pytest.approx(0.5, abs=0.01)
    assert texture(torch.full_like(picture, 0.5), picture).item() == pytest.approx(1, abs=0.02)


def test_texture_tells_directions_apart_which_the_spectrum_does_not():
    upright, level = stripes(0.0), stripes(np.pi / 2)
    assert spectrum(upright, level).max() < 1e-3
    assert texture(upright, level).item() > 1.5
    assert texture(stripes(np.pi), upright).max() < 1e-4


def test_texture_tells_places_apart_which_the_spectrum_does_not():
    flat = torch.full((1, 3, 64, 32), 0.5)
    left = torch.cat([stripes(0.0)[..., :32], flat], dim=3)
    right = torch.cat([flat, stripes(0.0)[..., 32:]], dim=3)
    assert spectrum(left, right).max() < 0.05
    assert texture(left, right).item() > 1.2


def test_texture_is_per_sample_and_has_a_gradient_where_all_is_flat():
    mixed = torch.cat([stripes(0.0), stripes(1.0)])
    told = texture(mixed, mixed.flip(0))
    assert told.shape == (2,)
    assert texture(mixed[:1], mixed[1:]).item() == pytest.approx(told[0].item(), rel=1e-5)
    flat = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    texture(flat, mixed[:1]).sum().backward()
    assert torch.isfinite(flat.grad).all()


def edge(angle, blur, side=48):
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    across = np.cos(angle) * (column - side / 2) + np.sin(angle) * (row - side / 2)
    return torch.sigmoid(across / blur).float().expand(1, 3, -1, -1), -np.sin(angle) * column + np.cos(angle) * row


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, 2.5])
def test_teeth_along_an_edge_count_and_its_sharpness_does_not(angle):
    sharp, along = edge(angle, 1.0)
    soft, _ = edge(angle, 4.0)
    dotted = sharp + 0.1 * torch.sin(along * np.pi / 2).float() * (4 * sharp * (1 - sharp))
    assert teeth(sharp, sharp).item() == 0
    found = teeth(dotted, sharp).item()
    assert found > 1e-3
    assert teeth(soft, sharp).item() < 0.02 * found
    assert teeth(sharp, dotted).item() < 0.02 * found


def test_teeth_are_looked_for_at_edges_only():
    flat = torch.full((2, 3, 64, 48), 0.5)
    assert teeth(noise(strength=0.02), flat).max() < 1e-4
    assert teeth(flat, flat).shape == (2,)
    picture = flat.clone().requires_grad_()
    teeth(picture, noise()).sum().backward()
    assert torch.isfinite(picture.grad).all()


def grid(period, direction, side=64):
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = {"across": column, "down": row, "both": row + column}[direction]
    return torch.cos(2 * np.pi * place / period).float().expand(1, 3, -1, -1)


def speckle(strength, side=64):
    return 0.5 + strength * torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("period", [2, 4, 8, 16])
@pytest.mark.parametrize("direction", ["across", "down", "both"])
def test_a_lattice_of_the_networks_grids_counts_and_other_patterns_hardly_do(period, direction):
    original = speckle(0.01)
    found = lattice(original + 0.02 * grid(period, direction), original)
    assert lattice(original, original).item() == 0
    assert found > 5 * lattice(original + 0.02 * grid(32 / 11, direction), original)
    assert found > 5 * lattice(original + 0.02 * grid(64, direction), original)
    assert found > 5 * lattice(original + 0.1, original)
    assert found < lattice(original + 0.04 * grid(period, direction), original)


def test_a_lattice_that_changes_sign_from_block_to_block_counts():
    pattern = 0.02 * grid(4, "across")
    sign = torch.ones(64).view(-1, 2, 4) * torch.tensor([[1.0], [-1.0]])
    assert lattice(0.5 + pattern * sign.flatten(), speckle(0.02)) > 0.9 * lattice(0.5 + pattern, speckle(0.02)) > 0.5


def test_a_lattice_that_detail_hides_or_that_the_original_has_counts_less():
    pattern = 0.02 * grid(4, "across")
    calm, busy = (speckle(strength) for strength in (0.01, 0.2))
    assert lattice(busy + pattern, calm) < 0.3 * lattice(calm + pattern, busy)
    assert lattice(calm + pattern, calm + pattern).item() == 0
    assert lattice(calm, calm + pattern).item() == 0


def test_detail_that_differs_without_a_pattern_is_hardly_a_lattice():
    def other(seed):
        return 0.5 + 0.05 * torch.randn(8, 3, 128, 128, generator=torch.Generator().manual_seed(seed))

    pattern = 0.05 * grid(4, "across", 128)
    assert lattice(other(1), other(2)).mean() < 0.1 * lattice(other(1) + pattern, other(2)).min()


def test_a_lattice_is_found_in_small_pictures_one_value_each_and_has_gradients():
    flat = torch.full((3, 3, 32, 40), 0.5, requires_grad=True)
    found = lattice(flat, torch.full((3, 3, 32, 40), 0.5))
    assert found.shape == (3,)
    lattice(flat, torch.rand(3, 3, 32, 40)).sum().backward()
    assert torch.isfinite(flat.grad).all()
