"""``addsr models``: listing, verifying, importing and removing models."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from bundles import write_bundle
from PIL import Image

from addsr_cli.cli.console import Console
from addsr_cli.cli.model_choice import choose_model
from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.models.nano.restorer import NanoConfig, build_nano, save_nano
from addsr_cli.weights import installed
from addsr_cli.weights.components import MODEL_COMPONENTS
from addsr_cli.weights.loader import locate


@pytest.fixture
def addsr_folder(home):
    """A model installed under the name addsr."""
    return write_bundle(installed.model_folder("addsr"))


def records(outcome):
    return {
        record["name"]: record
        for record in map(json.loads, outcome.out.splitlines())
        if "name" in record
    }


def test_on_a_fresh_machine_only_the_bundled_models_are_here(addsr):
    outcome = addsr("models", "list", "--json")
    listed = records(outcome)
    assert outcome.code == 0
    assert {name: record["state"] for name, record in listed.items()} == {
        "nano": "bundled",
        "small": "bundled",
        **dict.fromkeys(MODEL_COMPONENTS, "not installed"),
    }
    assert "Open RAIL" in listed["addsr"]["licence"]


def test_an_installed_model_is_listed_once_with_its_size(addsr, addsr_folder):
    listed = records(addsr("models", "list", "--json"))
    assert listed["addsr"]["state"] == "installed"
    assert listed["addsr"]["bytes"] == installed.folder_size(addsr_folder) > 10**6
    assert "addsr" in addsr("models", "list").out


def test_an_installed_model_goes_by_its_name(addsr, addsr_folder, tmp_path):
    Image.new("RGB", (16, 16), "teal").save(tmp_path / "photo.png")
    outcome = addsr("upscale", tmp_path / "photo.png", "--model", "addsr", "--steps", 1)
    assert outcome.code == 0
    assert "installed in" in outcome.err


def test_a_model_of_the_hub_has_a_folder_of_its_own(addsr, home):
    folder = write_bundle(installed.model_folder("someone/sharp"))
    assert folder.name == "someone--sharp"
    assert addsr("models", "path", "someone/sharp").out.strip() == str(folder)


def test_the_path_of_nano_is_its_file(addsr):
    assert addsr("models", "path", "nano").out.strip().endswith("nano.safetensors")


@pytest.mark.parametrize("name", ["addsr", "nobody/nothing"])
def test_the_path_of_a_missing_model_is_a_failure(addsr, name):
    outcome = addsr("models", "path", name)
    assert (outcome.code, outcome.out) == (4, "")


def test_an_intact_model_verifies(addsr, addsr_folder):
    assert addsr("models", "verify", "addsr").out == "addsr: intact\n"
    assert addsr("models", "verify", "nano").code == 0


@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_damage_is_detected_and_named(addsr, addsr_folder, harm):
    path = addsr_folder / "unet" / "diffusion_pytorch_model.safetensors"
    if harm == "flip":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    outcome = addsr("models", "verify", "addsr", "--json")
    assert outcome.code == 4
    assert records(outcome)["addsr"]["problems"][0].startswith(
        "unet/diffusion_pytorch_model.safetensors"
    )


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_nano_with_foreign_weights_is_detected(addsr, photo, tmp_path, value):
    net = build_nano(NanoConfig(groups=(1,), width=4, growth=4, embedding=4)).net
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    save_nano(net, tmp_path / "nano.safetensors")
    outcome = addsr("models", "verify", tmp_path)
    assert outcome.code == 4
    assert len(outcome.lines) == 1
    assert addsr("upscale", photo(), "--model", tmp_path).code == 4


def test_removal_frees_the_space_and_forgets_the_model(addsr, addsr_folder):
    size = installed.folder_size(addsr_folder)
    outcome = addsr("models", "rm", "addsr", "--json")
    assert records(outcome)["addsr"]["freed"] == size
    assert not addsr_folder.exists()
    assert addsr("models", "rm", "addsr").code == 4


def test_a_removal_cut_short_leaves_nothing_in_the_way(addsr, addsr_folder, monkeypatch):
    def cut(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        assert addsr("models", "rm", "addsr").code == 130
    assert installed.list_installed() == {}
    assert not addsr_folder.exists()
    with installed.installation_folder("addsr", print) as scratch:
        assert {path.name for path in installed.models_folder().iterdir()} == {
            ".addsr.lock",
            scratch.name,
        }


@pytest.mark.parametrize("name", ["..", "", "a\\b", "-x", "C:"])
def test_names_that_are_none_are_refused(addsr, name):
    assert addsr("models", "rm", "--", name).code == 2


@pytest.fixture
def gpu(monkeypatch):
    """Make the choice of the model see a GPU."""
    from addsr_cli import hardware

    true = hardware.probe
    monkeypatch.setattr(
        hardware, "probe", lambda device="auto": replace(true("cpu"), device="cuda:0")
    )


def choose(model, **options):
    located = choose_model(model, "auto", Console(), **{"download": True} | options)
    return located.spec.name


@pytest.mark.parametrize(
    ("pixels", "name", "reason"),
    [
        (None, "nano", "uses small"),
        (16_000_000, "small", "up to 16 MP"),
        (16_000_001, "nano", "above 16 MP"),
    ],
)
def test_without_a_gpu_the_size_of_the_result_decides_what_auto_is(pixels, name, reason):
    assert choose("auto", pixels=pixels) == name
    assert reason in locate("auto", pixels).reason


def test_the_largest_of_several_results_decides(addsr):
    Image.new("RGB", (8, 8)).save("a.png")
    Image.new("RGB", (1001, 1000)).save("b.png")
    for names, model in (("a.png", "small"), ("a.png b.png", "nano")):
        outcome = addsr("upscale", *names.split(), "--dry-run", "--json")
        records = [json.loads(line) for line in outcome.out.splitlines()]
        assert {record["model"] for record in records} == {model}


def test_with_a_gpu_auto_is_the_full_model_when_it_is_here(gpu, addsr_folder):
    assert choose_model("auto", "auto", Console(), download=True).file.parent == addsr_folder


def test_without_the_full_model_auto_gives_the_reason_and_uses_nano(gpu, capsys):
    assert choose("auto") == "nano"
    message = capsys.readouterr().err
    assert "auto uses nano" in message
    assert "offline" in message


@pytest.mark.parametrize("problem", [ModelUnavailable, OutputRefused])
def test_missing_weights_are_one_line_before_auto_falls_back(
    gpu, hub, monkeypatch, capsys, problem
):
    def refused(*_, **__):
        raise problem("Drive refuses the file.", "Download it in a browser.")

    monkeypatch.setattr("addsr_cli.weights.google_drive.download_student", refused)
    assert choose("auto") == "nano"
    lines = [line for line in capsys.readouterr().err.splitlines() if "auto uses nano" in line]
    assert lines == [
        "auto uses nano, since addsr is not available: "
        "Drive refuses the file. Download it in a browser."
    ]


def test_a_dry_run_fetches_nothing(gpu, capsys):
    assert choose("auto", download=False) == "nano"
    assert "would be downloaded" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["addsr", "seesr", "seesr-turbo", "someone/sharp"])
def test_a_model_asked_for_by_name_is_never_replaced(addsr, tmp_path, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    outcome = addsr("upscale", tmp_path / "photo.png", "--model", name)
    assert outcome.code == 4
    assert "offline" in outcome.err
    assert not (tmp_path / "photo_x4.png").exists()


def test_a_dry_run_of_pull_lists_files_and_sources(addsr, monkeypatch):
    from addsr_cli.models.seesr.published import STUDENT
    from addsr_cli.weights import sources
    from addsr_cli.weights.components import MODEL_COMPONENTS
    from addsr_cli.weights.manifest import Manifest, PlannedFile

    def manifest(component):
        if component is STUDENT:
            raise ModelUnavailable("It has no public source.", "Import it.")
        files = tuple(
            PlannedFile(path=file.path, size=file.size or 1000, cached=False)
            for file in component.files
        )
        source = component.sources[0]
        return Manifest(
            component=component.name, source=source, revision=source.revision, files=files
        )

    monkeypatch.setattr(sources, "request_manifest", manifest)
    outcome = addsr("models", "pull", "addsr", "--dry-run")
    assert outcome.code == 0
    for part in MODEL_COMPONENTS["addsr"]:
        assert part.name in outcome.out
        assert part.licence in outcome.out
    assert "f5bc1bd97485577aa0b946fa8a9004e2ec147402" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("total about 8.2 GB")
    rows = [
        json.loads(line)
        for line in addsr("models", "pull", "addsr", "--dry-run", "--json").out.splitlines()
    ]
    assert rows[-1]["size"] == sum(row["size"] or row["about"] for row in rows[:-1])
    ours = [row for row in rows if row["component"] == "addsr-student"]
    assert [row["file"] for row in ours] == [file.path for file in STUDENT.files]
    assert all("drive.google.com" in row["source"] for row in ours)
    assert "no public source" in ours[-1]["problem"]


def test_a_dry_run_without_a_network_prints_the_recorded_sizes(addsr):
    outcome = addsr("models", "pull", "seesr", "--dry-run")
    assert outcome.code == 0
    assert "ram_swin_large_14m.pth" in outcome.out
    assert "text_encoder/model.safetensors  1.4 GB" in outcome.out
    assert "offline" in outcome.out
    ours = addsr("models", "pull", "addsr", "--dry-run").out.splitlines()
    assert ours[4].startswith(
        "  AddSR: UNet and ControlNet distilled to 1-4 steps has no public source. Import it"
    )
    assert outcome.out.splitlines()[-1].startswith("total about 13.8 GB")


def test_pull_offline_is_one_line_and_exit_4(addsr):
    outcome = addsr("models", "pull", "seesr")
    assert outcome.code == 4
    assert "offline" in outcome.lines[-1]


def test_import_installs_the_model_and_prints_its_folder(addsr, monkeypatch, tmp_path):
    from addsr_cli.weights import download_plan, install

    seen = {}
    monkeypatch.setattr(download_plan, "plan_download", lambda name, networks_imported: ())

    def making(name, **options):
        seen.update(options, name=name)
        return write_bundle(installed.model_folder(name))

    monkeypatch.setattr(install, "install", making)
    outcome = addsr("models", "import", tmp_path / "addsr.zip", "--as", "addsr", "--dtype", "fp32")
    assert outcome.code == 0
    assert (seen["name"], seen["student"], seen["dtype"]) == (
        "addsr",
        tmp_path / "addsr.zip",
        torch.float32,
    )
    assert outcome.out.strip() == str(installed.model_folder("addsr"))


def test_push_prints_the_address(addsr, addsr_folder, monkeypatch):
    from addsr_cli.weights import push

    monkeypatch.setattr(
        push, "push", lambda name, repo, private: f"https://hub/{repo}?{name}{private}"
    )
    outcome = addsr("models", "push", "addsr", "me/addsr", "--private")
    assert outcome.out == "https://hub/me/addsr?addsrTrue\n"
