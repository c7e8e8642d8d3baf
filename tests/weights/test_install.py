"""From a name to a model that runs, with a fake Hub that serves the golden networks."""

import json
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from bundles import GOLDEN, write_bundle
from loopback import Repo
from safetensors.torch import load_file
from tiny_hub import WEIGHTS, archive, pair, student

from addsr_cli import Settings, Upscaler
from addsr_cli.errors import ModelUnavailable, OutputRefused, UsageError
from addsr_cli.models import bundle_files
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.nano.restorer import build_nano
from addsr_cli.models.nano.training import TINY, TrainableNano
from addsr_cli.models.seesr import installation
from addsr_cli.models.seesr.published import STUDENT
from addsr_cli.weights import (
    cache,
    download_plan,
    google_drive,
    install,
    installed,
    loader,
    push,
)

REPOSITORY = Path(install.__file__).parents[2]


def runs(folder):
    """Whether the model upscales a picture."""
    picture = torch.rand(12, 16, 3, generator=torch.Generator().manual_seed(0)).numpy()
    result = Upscaler(str(folder)).upscale(picture, Settings(steps=1, tags="none"))
    return result.photo.size == (64, 48)


def test_seesr_is_fetched_converted_and_runs(hub, tmp_path):
    messages = []
    folder = install.install("seesr", dtype=torch.float32, on_message=messages.append)
    record = Bundle.read(folder)
    assert (record.name, record.scheduler, record.default_steps, record.guidance) == (
        "seesr",
        "leading",
        50,
        5.5,
    )
    assert record.prompt_defaults.added_prompt == "clean, high-resolution, 8k"
    assert "Open RAIL" in record.licence
    assert any("use restrictions" in line for line in messages)
    assert installed.find_problems(folder) == ()
    assert json.loads((folder / "import.json").read_text())["inputs"]
    assert runs(folder)


def test_the_second_time_nothing_is_fetched(hub):
    first = install.install("seesr", dtype=torch.float32)
    asked = len(hub.seen)
    assert install.install("seesr") == first
    assert len(hub.seen) == asked


def test_installing_leaves_no_temporary_folder(hub):
    folder = install.install("seesr", dtype=torch.float32)
    assert [path for path in installed.models_folder().iterdir() if path.suffix != ".lock"] == [
        folder
    ]


HOLD = """
import sys, time
from addsr_cli.weights import installed
with installed.installation_folder("seesr", print) as scratch:
    print(scratch.name, flush=True)
    time.sleep(60)
"""


def test_the_folder_of_a_killed_process_is_removed_once_its_lock_is_free(hub):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        folder = installed.models_folder() / process.stdout.readline().decode().strip()
        seen = []

        def wait():
            seen.append(folder.is_dir())
            process.kill()

        with installed.installation_folder("seesr", wait):
            assert seen == [True]
            assert not folder.exists()


def test_leftovers_are_no_models_and_go_with_the_next_installation_of_that_name(hub):
    ours = write_bundle(installed.models_folder() / ".seesr.0a1b2c3d.part")
    others = [
        installed.models_folder() / f".{name}.part"
        for name in ("seesr-turbo.0a1b2c3d", "seesr.v2.0a1b2c3d")
    ]
    for folder in others:
        folder.mkdir()
    assert installed.list_installed() == {}
    folder = install.install("seesr")
    assert installed.list_installed() == {"seesr": folder}
    assert not ours.exists()
    assert all(folder.exists() for folder in others)


def test_a_process_that_waited_uses_the_model_of_the_other_process(hub, monkeypatch):
    true, messages = installed.installation_folder, []

    def slow(name, wait):
        write_bundle(installed.model_folder(name))
        wait()
        return true(name, wait)

    monkeypatch.setattr(installed, "installation_folder", slow)
    assert install.install("seesr", on_message=messages.append) == installed.model_folder("seesr")
    assert messages == ["another addsr is installing seesr; waiting for it"]
    assert hub.seen == []


def test_a_disk_that_fills_up_during_the_conversion_of_turbo_is_reported(hub, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installation, "save_file", full)
    with pytest.raises(OutputRefused, match="seesr-turbo cannot be written: the disk is full"):
        install.install("seesr-turbo")
    assert installed.list_installed() == {}
    assert not list(installed.models_folder().glob(".*.part"))


def test_files_hashed_on_download_are_not_hashed_again(hub, monkeypatch):
    hashed, true = [], bundle_files.sha256_of
    monkeypatch.setattr(bundle_files, "sha256_of", lambda path: hashed.append(path) or true(path))
    folder = install.install("seesr-turbo", dtype=torch.float32)
    assert {path.parent.name for path in hashed} == {"unet", "tagger"}  # written by the conversion
    inputs = json.loads((folder / "import.json").read_text())["inputs"]
    state = hub.repos["org/turbo"].files["vae/diffusion_pytorch_model.fp16.safetensors"]
    assert inputs[f"vae/{WEIGHTS}"] == sha256(state).hexdigest()


