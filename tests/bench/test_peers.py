import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from addsr_cli.bench.dataset import TestPhoto
from addsr_cli.bench.peers import interpolation, peer_network, result_folder, with_unique_names
from addsr_cli.errors import ModelUnavailable, UnreadableInput, UsageError

ITEM = TestPhoto(stem="a", lr=None, hr=None)
SIZE = (128, 96)


@pytest.fixture
def small(clean):
    return np.asarray(Image.fromarray(clean).resize((32, 24), Image.Resampling.BICUBIC))


class Doubling(torch.nn.Module):
    """A stand-in for spandrel's descriptor of a x2 network."""

    input_channels = output_channels = 3
    scale, architecture = 2, SimpleNamespace(name="Doubling")

    def forward(self, image):
        return torch.nn.functional.interpolate(image, scale_factor=2)


@pytest.fixture
def spandrel(monkeypatch):
    """A stand-in for spandrel that loads ``Doubling`` for every file except an unknown one."""

    class UnsupportedModelError(Exception):
        pass

    class ModelLoader:
        def __init__(self, device):
            assert device == "cpu"

        def load_from_file(self, file):
            if file.stem == "unknown":
                raise UnsupportedModelError("no such network")
            return Doubling() if file.stem != "mask" else torch.nn.Identity()

    module = ModuleType("spandrel")
    vars(module).update(
        ImageModelDescriptor=Doubling,
        ModelLoader=ModelLoader,
        UnsupportedModelError=UnsupportedModelError,
    )
    monkeypatch.setitem(sys.modules, "spandrel", module)


def test_bicubic_and_lanczos_are_pillows(small):
    for method, kind in zip(interpolation(), ("BICUBIC", "LANCZOS"), strict=True):
        result = method.run(ITEM, small, SIZE)
        theirs = np.asarray(Image.fromarray(small).resize(SIZE, Image.Resampling[kind]))
        assert np.array_equal(result.picture, theirs)
        assert result.seconds > 0


@pytest.mark.parametrize("name", ["a.png", "a_x4.png"])
def test_results_are_matched_by_stem(save, clean, small, name):
    folder = save(f"theirs/{name}", clean).parent
    result = result_folder(folder).run(ITEM, small, SIZE)
    assert np.array_equal(result.picture, clean)
    assert result.seconds is None
    assert result_folder(folder).run(TestPhoto(stem="b", lr=None, hr=None), small, SIZE) is None


def test_methods_of_one_name_get_different_labels(save, clean):
    folders = [save(f"{maker}/out/a.png", clean).parent for maker in ("one", "two")]
    names = [
        method.name for method in with_unique_names(*interpolation(), *map(result_folder, folders))
    ]
    assert names == ["bicubic", "lanczos", *(f"out ({folder})" for folder in folders)]


def test_results_of_another_size_are_refused(save, clean, small):
    folder = save("theirs/a.png", clean[:80]).parent
    with pytest.raises(UnreadableInput, match="128x80 px, not 128x96"):
        result_folder(folder).run(ITEM, small, SIZE)
    with pytest.raises(UsageError, match="not a folder"):
        result_folder(folder / "none")


def test_results_may_be_as_large_as_a_reference_before_it_was_cut(save, clean, small):
    folder = save("theirs/a.png", clean).parent
    assert result_folder(folder).run(ITEM, small, (126, 94)).picture.shape == (94, 126, 3)


@pytest.mark.usefixtures("spandrel")
def test_a_peer_runs_and_is_brought_to_the_size_of_the_reference(tmp_path, small):
    method = peer_network(tmp_path / "peer.pth", "cpu")
    result = method.run(ITEM, small, SIZE)
    twice = Image.fromarray(np.repeat(np.repeat(small, 2, 0), 2, 1))
    assert np.array_equal(result.picture, np.asarray(twice.resize(SIZE, Image.Resampling.BICUBIC)))
    assert (method.name, method.detail) == ("peer", "Doubling x2, spandrel")


@pytest.mark.usefixtures("spandrel")
@pytest.mark.parametrize(
    ("stem", "words"), [("unknown", "no such network"), ("mask", "not a network from RGB to RGB")]
)
def test_a_file_that_is_no_peer_is_refused(tmp_path, stem, words):
    with pytest.raises(ModelUnavailable, match=words):
        peer_network(tmp_path / f"{stem}.pth", "cpu")


def test_without_spandrel_one_line_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ModelUnavailable, match="needs spandrel") as caught:
        peer_network(tmp_path / "peer.pth", "cpu")
    assert "addsr[peers]" in caught.value.hint
