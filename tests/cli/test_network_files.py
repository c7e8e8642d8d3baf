"""Files of one network at the command line: ``--model FILE.pth``, ``models import``."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from one_pass_files import save_compact_file, save_esrgan_file
from PIL import Image

from addsr_cli.models.single_pass.published import REAL_ESRGAN
from addsr_cli.weights import components, install, installed, sources


@pytest.fixture
def photo(tmp_path):
    Image.effect_mandelbrot((20, 16), (-2, -1, 1, 1), 50).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def file(tmp_path):
    return save_esrgan_file(tmp_path / "mine.pth", doublings=1)


def test_a_file_upscales_a_photo_at_its_own_scale(addsr, photo, file):
    outcome = addsr("upscale", photo, "--model", file, "--json")
    record = json.loads(outcome.out)
    assert outcome.code == 0
    assert (record["model"], record["steps"], record["size_out"]) == ("mine", 0, [40, 32])
    assert record["output"].endswith("photo_x2.png")
    assert record["warnings"] == []


def test_a_batch_takes_a_file_too(addsr, photo, file, tmp_path):
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "photo.png")
    outcome = addsr("batch", tmp_path / "in", "--model", file, "--json")
    assert outcome.code == 0
    with Image.open(tmp_path / "in_x2" / "photo_x2.png") as picture:
        assert picture.size == (40, 32)


def test_options_that_mean_nothing_are_said(addsr, photo, file):
    outcome = addsr("upscale", photo, "--model", file, "--steps", 2, "--prompt", "a cat")
    assert outcome.code == 0
    assert "runs in one pass and ignores steps and prompts" in outcome.err


def test_what_is_no_network_is_one_line(addsr, photo, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    for model, words in (
        ("text.pth", "text.pth"),
        ("missing.pth", "There is no file"),
        ("models/missing.pth", "There is no file"),
        ("photo.png", "not a weights file"),
    ):
        outcome = addsr("upscale", photo, "--model", model)
        assert outcome.code == 4
        assert words in outcome.lines[-1]


def test_an_imported_network_goes_by_its_name_and_can_be_removed(addsr, photo, file):
    assert addsr("models", "import", file, "--as", "sharp").code == 0
    listed = [json.loads(line) for line in addsr("models", "list", "--json").out.splitlines()]
    [record] = [record for record in listed if record["name"] == "sharp"]
    assert (record["kind"], record["scale"], record["licence"]) == ("one pass", 2, "unknown")
    assert "one pass x2" in addsr("models", "list").out
    assert addsr("models", "verify", "sharp").out.strip() == "sharp: intact"
    outcome = addsr("upscale", photo, "--model", "sharp", "--json")
    assert json.loads(outcome.out)["model"] == "sharp"
    folder = installed.model_folder("sharp")
    weights = folder / "single-pass.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert "has changed" in addsr("models", "verify", "sharp").err
    assert addsr("models", "rm", "sharp").code == 0
    assert not folder.exists()


def test_a_name_that_is_taken_is_refused(addsr, file):
    for name in ("nano", "addsr", "realesrgan-x4plus", "auto"):
        outcome = addsr("models", "import", file, "--as", name)
        assert outcome.code == 7
        assert "--as" in outcome.lines[-1]
    assert addsr("models", "import", file).code == 0
    assert "installed already" in addsr("models", "import", file).lines[-1]


def test_two_networks_at_once_are_refused(addsr, file, tmp_path):
    other = save_compact_file(tmp_path / "other.pth")
    outcome = addsr("models", "import", file, other)
    assert outcome.code == 2
    assert "one after the other" in outcome.lines[-1]


def test_known_networks_are_listed_with_scale_and_licence(addsr):
    listed = {
        record["name"]: record
        for record in map(json.loads, addsr("models", "list", "--json").out.splitlines())
    }
    for name, scale in (("realesrgan-x4plus", 4), ("realesrgan-x2plus", 2)):
        assert (listed[name]["scale"], listed[name]["licence"]) == (scale, "BSD-3-Clause")
    assert (listed["nano"]["kind"], listed["nano"]["scale"]) == ("diffusion", None)


def test_a_known_network_is_fetched_checked_and_installed(tmp_path, monkeypatch):
    """From a server on this machine, with the digest of what it serves."""
    name = "realesr-general-x4v3"
    [component] = components.MODEL_COMPONENTS[name]
    [spec] = component.files
    served = save_compact_file(tmp_path / spec.path)
    fetched = []

    def fetch(component, **_):
        fetched.append(component)
        return tmp_path

    monkeypatch.setattr(sources, "fetch", fetch)
    folder = install.install(name)
    assert [each.name for each in fetched] == [name]
    assert folder == installed.find_installed(name)
    assert installed.find_problems(folder) == ()
    assert served.is_file()


def test_the_digests_of_known_networks_are_binding():
    for component in REAL_ESRGAN:
        [spec] = component.files
        assert spec.digest_is_binding
        assert len(bytes.fromhex(spec.sha256)) == sha256().digest_size
        assert not replace(spec, confidence="C").digest_is_binding


def test_a_benchmark_measures_a_file_and_says_what_it_leaves_out(addsr, file):
    outcome = addsr(
        *("bench", "--model", file, "--sizes", 16, "--runs", 1, "--seconds", 0, "--steps", "1,4"),
        *("--json",),
    )
    assert outcome.code == 0, outcome.err
    assert "ignores steps" in outcome.err
    assert "one pass" in outcome.out
