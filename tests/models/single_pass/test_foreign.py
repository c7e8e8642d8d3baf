"""Networks of other people: spandrel recognises them, or one line says why not."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from one_pass_files import published, tiny_compact, tiny_esrgan
from torch import nn

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.single_pass.foreign import foreign_network
from addsr_cli.models.single_pass.reading import read_network


class Descriptor:
    """A stand-in for spandrel's: a network that doubles the size."""

    def __init__(self, purpose="SR", channels=(3, 3)):
        self.purpose = purpose
        self.input_channels, self.output_channels = channels
        self.scale = 2
        self.architecture = SimpleNamespace(name="Doubling")
        self.size_requirements = SimpleNamespace(multiple_of=1)
        self.model = nn.Linear(1, 1)

    def eval(self):
        return self

    def __call__(self, image):
        assert len(image) == 1
        return nn.functional.interpolate(image, scale_factor=2.0)


@pytest.fixture
def spandrel(monkeypatch):
    """A stand-in for the library; its ``found`` is what it recognises."""
    module = ModuleType("spandrel")
    module.found = Descriptor()

    class UnsupportedModelError(Exception):
        pass

    class ModelLoader:
        def __init__(self, device):
            assert device == "cpu"

        def load_from_state_dict(self, state):
            assert set(state) == {"strange.weight"}
            if module.found is None:
                raise UnsupportedModelError("no such network")
            return module.found

    module.ModelLoader = ModelLoader
    module.UnsupportedModelError = UnsupportedModelError
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


@pytest.fixture
def file(tmp_path):
    torch.save({"params": {"strange.weight": torch.ones(2, 2)}}, tmp_path / "strange.pth")
    return tmp_path / "strange.pth"


def refused(file):
    with pytest.raises(ModelUnavailable) as caught:
        read_network(file)
    return caught.value


@pytest.mark.usefixtures("spandrel")
def test_what_spandrel_recognises_runs_on_batches(file):
    network = read_network(file)
    assert (network.kind, network.scale, network.halo) == ("Doubling", 2, None)
    pictures = torch.rand(2, 3, 4, 5)
    assert torch.equal(network.enlarge(pictures), nn.functional.interpolate(pictures, None, 2.0))


def test_unknown_and_unsuited_networks_are_refused(spandrel, file):
    for found, words in (
        (None, "neither addsr nor spandrel"),
        (Descriptor(purpose="Inpainting"), "needs a mask"),
        (Descriptor(purpose="FaceSR"), "single faces"),
        (Descriptor(channels=(4, 4)), "reads 4 channels and writes 4"),
    ):
        spandrel.found = found
        assert words in refused(file).message


def test_without_spandrel_one_line_names_the_package_and_torchvision(monkeypatch, file):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    error = refused(file)
    assert "spandrel" in error.message
    assert 'pip install "addsr[models]"' in error.hint
    assert "torchvision" in error.hint


def test_the_real_spandrel_gives_the_picture_that_addsr_gives(tmp_path):
    """Weights that both know: addsr's own network against spandrel's."""
    pytest.importorskip("spandrel", reason="needs spandrel and torchvision")
    picture = torch.rand(1, 3, 12, 16)
    for state in (
        published(tiny_esrgan(growth=32), "new"),
        published(tiny_esrgan(growth=32, unshuffle=2), "new"),
        published(tiny_esrgan(growth=32, doublings=1), "old"),
        tiny_compact().state_dict(),
    ):
        theirs = foreign_network(state, tmp_path / "x.pth")
        torch.save(state, tmp_path / "x.pth")
        ours = read_network(tmp_path / "x.pth")
        assert ours.scale == theirs.scale
        expected = theirs.enlarge(picture)
        assert torch.allclose(ours.enlarge(picture).clamp(0, 1), expected, atol=1e-5)