def test_the_record_names_the_commit_of_every_source(hub, tmp_path):
    source = json.loads((install.install("seesr") / "import.json").read_text())["source"]
    assert source.keys() == {"seesr", "sd2-base", "ram", "ram-tags", "dape"}
    assert source["ram"]["repo"] == "org/ram"
    assert source["ram"]["revision"] == hub.commit("org/ram")
    assert source["ram"]["licence"] == "Apache-2.0"
    checkpoint = hub.repos["org/ram"].files["ram_swin_large_14m.pth"]
    assert source["ram"]["files"] == {"ram_swin_large_14m.pth": sha256(checkpoint).hexdigest()}


def test_a_plan_lists_the_downloads_before_they_start(hub):
    found = {part.component.name: part for part in download_plan.plan_download("addsr")}
    assert found["addsr-student"].manifest is None
    assert "no public source" in found["addsr-student"].problem
    assert found["ram"].manifest.total == len(hub.repos["org/ram"].files["ram_swin_large_14m.pth"])
    assert not any(seen.method == "GET" for seen in hub.seen)


def test_an_archive_from_the_authors_becomes_addsr(hub, tmp_path):
    folder = install.install(
        "addsr", student=archive(tmp_path / "addsr.tar.gz", student()), dtype=torch.float32
    )
    ours = load_file(folder / "unet" / WEIGHTS)
    theirs = load_file(GOLDEN / "models" / "unet" / WEIGHTS)
    assert all(torch.equal(ours[key], theirs[key] * 1.05) for key in theirs)
    assert (Bundle.read(folder).scheduler, Bundle.read(folder).default_steps) == ("consistency", 4)
    assert runs(folder)


def test_google_drive_is_read_through_gdown_and_progress_is_reported(hub, tmp_path, monkeypatch):
    calls = []

    def download(url, output, *, progress, resume, **_):
        calls.append((url, resume))
        progress(3, 10)
        progress(5, None)
        return str(archive(tmp_path / "from-drive", student()))

    drive(monkeypatch, download)
    messages, seen = [], []
    install.install(
        "addsr", dtype=torch.float32, on_message=messages.append, on_progress=seen.append
    )
    assert calls == [(download_plan.GOOGLE_DRIVE_URL, True)]
    assert any("Google Drive" in line for line in messages)
    counts = [(t.done, t.size, t.total_done, t.total_size) for t in seen if "AddSR" in t.file]
    expected = sum(file.approximate_size for file in STUDENT.files)
    assert counts == [(3, 10, 3, 10), (5, None, 5, expected)]
    assert expected > 10**9


def test_gdown_itself_downloads_the_file_and_reports_progress(hub, tmp_path, monkeypatch):
    data = archive(tmp_path / "there", student()).read_bytes()

    class Drive(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Write no log."""

    seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Drive) as host:
        Thread(target=host.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            google_drive, "GOOGLE_DRIVE_URL", f"http://127.0.0.1:{host.server_port}/file"
        )
        download = google_drive.download_student(lambda _: None, seen.append)
        host.shutdown()
    assert download.read_bytes() == data
    assert download.parent == cache.component_folder("addsr-student")
    assert (seen[-1].done, seen[-1].size) == (len(data), len(data))


def test_google_drive_is_not_contacted_offline(hub, monkeypatch):
    drive(monkeypatch, lambda *_, **__: pytest.fail("contacted"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match="offline mode is on"):
        install.install("addsr")


class DownloadError(Exception):
    """gdown's error, a direct subclass of Exception."""


def drive(monkeypatch, download):
    """Install a gdown of the two names that addsr uses."""
    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download))
    monkeypatch.setitem(
        sys.modules, "gdown.exceptions", SimpleNamespace(DownloadError=DownloadError)
    )


def quota(*_, **__):
    raise DownloadError("Too many users have viewed this file\nlately")


def unplugged(*_, **__):
    raise OSError("Network is unreachable")


@pytest.mark.parametrize(
    "download", [lambda *_, **__: None, quota, unplugged], ids=["nothing", "quota", "no network"]
)
def test_a_failed_download_from_google_drive_is_one_error(hub, monkeypatch, download):
    drive(monkeypatch, download)
    with pytest.raises(ModelUnavailable, match="could not be downloaded from Google Drive"):
        install.install("addsr")


def test_seesr_installs_from_a_local_archive_too(hub, tmp_path):
    folder = install.install(
        "seesr", student=archive(tmp_path / "seesr.tar.gz", pair()), dtype=torch.float32
    )
    assert not any("org/seesr" in seen.path for seen in hub.seen)
    assert Bundle.read(folder).default_steps == 50


