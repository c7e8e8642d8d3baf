import numpy as np
import pytest
import torch
from one_pass_files import save_esrgan_file, tiny_esrgan
from PIL import Image

from addsr_cli.bench.dataset import TestPhoto
from addsr_cli.bench.peers import interpolation, peer_network, result_folder, with_unique_names
from addsr_cli.errors import ModelUnavailable, UnreadableInput, UsageError
from addsr_cli.weights import loader

ITEM = TestPhoto(stem="a", lr=None, hr=None)
SIZE = (128, 96)


@pytest.fixture
def small(clean):
    return np.asarray(Image.fromarray(clean).resize((32, 24), Image.Resampling.BICUBIC))


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


def test_a_peer_runs_and_is_brought_to_the_size_of_the_reference(tmp_path, small):
    method = peer_network(save_esrgan_file(tmp_path / "peer.pth", doublings=1), "cpu")
    result = method.run(ITEM, small, SIZE)
    picture = torch.from_numpy(small.astype(np.float32) / 255).permute(2, 0, 1)[None]
    twice = tiny_esrgan(doublings=1)(picture)[0].permute(1, 2, 0).clamp(0, 1).mul(255).round()
    expected = Image.fromarray(twice.byte().numpy()).resize(SIZE, Image.Resampling.BICUBIC)
    assert np.abs(result.picture.astype(int) - np.asarray(expected)).max() <= 1
    assert (method.name, method.detail) == ("peer", "ESRGAN x2, one pass")


def test_a_model_that_samples_is_no_peer():
    with pytest.raises(ModelUnavailable, match="samples in steps"):
        peer_network(loader.ASSETS / "nano.safetensors", "cpu")
