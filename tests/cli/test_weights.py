"""From the command line to a picture, with weights from the loopback Hub or imported."""

import json
import os
import re
from collections import Counter
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from bundles import write_bundle
from loopback import Repo
from PIL import Image
from tiny_hub import WEIGHTS, archive, dape, know, ram, served, student

from addsr_cli.models.component import FileSpec
from addsr_cli.weights import cache, download_plan, installed, manual_import
from addsr_cli.weights.components import COMPONENTS, MODEL_COMPONENTS


def rows(outcome):
    return [json.loads(line) for line in outcome.out.splitlines()]


@pytest.mark.parametrize(
    ("name", "steps"), [("seesr-turbo", 2), pytest.param("seesr", 2, marks=pytest.mark.slow)]
)
def test_a_model_named_for_the_first_time_is_fetched_and_upscales(addsr, hub, photo, name, steps):
    outcome = addsr("upscale", photo(), "--model", name, "--steps", steps, "--json")
    assert outcome.code == 0, outcome.err
    (record,) = rows(outcome)
    assert (record["status"], record["steps"], record["size_out"]) == ("ok", steps, [96, 72])
    assert record["prompt"].endswith("clean, high-resolution, 8k")
    pixels = np.asarray(Image.open("photo_x4.jpg"))
    assert pixels.std() > 1
    assert "to download. Licences: " in outcome.err
    assert "Loading" not in outcome.err


def test_a_pulled_model_upscales_without_a_request(addsr, hub, photo):
    assert addsr("models", "pull", "seesr-turbo").code == 0
    hub.seen.clear()
    assert addsr("upscale", photo(), "--model", "seesr-turbo", "--steps", 2).code == 0
    assert hub.seen == []


def test_pull_asks_once_about_every_file_and_fetches_it_once(addsr, hub):
    outcome = addsr("models", "pull", "seesr")
    assert outcome.out.strip() == str(installed.model_folder("seesr"))
    counted = Counter((request.method, request.path) for request in hub.seen)
    assert set(counted.values()) == {1}
    assert {method for method, _ in counted} == {"HEAD", "GET"}
    size = sum(
        len(data)
        for name, repo in hub.repos.items()
        if name != "org/turbo"
        for data in repo.files.values()
    )
    assert (
        f"seesr: {size / 1e6:.1f} MB to download. Licences: Apache-2.0; CreativeML Open RAIL++-M"
        in outcome.lines
    )


def test_a_dry_run_against_the_hub_lists_every_file_and_fetches_none(addsr, hub):
    listed = rows(addsr("models", "pull", "addsr", "--dry-run", "--json"))
    total = listed.pop()
    wanted = [(part.name, file.path) for part in MODEL_COMPONENTS["addsr"] for file in part.files]
    assert [(row["component"], row["file"]) for row in listed] == wanted
    assert all(row["source"] and row["licence"] for row in listed)
    sizes = [row["size"] or row["about"] for row in listed]
    assert total == {
        "model": "addsr",
        "component": "total",
        "size": sum(sizes),
        "to_fetch": sum(sizes),
        "unknown": 0,
        "exact": False,  # the student's, on Google Drive
    }
    assert {request.method for request in hub.seen} == {"HEAD"}
    lines = addsr("models", "pull", "addsr", "--dry-run").out.splitlines()
    ram = next(row["size"] for row in listed if row["component"] == "ram") / 1e6
    tagger = (
        f"ram/ram_swin_large_14m.pth  {ram:.1f} MB  org/ram@{hub.commit('org/ram')}  Apache-2.0"
    )
    assert tagger in lines
    assert (
        lines[-1]
        == f"total about {sum(sizes) / 1e9:.1f} GB, to download about {sum(sizes) / 1e9:.1f} GB"
    )


@pytest.fixture
def published(hub, tmp_path):
    """A bundle in somebody's repository."""
    bundle = write_bundle(tmp_path / "bundle")
    files = {
        str(path.relative_to(bundle)): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file()
    }
    hub.repos["someone/sharp"] = Repo(files)
    return hub.repos["someone/sharp"]


def test_a_dry_run_of_a_repository_fetches_its_record_only(addsr, hub, published):
    listed = rows(addsr("models", "pull", "someone/sharp", "--dry-run", "--json"))
    assert {row["file"] for row in listed[:-1]} == published.files.keys()
    assert listed[-1]["to_fetch"] == sum(map(len, published.files.values()))
    assert {request.path.rsplit("/")[-1] for request in hub.gets()} == {"bundle.json"}
    assert installed.list_installed() == {}
    assert not list(cache.downloads_folder().rglob("bundle.json"))


def test_size_and_licence_of_a_repository_are_printed_first(addsr, hub, published):
    outcome = addsr("models", "pull", "someone/sharp")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("someone/sharp: ")
    assert outcome.lines[0].endswith(" MB to download. Licences: random numbers")
    assert installed.list_installed() == {"someone/sharp": installed.model_folder("someone/sharp")}
    assert cache.component_folder("someone--sharp").exists() is False