def test_the_teacher_is_not_accepted_as_the_student(hub, tmp_path):
    install.install("seesr", dtype=torch.float32)
    with pytest.raises(ModelUnavailable, match="SeeSR"):
        install.install(
            "addsr", student=archive(tmp_path / "addsr.tar.gz", pair()), dtype=torch.float32
        )
    assert installed.find_installed("addsr") is None


def test_a_students_own_repository_may_be_named(hub, monkeypatch, tmp_path):
    hub.repos["me/student"] = Repo(student())
    monkeypatch.setenv("ADDSR_STUDENT_REPO", "me/student")
    folder = install.install("addsr", dtype=torch.float32)
    assert (Bundle.read(folder).name, Bundle.read(folder).scheduler) == ("addsr", "consistency")
    assert any("me/student" in seen.path for seen in hub.seen)


def test_the_originals_can_be_dropped(hub):
    install.install("seesr", dtype=torch.float32)
    size = download_plan.downloaded_bytes("seesr")
    assert size > 10**6
    assert download_plan.delete_downloads("seesr") <= size
    assert download_plan.downloaded_bytes("seesr") == 0


def test_a_whole_bundle_comes_from_a_repository(hub, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    hub.repos["someone/sharp"] = Repo(
        {
            str(path.relative_to(bundle)): path.read_bytes()
            for path in bundle.rglob("*")
            if path.is_file()
        }
    )
    folder = install.install("someone/sharp")
    assert folder == installed.model_folder("someone/sharp")
    assert installed.find_problems(folder) == ()
    assert runs(folder)


def test_a_repository_without_a_bundle_is_one_error(hub):
    with pytest.raises(ModelUnavailable, match=r"has no file bundle\.json"):
        install.install("org/sd2")


def test_an_unknown_name_has_no_recipe(hub):
    with pytest.raises(UsageError, match="no recipe"):
        install.install("other")


class Api:
    """Records the calls that would reach the Hub."""

    def __init__(self, **_):
        Api.calls = []

    def create_repo(self, repo, **options):
        Api.calls.append(("create", repo, options))
        return f"https://hub/{repo}"

    def upload_file(self, **options):
        Api.calls.append(("card", options["path_or_fileobj"].decode()))

    def upload_folder(self, **options):
        Api.calls.append(("folder", options["folder_path"]))


def test_a_model_is_pushed_whole_with_a_card(tmp_path, monkeypatch):
    folder = write_bundle(installed.model_folder("addsr"))
    monkeypatch.setattr(push, "HfApi", Api)
    assert push.push("addsr", "me/addsr", private=True) == "https://hub/me/addsr"
    create, card, upload = Api.calls
    assert create == ("create", "me/addsr", {"private": True, "exist_ok": True})
    assert "--model me/addsr" in card[1]
    assert upload == ("folder", folder)


def test_the_card_names_the_parts_the_paper_and_the_licence(monkeypatch):
    folder = installed.model_folder("stablesr")
    for part in ("unet", "adapter", "vae", "fusion"):
        (folder / part).mkdir(parents=True)
    Bundle(name="stablesr", arch="stablesr", parameters=9, licence="non-commercial").write(folder)
    monkeypatch.setattr(push, "HfApi", Api)
    push.push("stablesr", "me/stablesr")
    card = Api.calls[1][1]
    for words in ("adapter, fusion, unet, vae.", "arxiv.org/abs/2305.07015", ": non-commercial."):
        assert words in card


def test_the_folder_of_a_training_run_is_pushed_with_its_own_card(tmp_path, monkeypatch):
    run = tmp_path / "run"
    TrainableNano(build_nano(TINY)).write(run / "export", {})
    (run / "export" / "README.md").write_text("mine")
    monkeypatch.setattr(push, "HfApi", Api)
    monkeypatch.setattr(Api, "calls", [])
    push.push(str(run), "me/mine")
    assert Api.calls[1:] == [("folder", run / "export")]


def test_a_pushed_nano_comes_back_and_runs(tmp_path, monkeypatch):
    TrainableNano(build_nano(TINY)).write(installed.model_folder("me/mine"), {})
    located = loader.locate("me/mine")
    assert located.spec.arch == "nano"
    assert installed.find_problems(located.file.parent) == ()
    assert loader.load(located, device="cpu", dtype="fp32").factor == 4


def test_a_damaged_or_missing_model_is_not_pushed(monkeypatch):
    monkeypatch.setattr(push, "HfApi", Api)
    with pytest.raises(ModelUnavailable, match="not installed"):
        push.push("addsr", "me/addsr")
    folder = write_bundle(installed.model_folder("addsr"))
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="damaged"):
        push.push("addsr", "me/addsr")
