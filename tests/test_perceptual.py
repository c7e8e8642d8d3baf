"""LPIPS and DISTS: laws, the reference implementation, and what happens without their weights."""

import importlib.util
import pickle
from pathlib import Path

import perceptual_samples
import pytest
import torch

from addsr_cli import perceptual
from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.perceptual import DISTS, LPIPS, Backbone

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "tools" / "perceptual.py"
NETS = ("alex", "vgg")


@pytest.fixture(scope="module")
def pictures():
    """Two batches of two pictures of odd sizes."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 37, 45, generator=generator)


@pytest.fixture(scope="module", params=[*NETS, "dists"])
def distance(request, perceptual_state):
    """Each of the three distances."""
    if request.param == "dists":
        return DISTS.load(weights=perceptual_state)
    return LPIPS.load(request.param, weights=perceptual_state)


def test_equal_pictures_have_no_distance_and_others_have(distance, pictures):
    a, b = pictures
    assert distance(a, a).abs().max() < 1e-6
    assert distance(a, b).min() > 1e-4
    assert distance(a, b).shape == (2,)


def test_it_does_not_matter_which_picture_comes_first(distance, pictures):
    a, b = pictures
    assert torch.allclose(distance(a, b), distance(b, a), atol=1e-6)


def test_pictures_of_a_batch_do_not_mix(distance, pictures):
    a, b = pictures
    alone = torch.cat([distance(a[k : k + 1], b[k : k + 1]) for k in range(2)])
    assert torch.allclose(distance(a, b), alone, atol=1e-5)


def test_the_gradient_goes_to_the_first_picture_and_not_into_the_weights(distance, pictures):
    a, b = (picture.clone().requires_grad_() for picture in pictures)
    distance(a, b).sum().backward()
    assert a.grad.abs().max() > 0
    assert b.grad is None
    assert not any(p.requires_grad for p in distance.parameters())


def test_a_step_against_the_gradient_brings_pictures_nearer(distance, pictures):
    a, b = pictures[0].clone().requires_grad_(), pictures[1]
    before = distance(a, b).sum()
    before.backward()
    step = 0.05 * a.grad / a.grad.abs().max()
    assert distance(a.detach() - step, b).sum() < before


@pytest.mark.parametrize("net", NETS)
def test_features_that_are_all_zero_have_a_gradient(perceptual_state, net):
    blind = {
        key: value - 100 if key.startswith(f"{net}.backbone") and key.endswith("0.bias") else value
        for key, value in perceptual_state.items()
    }
    a = torch.zeros(1, 3, 32, 32, requires_grad=True)
    LPIPS.load(net, weights=blind)(a, torch.rand(1, 3, 32, 32)).sum().backward()
    assert a.grad.isfinite().all()


def test_autocast_changes_nothing(distance, pictures):
    exact = distance(*pictures)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distance(*pictures), exact)
    assert exact.dtype == torch.float32


@pytest.mark.parametrize("net", NETS)
def test_convolutions_in_bfloat16_are_near_and_the_rest_is_float32(perceptual_state, pictures, net):
    exact = LPIPS.load(net, weights=perceptual_state)(*pictures)
    fast = LPIPS.load(net, dtype=torch.bfloat16, weights=perceptual_state)
    assert fast.features(pictures[0])[0].dtype == torch.bfloat16
    assert fast(*pictures).dtype == torch.float32
    assert torch.allclose(fast(*pictures), exact, rtol=0.05)


@pytest.mark.parametrize("net", NETS)
def test_precomputed_features_give_the_same_distance(perceptual_state, pictures, net):
    lpips = LPIPS.load(net, weights=perceptual_state)
    of_a, of_b = (lpips.features(picture) for picture in pictures)
    assert tuple(each.shape[1] for each in of_a) == perceptual.STAGES[net]
    assert torch.equal(lpips.between(of_a, of_b), lpips(*pictures))


@pytest.mark.parametrize(("net", "sides"), [("alex", (8, 3, 1, 1, 1)), ("vgg", (36, 18, 9, 4, 2))])
def test_stages_have_the_sizes_of_the_published_networks(net, sides):
    features = Backbone(net)(torch.zeros(1, 3, 36, 36))
    assert tuple(each.shape[-1] for each in features) == sides


def test_small_pictures_are_refused(distance):
    with pytest.raises(UsageError, match="at least 32 px a side, not 40x31"):
        distance(torch.rand(1, 3, 31, 40), torch.rand(1, 3, 31, 40))


@pytest.mark.skipif(not REFERENCE.is_file(), reason="../shared/tools/perceptual.py is not here")
def test_values_and_gradients_are_those_of_the_reference(
    perceptual_state, pictures, tmp_path, monkeypatch
):
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    names = ("alexnet.ckpt", "vgg16.ckpt", "dists.pt")
    for name, data in zip(names, perceptual_samples.files(), strict=True):
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(reference, "HOME", tmp_path)
    # pickles of this NumPy name their parts differently from those in the package
    monkeypatch.setattr(reference, "_Arrays", pickle.Unpickler)
    for net in NETS:
        gradients = []
        for lpips in (LPIPS.load(net, weights=perceptual_state), reference.Features(net).lpips):
            a = pictures[0].clone().requires_grad_()
            value = lpips(a, pictures[1])
            value.sum().backward()
            gradients.append((value.detach(), a.grad))
        (ours, of_ours), (theirs, of_theirs) = gradients
        assert torch.allclose(ours, theirs, rtol=1e-5)
        assert torch.allclose(of_ours, of_theirs, atol=1e-5 * float(of_theirs.abs().max()))
    dists = reference.Dists()
    expected = [dists(pictures[0][k : k + 1], pictures[1][k : k + 1]) for k in range(2)]
    assert DISTS.load(weights=perceptual_state)(*pictures).tolist() == pytest.approx(
        expected, abs=1e-5
    )


def test_without_weights_the_error_says_what_to_type():
    with pytest.raises(ModelUnavailable, match="not on this computer") as caught:
        LPIPS.load("vgg")
    assert caught.value.hint.endswith("python -m addsr_cli.fetch_perceptual")


def test_addsr_home_moves_the_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("ADDSR_HOME", str(tmp_path / "elsewhere"))
    assert perceptual.weights_file() == tmp_path / "elsewhere" / "perceptual.safetensors"


def test_damaged_and_incomplete_weights_are_refused(perceptual_state, home):
    file = perceptual.weights_file()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"broken")
    with pytest.raises(ModelUnavailable, match="damaged"):
        LPIPS.load("alex")
    with pytest.raises(ModelUnavailable, match="incomplete"):
        LPIPS.load(
            "alex", weights={key: v for key, v in perceptual_state.items() if "heads.0" not in key}
        )