def test_a_repository_that_changes_meanwhile_stays_at_one_commit(
    addsr, hub, published, monkeypatch
):
    monkeypatch.setenv("ADDSR_SOMEONE__SHARP_REPO", "not/used")
    assert addsr("models", "pull", "someone/sharp").code == 0
    assert all(hub.commit("someone/sharp") in request.path for request in hub.seen[1:])


def test_a_repository_that_is_none_gets_no_advice_about_variables(addsr, hub):
    outcome = addsr("models", "pull", "someone/else")
    assert outcome.code == 4
    expected = (
        "error: someone/else cannot be downloaded: someone/else is gone or private. Check the name."
    )
    assert outcome.lines == [expected]


class TestVerify:
    @pytest.fixture(autouse=True)
    def _fetched(self, request):
        """A model and the originals that it could have been converted from."""
        if "hub" in request.fixturenames:
            request.getfixturevalue("hub")
            for part in MODEL_COMPONENTS["seesr"]:
                download_plan.sources.fetch(part)
            write_bundle(installed.model_folder("seesr"))

    def test_a_model_and_its_originals_are_read_again(self, addsr, hub):
        outcome = addsr("models", "verify", "seesr")
        assert outcome.code == 0
        assert outcome.out.splitlines() == [
            "seesr: intact",
            *(
                f"download {name}: intact"
                for name in ("seesr", "sd2-base", "ram", "ram-tags", "dape")
            ),
        ]

    def test_without_a_name_everything_installed_is_verified(self, addsr, hub):
        listed = [
            (row["name"], row["kind"], row["state"])
            for row in rows(addsr("models", "verify", "--json"))
        ]
        bundled = [("nano", "model", "intact"), ("small", "model", "intact")]
        assert listed[:3] == [*bundled, ("seesr", "model", "intact")]
        assert {
            name for name, kind, state in listed if (kind, state) == ("download", "intact")
        } == {
            "seesr",
            "sd2-base",
            "ram",
            "ram-tags",
            "dape",
        }

    def test_on_a_fresh_machine_those_are_the_bundled_models(self, addsr):
        assert addsr("models", "verify").out == "nano: intact\nsmall: intact\n"

    def test_a_flipped_bit_in_an_original_is_detected_and_the_next_pull_repairs_it(
        self, addsr, hub
    ):
        path = cache.component_folder("ram") / "ram_swin_large_14m.pth"
        data, before = bytearray(path.read_bytes()), path.stat().st_mtime_ns
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(before, before))
        outcome = addsr("models", "verify", "seesr", "--json")
        states = {row["name"]: row for row in rows(outcome) if row.get("kind") == "download"}
        assert outcome.code == 4
        assert states["ram"]["state"] == "damaged"
        assert states["ram"]["problems"][0].startswith("ram_swin_large_14m.pth has SHA-256")
        assert outcome.lines[-1].endswith(
            "The next addsr models pull downloads damaged files again."
        )
        hub.sent.clear()
        for part in MODEL_COMPONENTS["seesr"]:
            download_plan.sources.fetch(part)
        assert set(hub.sent) == {"ram_swin_large_14m.pth"}

    def test_an_unfinished_download_is_no_damage(self, addsr, hub):
        record = cache.Record.read("sd2-base")
        files = {path: entry for path, entry in record.files.items() if path != f"vae/{WEIGHTS}"}
        replace(record, files=files).write("sd2-base")
        outcome = addsr("models", "verify", "sd2-base")
        assert outcome.code == 0
        assert (
            outcome.out
            == f"download sd2-base: incomplete\n  vae/{WEIGHTS} was never finished or checked\n"
        )

    def test_a_broken_nano_is_detected(self, addsr, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "nano.safetensors").write_bytes(b"broken")
        outcome = addsr("models", "verify", tmp_path / "run")
        assert outcome.code == 4
        assert "is not a nano model" in outcome.err

    def test_a_broken_record_is_damage_and_hides_nothing_else(self, addsr, home):
        (write_bundle(installed.model_folder("addsr")) / "bundle.json").write_text("{")
        assert re.search("^addsr +damaged", addsr("models", "list").out, re.MULTILINE)
        outcome = addsr("models", "verify")
        assert outcome.code == 4
        assert outcome.out.splitlines()[:3] == ["nano: intact", "small: intact", "addsr: damaged"]

    def test_a_model_that_is_not_installed_cannot_be_verified(self, addsr):
        assert addsr("models", "verify", "seesr").code == 4


