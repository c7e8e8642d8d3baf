"""``--decoder cfw``: StableSR's decoder under other models of Stable Diffusion 2."""

import shutil

import pytest
import torch
from bundles import write_bundle
from stablesr_samples import write_stablesr

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.stablesr.loading import load_bundle
from addsr_cli.weights import installed

CPU = {"device": "cpu", "precision": "fp32"}
CFW = Machine(**CPU, decoder="cfw")
OTHER_VAE = "the decoder cfw was trained with another VAE than this model's"


@pytest.fixture(scope="module")
def lender(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lender")
    return write_stablesr(folder / "bundle", folder / "files")


@pytest.fixture
def models(lender):
    """SeeSR and StableSR, both installed."""
    write_bundle(installed.model_folder("seesr"))
    installed.model_folder("stablesr").symlink_to(lender)


@pytest.fixture
def pixels():
    return torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(0)).numpy()


def test_fidelity_dials_it_and_0_is_the_models_own_decoder(models, pixels):
    own = Upscaler("seesr", Machine(**CPU))
    fused = Upscaler("seesr", CFW)
    assert fused.spec.name == f"{own.spec.name}+cfw"
    assert fused.digest() != own.digest()
    assert fused.steps(Settings(fidelity=1)) == own.steps()  # it is a dial of the decoder alone
    plain = own.upscale(pixels, Settings(steps=1))
    results = [fused.upscale(pixels, Settings(steps=1, fidelity=w)) for w in (0, None, 1)]
    assert [result.fidelity for result in results] == [0, 0.5, 1]
    at_0, half, whole = (torch.from_numpy(result.photo.rgb).float() for result in results)
    assert torch.equal(at_0, torch.from_numpy(plain.photo.rgb).float())
    assert 0 < (half - at_0).abs().mean() < (whole - at_0).abs().mean()
    assert OTHER_VAE in results[0].warnings
    assert "+cfw" in results[1].provenance()["Comment"]


def test_with_the_same_vae_it_is_stablesrs_own_decoder(models, lender):
    shutil.rmtree(installed.model_folder("seesr") / "vae")
    shutil.copytree(lender / "vae", installed.model_folder("seesr") / "vae")
    seesr = Upscaler("seesr", CFW).model.load("cpu", "fp32")
    assert seesr.notes == ()
    z, canvas = torch.randn(1, 4, 8, 8), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        cond = Conditioning(fidelity=0.7)
        picture = load_bundle(lender).decode(z, canvas, cond)
        assert torch.equal(seesr.decode(z, canvas, cond), picture)


def test_a_result_is_repeated_by_the_name_that_is_embedded(models, pixels):
    fused = Upscaler("seesr", CFW)
    again = Upscaler("seesr+cfw", Machine(**CPU))
    assert (again.spec, again.digest()) == (fused.spec, fused.digest())
    with pytest.raises(UsageError, match="tiles official"):  # the two decoders exclude one another
        again.upscale(pixels, Settings(tiles="official"))


def test_stablesr_has_it_already(models):
    assert Upscaler("stablesr", CFW).spec == Upscaler("stablesr", Machine(**CPU)).spec


def test_other_latents_are_refused(models):
    with pytest.raises(UsageError, match="--decoder cfw does not fit nano"):
        Upscaler("nano", CFW)


def test_without_an_installed_stablesr_the_message_says_what_to_pull():
    write_bundle(installed.model_folder("seesr"))
    with pytest.raises(ModelUnavailable, match="decoder cfw") as caught:
        Upscaler("seesr", CFW)
    assert "models pull stablesr" in caught.value.hint
