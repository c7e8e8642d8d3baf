"""From a name to a model that runs, against an imitation of the Hub that serves the golden networks."""

import io
import json
import sys
import tarfile
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from bundles import GOLDEN, tagger_config, write_bundle
from loopback import Repo
from safetensors.torch import load_file, save

from addsr_cli import Settings, Upscaler
from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models import install, library, parts, share
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.components import COMPONENTS, MADE_OF, FileSpec, Source

WEIGHTS = "diffusion_pytorch_model.safetensors"
SERVED = {"sd2-base": "org/sd2", "ram": "org/ram", "ram-tags": "org/tags", "dape": "org/dape", "seesr": "org/seesr"}


def read(part, name):
    return (GOLDEN / "models" / part / name).read_bytes()


def pair():
    return {f"{part}/{name}": read(part, name) for part in ("unet", "controlnet") for name in ("config.json", WEIGHTS)}


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def student(change=1.05):
    """The official pair with another UNet, as distillation would leave it."""
    files = pair()
    state = load_file(GOLDEN / "models" / "unet" / WEIGHTS)
    files[f"unet/{WEIGHTS}"] = save({key: value * change for key, value in state.items()})
    return files


def archive(path, files):
    with tarfile.open(path, "w:gz") as made:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"addsr/{name}")
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def hub(server, monkeypatch):
    """A Hub that serves every component, tiny; all of it counts as LFS, and no request leaves this machine."""
    sizes = tagger_config()
    golden = GOLDEN / "ram_dape"
    base = {f"text_encoder/{name}": read("text_encoder", name) for name in ("config.json", "model.safetensors")}
    base |= {f"vae/{name}": read("vae", name) for name in ("config.json", WEIGHTS)}
    base |= {f"tokenizer/{path.name}": path.read_bytes() for path in (GOLDEN / "models" / "tokenizer").iterdir()}
    base |= {"scheduler/scheduler_config.json": read("scheduler", "scheduler_config.json")}
    ram = {key: value.float() for key, value in load_file(golden / "ram_base.safetensors").items()}
    server.repos = {
        "org/sd2": Repo(base),
        "org/ram": Repo({"ram_swin_large_14m.pth": pickled({"model": ram})}),
        "org/dape": Repo({"DAPE.pth": pickled(load_file(golden / "dape_lora.safetensors"))}),
        "org/seesr": Repo({f"seesr/{path}": data for path, data in pair().items()}),
        "org/tags": Repo(
            {
                "ram_tag_list.txt": "\n".join(sizes.tags).encode(),
                "ram_tag_list_threshold.txt": "\n".join(map(str, sizes.thresholds)).encode(),
            }
        ),
    }
    local = {}
    for name, repo in SERVED.items():
        known = COMPONENTS[name]
        files = tuple(FileSpec(path=file.path) for file in known.files)
        prefix = "seesr/" if name == "seesr" else ""
        local[name] = replace(known, sources=(Source(repo=repo, prefix=prefix),), files=files)
    made_of = {name: tuple(local.get(part.name, part) for part in whole) for name, whole in MADE_OF.items()}
    monkeypatch.setattr(parts, "MADE_OF", made_of)
    monkeypatch.setattr(install, "convert_tagger", partial(install.convert_tagger, sizes=sizes))
    for name in ("fetch", "survey"):
        here = partial(getattr(install.hub, name), endpoint=server.endpoint, offline=False)
        monkeypatch.setattr(install.hub, name, here)
    return server


def runs(folder, tmp_path):
    """The model upscales a picture."""
    record = Bundle.read(folder)
    replace(record, shortest=64).write(folder)
    picture = torch.rand(12, 16, 3, generator=torch.Generator().manual_seed(0)).numpy()
    result = Upscaler(str(folder)).upscale(picture, Settings(steps=2, tags="none"))
    return result.photo.size == (64, 48)


def test_seesr_is_fetched_converted_and_runs(hub, tmp_path):
    said = []
    folder = install.install("seesr", dtype=torch.float32, say=said.append)
    record = Bundle.read(folder)
    assert (record.name, record.rule, record.default_steps, record.guidance) == ("seesr", "leading", 50, 5.5)
    assert record.words.added_prompt == "clean, high-resolution, 8k"
    assert "Open RAIL" in record.licence
    assert any("use restrictions" in line for line in said)
    assert library.problems(folder) == ()
    assert json.loads((folder / "import.json").read_text())["inputs"]
    assert runs(folder, tmp_path)


def test_the_second_time_nothing_is_fetched(hub):
    first = install.install("seesr", dtype=torch.float32)
    asked = len(hub.seen)
    assert install.install("seesr") == first
    assert len(hub.seen) == asked


def test_nothing_is_left_of_the_making(hub):
    folder = install.install("seesr", dtype=torch.float32)
    assert [path for path in library.home().iterdir() if path.suffix != ".lock"] == [folder]


