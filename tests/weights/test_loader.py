"""From a name to a model, and the errors when there is none."""

import hashlib

import pytest
import torch

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.nano.restorer import NanoConfig, build_nano, save_nano
from addsr_cli.models.registry import BUNDLED
from addsr_cli.weights import loader
from addsr_cli.weights.components import MODEL_COMPONENTS
from addsr_cli.weights.loader import ASSETS, load, locate


@pytest.fixture
def run_folder(tmp_path):
    """A run folder with an export in it."""
    export = tmp_path / "run" / "export"
    export.mkdir(parents=True)
    save_nano(
        build_nano(NanoConfig(groups=(1,), width=4, growth=4, embedding=4)).net,
        export / "nano.safetensors",
    )
    return tmp_path / "run"


def test_the_bundled_model_is_here_small_and_loads():
    file = ASSETS / "nano.safetensors"
    assert file.stat().st_size <= 10_000_000
    restorer = load(locate("nano"), device="cpu", dtype="fp32")
    assert (restorer.factor, restorer.channels) == (4, 48)
    assert not any(p.requires_grad for p in restorer.net.parameters())


@pytest.mark.parametrize("name", ["auto", *BUNDLED])
def test_known_names_lead_to_the_bundled_file(name):
    located = locate(name)
    bundled = "nano" if name == "auto" else name
    assert (located.spec, located.file) == (BUNDLED[bundled], ASSETS / f"{bundled}.safetensors")
    assert located.reason


@pytest.mark.parametrize("name", MODEL_COMPONENTS)
def test_names_of_the_future_say_so(name):
    with pytest.raises(ModelUnavailable, match="not installed") as caught:
        locate(name)
    assert "nano" in caught.value.hint


@pytest.mark.parametrize("inside", ["", "export"])
def test_a_run_folder_and_its_export_are_both_models(run_folder, inside):
    located = locate(str(run_folder / inside))
    assert located.file == run_folder / "export" / "nano.safetensors"
    assert str(run_folder) in located.reason
    load(located, device="cpu", dtype="fp32")


def test_the_digest_is_that_of_the_file(run_folder):
    located = locate(str(run_folder))
    assert located.digest() == hashlib.sha256(located.file.read_bytes()).hexdigest()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelUnavailable, match="holds no model") as caught:
        locate(str(tmp_path))
    assert "folder" in caught.value.hint


@pytest.mark.parametrize("name", ["nonsense", "/no/such/folder"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(name):
    with pytest.raises(ModelUnavailable, match="no model called") as caught:
        locate(name)
    assert all(known in caught.value.hint for known in ("auto", *BUNDLED))


def test_a_misspelt_name_is_answered_with_the_nearest_name():
    with pytest.raises(ModelUnavailable, match="no model called 'Nano'") as caught:
        locate("Nano")
    assert caught.value.hint == "Did you mean nano?"


def test_a_missing_bundle_says_to_reinstall(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "ASSETS", tmp_path)
    with pytest.raises(ModelUnavailable, match="missing") as caught:
        locate("auto")
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_weights_come_in_the_type_that_was_planned(run_folder, name, dtype):
    restorer = load(locate(str(run_folder)), device="cpu", dtype=name)
    assert {p.dtype for p in restorer.net.parameters()} == {dtype}
    assert not restorer.net.training
