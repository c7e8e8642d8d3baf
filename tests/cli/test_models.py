"""``addsr models``: what is said about models, and what is deleted."""

import json

import pytest
from bundles import write_bundle
from PIL import Image

from addsr_cli.models import library


@pytest.fixture
def installed(home):
    """A model installed under the name addsr."""
    return write_bundle(library.folder_of("addsr"))


def records(done):
    return {record["name"]: record for record in map(json.loads, done.out.splitlines()) if "name" in record}


def test_on_a_fresh_machine_only_nano_is_here(addsr):
    done = addsr("models", "list", "--json")
    found = records(done)
    assert done.code == 0
    assert {name: record["state"] for name, record in found.items()} == {
        "nano": "bundled",
        "addsr": "not installed",
        "seesr": "not installed",
        "seesr-turbo": "not installed",
    }
    assert "Open RAIL" in found["addsr"]["licence"]


def test_an_installed_model_is_listed_once_with_its_size(addsr, installed):
    found = records(addsr("models", "list", "--json"))
    assert found["addsr"]["state"] == "installed"
    assert found["addsr"]["bytes"] == library.size(installed) > 10**6
    assert "addsr" in addsr("models", "list").out


def test_an_installed_model_goes_by_its_name(addsr, installed, tmp_path):
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "photo.png")
    done = addsr("upscale", tmp_path / "photo.png", "--model", "addsr", "--steps", 1)
    assert done.code == 0
    assert "installed in" in done.err


def test_a_model_of_the_hub_has_a_folder_of_its_own(addsr, home):
    folder = write_bundle(library.folder_of("someone/sharp"))
    assert folder.name == "someone--sharp"
    assert addsr("models", "path", "someone/sharp").out.strip() == str(folder)


def test_the_path_of_nano_is_its_file(addsr):
    assert addsr("models", "path", "nano").out.strip().endswith("nano.safetensors")


@pytest.mark.parametrize("name", ["addsr", "nobody/nothing"])
def test_the_path_of_what_is_not_here_is_a_failure(addsr, name):
    done = addsr("models", "path", name)
    assert (done.code, done.out) == (4, "")


def test_an_intact_model_verifies(addsr, installed):
    assert addsr("models", "verify", "addsr").out == "addsr: intact\n"
    assert addsr("models", "verify", "nano").code == 0


@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_damage_is_found_and_named(addsr, installed, harm):
    path = installed / "unet" / "diffusion_pytorch_model.safetensors"
    if harm == "flip":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    done = addsr("models", "verify", "addsr", "--json")
    assert done.code == 4
    assert records(done)["addsr"]["problems"][0].startswith("unet/diffusion_pytorch_model.safetensors")


def test_removal_frees_the_space_and_forgets_the_model(addsr, installed):
    size = library.size(installed)
    done = addsr("models", "rm", "addsr", "--json")
    assert records(done)["addsr"]["freed"] == size
    assert not installed.exists()
    assert addsr("models", "rm", "addsr").code == 4


@pytest.mark.parametrize("name", ["..", "", "a\\b", "-x", "C:"])
def test_names_that_are_none_are_refused(addsr, name):
    assert addsr("models", "rm", "--", name).code == 2