def test_what_would_be_fetched_is_told_before(hub):
    found = {part.component.name: part for part in parts.needed("addsr")}
    assert found["addsr-student"].survey is None
    assert "no public source" in found["addsr-student"].problem
    assert found["ram"].survey.total == len(hub.repos["org/ram"].files["ram_swin_large_14m.pth"])
    assert not any(seen.method == "GET" for seen in hub.seen)


def test_an_archive_from_the_authors_becomes_addsr(hub, tmp_path):
    folder = install.install("addsr", student=archive(tmp_path / "addsr.tar.gz", student()), dtype=torch.float32)
    ours = load_file(folder / "unet" / WEIGHTS)
    theirs = load_file(GOLDEN / "models" / "unet" / WEIGHTS)
    assert all(torch.equal(ours[key], theirs[key] * 1.05) for key in theirs)
    assert (Bundle.read(folder).rule, Bundle.read(folder).default_steps) == ("renoise", 4)
    assert runs(folder, tmp_path)


def test_google_drive_is_asked_through_gdown(hub, tmp_path, monkeypatch):
    asked = []

    def download(url, output, **_):
        asked.append(url)
        return str(archive(tmp_path / "from-drive", student()))

    drive(monkeypatch, download)
    said = []
    install.install("addsr", dtype=torch.float32, say=said.append)
    assert asked == [parts.DRIVE]
    assert any("Google Drive" in line for line in said)


def test_without_gdown_it_is_said_what_to_do(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ModelUnavailable, match="Google Drive only") as caught:
        install.install("addsr")
    assert "addsr models import" in caught.value.hint
    assert not any(seen.method == "GET" for seen in hub.seen)


class DownloadError(Exception):
    """gdown's own, which stands below nothing but Exception."""


def drive(monkeypatch, download):
    """gdown, as far as we use it."""
    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download))
    monkeypatch.setitem(sys.modules, "gdown.exceptions", SimpleNamespace(DownloadError=DownloadError))


def quota(*_, **__):
    raise DownloadError("Too many users have viewed this file\nlately")


def unplugged(*_, **__):
    raise OSError("Network is unreachable")


@pytest.mark.parametrize("download", [lambda *_, **__: None, quota, unplugged], ids=["nothing", "quota", "no network"])
def test_a_drive_that_gives_nothing_is_a_sentence(hub, monkeypatch, download):
    drive(monkeypatch, download)
    with pytest.raises(ModelUnavailable, match="could not be fetched from Google Drive"):
        install.install("addsr")


def test_seesr_may_be_brought_along_too(hub, tmp_path):
    folder = install.install("seesr", student=archive(tmp_path / "seesr.tar.gz", pair()), dtype=torch.float32)
    assert not any("org/seesr" in seen.path for seen in hub.seen)
    assert Bundle.read(folder).default_steps == 50


def test_the_teacher_is_not_taken_for_the_student(hub, tmp_path):
    install.install("seesr", dtype=torch.float32)
    with pytest.raises(ModelUnavailable, match="SeeSR"):
        install.install("addsr", student=archive(tmp_path / "addsr.tar.gz", pair()), dtype=torch.float32)
    assert library.held("addsr") is None


def test_a_students_own_repository_may_be_named(hub, monkeypatch, tmp_path):
    hub.repos["me/student"] = Repo(student())
    monkeypatch.setenv("ADDSR_STUDENT_REPO", "me/student")
    assert runs(install.install("addsr", dtype=torch.float32), tmp_path)


def test_the_originals_can_be_dropped(hub):
    install.install("seesr", dtype=torch.float32)
    size = parts.downloads("seesr")
    assert size > 10**6
    assert parts.drop_downloads("seesr") <= size
    assert parts.downloads("seesr") == 0


def test_a_whole_bundle_comes_from_a_repository(hub, tmp_path):
    made = write_bundle(tmp_path / "made")
    hub.repos["someone/sharp"] = Repo(
        {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    )
    folder = install.install("someone/sharp")
    assert folder == library.folder_of("someone/sharp")
    assert library.problems(folder) == ()
    assert runs(folder, tmp_path)


def test_a_repository_without_a_bundle_is_a_sentence(hub):
    with pytest.raises(ModelUnavailable, match=r"has no file bundle\.json"):
        install.install("org/sd2")


def test_an_unknown_name_has_no_recipe(hub):
    with pytest.raises(UsageError, match="no recipe"):
        install.install("other")


class Api:
    """Notes what would go to the Hub."""

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
    folder = write_bundle(library.folder_of("addsr"))
    monkeypatch.setattr(share, "HfApi", Api)
    assert share.push("addsr", "me/addsr", private=True) == "https://hub/me/addsr"
    create, card, upload = Api.calls
    assert create == ("create", "me/addsr", {"private": True, "exist_ok": True})
    assert "--model me/addsr" in card[1]
    assert upload == ("folder", folder)


def test_what_is_damaged_or_not_here_is_not_pushed(monkeypatch):
    monkeypatch.setattr(share, "HfApi", Api)
    with pytest.raises(ModelUnavailable, match="not installed"):
        share.push("addsr", "me/addsr")
    folder = write_bundle(library.folder_of("addsr"))
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="damaged"):
        share.push("addsr", "me/addsr")