class TestManualImport:
    @pytest.fixture
    def known(self, hub, monkeypatch):
        """The registry with the digests of the tiny originals."""
        local = {}
        for name, data in (("ram", ram()), ("dape", dape())):
            part = served(name)
            spec = FileSpec(
                path=part.files[0].path, sha256=sha256(data).hexdigest(), confidence="A"
            )
            local[name] = replace(part, files=(spec,))
            hub.repos[f"org/{name}"].files[spec.path] = data
        know(monkeypatch, local)
        return hub

    @pytest.fixture
    def downloaded(self, known, tmp_path):
        """RAM and DAPE as somebody downloaded them."""
        folder = tmp_path / "Downloads" / "weights"
        folder.mkdir(parents=True)
        for name in ("ram", "dape"):
            for file, data in known.repos[f"org/{name}"].files.items():
                (folder / file).write_bytes(data)
        return folder

    @pytest.mark.parametrize("form", ["folder", "files"])
    def test_originals_need_not_be_fetched_any_more(self, addsr, known, downloaded, form):
        paths = [downloaded.parent] if form == "folder" else sorted(downloaded.iterdir())
        outcome = addsr("models", "import", *paths, "--json")
        assert outcome.code == 0, outcome.err
        assert {row["file"] for row in rows(outcome)} == {"ram_swin_large_14m.pth", "DAPE.pth"}
        assert known.seen == []
        assert len(list(downloaded.iterdir())) == 2
        assert all(download_plan.sources.find_cached(COMPONENTS[name]) for name in ("ram", "dape"))

    def test_a_dry_run_counts_imported_files(self, addsr, known, downloaded):
        addsr("models", "import", downloaded)
        listed = {
            row.get("file"): row
            for row in rows(addsr("models", "pull", "addsr", "--dry-run", "--json"))
        }
        assert listed["DAPE.pth"]["here"]
        assert listed["DAPE.pth"]["source"] == "imported from DAPE.pth"

    def test_an_archive_beside_them_becomes_the_model(self, addsr, known, downloaded, tmp_path):
        addsr_archive = archive(tmp_path / "addsr.tar.gz", student())
        outcome = addsr("models", "import", addsr_archive, downloaded, "--as", "addsr")
        assert outcome.code == 0, outcome.err
        assert outcome.out.splitlines()[-1] == str(installed.model_folder("addsr"))
        assert not any(
            "org/ram" in request.path or "org/dape" in request.path for request in known.seen
        )
        source = json.loads((installed.model_folder("addsr") / "import.json").read_text())["source"]
        assert source["dape"]["repo"] == "DAPE.pth"
        assert source["addsr-student"] == {"repo": "addsr.tar.gz"}
        assert "addsr: " in outcome.lines[0]
        assert "to download. Licences: " in outcome.lines[0]
        again = addsr("models", "import", addsr_archive)
        assert (again.code, again.lines) == (
            7,
            ["error: addsr is installed already. Remove it first: addsr models rm addsr"],
        )

    def test_one_folder_may_hold_originals_and_networks(self, known, downloaded):
        for path, data in student().items():
            (downloaded / path).parent.mkdir(exist_ok=True)
            (downloaded / path).write_bytes(data)
        classified = manual_import.classify_paths([downloaded])
        assert (len(classified.originals), classified.networks) == (2, downloaded)

    def test_another_file_of_that_name_is_refused_with_both_digests(self, addsr, known, downloaded):
        path = downloaded / "DAPE.pth"
        wanted = sha256(path.read_bytes()).hexdigest()
        path.write_bytes(path.read_bytes()[:-1])
        outcome = addsr("models", "import", path)
        assert outcome.code == 4
        assert f"not {wanted}. Download it again." in outcome.lines[-1]
        assert not cache.component_folder("dape").exists()

    def test_a_web_page_in_place_of_weights_is_refused(self, addsr, known, downloaded):
        (downloaded / "DAPE.pth").write_text("<!doctype html><title>Quota exceeded</title>")
        outcome = addsr("models", "import", downloaded / "DAPE.pth")
        assert outcome.code == 4
        assert "is a web page" in outcome.err

    def test_two_students_are_one_too_many(self, addsr, known, tmp_path):
        both = [archive(tmp_path / name, student()) for name in ("a.tar.gz", "b.tar.gz")]
        assert addsr("models", "import", *both).code == 2

    def test_a_full_disk_leaves_nothing(self, addsr, known, downloaded, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "link_or_copy", full)
        outcome = addsr("models", "import", downloaded / "DAPE.pth")
        assert outcome.code == 7
        assert "the disk is full" in outcome.lines[-1]
        assert not [
            path
            for path in cache.downloads_folder().rglob("*")
            if path.is_file() and path.suffix != ".lock"
        ]

    def test_on_another_disk_it_is_copied(self, addsr, known, downloaded, monkeypatch):
        def other(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", other)
        assert addsr("models", "import", downloaded / "DAPE.pth").code == 0
        assert (cache.component_folder("dape") / "DAPE.pth").stat().st_ino != (
            downloaded / "DAPE.pth"
        ).stat().st_ino
        assert addsr("models", "verify", "dape").code == 0

    def test_the_real_registry_knows_ram_dape_the_lists_and_stablesr(self):
        importable = {part.name: part for part in COMPONENTS.values() if part.importable}
        assert importable.keys() >= {
            "ram",
            "dape",
            "ram-tags",
            "stablesr-checkpoint",
            "stablesr-cfw",
        }
        for component in importable.values():
            assert all(spec.digest_is_binding for spec in component.files)
