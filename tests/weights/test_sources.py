import errno
import json
import os
import re
import shutil
from collections import namedtuple
from dataclasses import replace
from hashlib import sha256

import pytest
from hub_samples import BIG, FILES, MIB, SMALL, WEIGHTS, component, holds
from huggingface_hub import constants
from loopback import Fault, Repo

from addsr_cli.errors import ModelUnavailable, OutputRefused, UsageError
from addsr_cli.models.component import FileSpec, Source
from addsr_cli.weights import cache, sources
from addsr_cli.weights.components import COMPONENTS


@pytest.mark.network
def test_the_real_hub_still_has_the_listed_files(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    known = COMPONENTS["dinov2"]
    manifest = sources.request_manifest(
        known
    )  # one HEAD a file; another digest than listed would be refused
    assert manifest.revision == known.sources[0].revision
    assert manifest.total == pytest.approx(
        sum(file.approximate_size for file in known.files), rel=0.02
    )
    config = replace(known, files=tuple(file for file in known.files if file.path == "config.json"))
    assert json.loads((sources.fetch(config) / "config.json").read_text())["hidden_size"] == 384


def leftovers():
    return [
        path
        for path in cache.downloads_folder().rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".part")
    ]


class TestPull:
    def test_every_file_arrives_with_its_record(self, server, fetch):
        folder = fetch(component())
        record = cache.Record.read("demo")
        assert holds(folder)
        assert folder == cache.downloads_folder() / "demo"
        assert (record.repo, record.asked, record.revision) == (
            "org/first",
            "main",
            server.commit("org/first"),
        )
        assert record.files[BIG].sha256 == sha256(WEIGHTS).hexdigest()
        assert [record.files[path].check for path in FILES] == ["git", "hub"]
        assert not list(folder.rglob("*.part"))

    def test_a_second_fetch_sends_no_request(self, server, fetch):
        first = fetch(component())
        server.seen.clear()
        assert fetch(component()) == first == sources.find_cached(component())
        assert sources.request_manifest(component()).missing == 0
        assert server.seen == []

    def test_every_body_is_sent_once(self, server, fetch):
        fetch(component())
        assert server.sent == {path: len(data) for path, data in FILES.items()}

    def test_all_files_come_from_one_commit(self, server, fetch):
        fetch(component())
        assert all(server.commit("org/first") in request.path for request in server.seen[1:])

    def test_a_space_serves_as_well(self, server, fetch):
        server.repos["org/room"] = Repo(FILES, kind="space")
        assert holds(fetch(component(Source(repo="org/room", kind="space"))))

    def test_the_prefix_of_a_source_is_no_part_of_the_local_path(self, server, fetch):
        server.repos["org/deep"] = Repo({f"seesr/{path}": data for path, data in FILES.items()})
        assert holds(fetch(component(Source(repo="org/deep", prefix="seesr/"))))

    def test_a_plain_address_serves_as_well(self, server, fetch):
        server.plain = {f"data/{path}": data for path, data in FILES.items()}
        place = Source(repo=f"{server.endpoint}/plain/", kind="url", prefix="data/", revision="abc")
        assert holds(fetch(component(place)))
        assert sources.find_cached(component(place))
        assert {entry.check for entry in cache.Record.read("demo").files.values()} == {"first use"}

    def test_a_plain_address_without_head_or_tags_serves_as_well(self, server, fetch):
        server.plain, server.head, server.plain_tags = dict(FILES), False, False
        assert holds(fetch(component(Source(repo=f"{server.endpoint}/plain", kind="url"))))

    def test_progress_covers_all_files(self, fetch):
        events = []
        fetch(component(), on_progress=events.append)
        assert (
            {event.total_size for event in events}
            == {sum(map(len, FILES.values()))}
            == {events[-1].total_done}
        )
        assert [event.total_done for event in events] == sorted(
            event.total_done for event in events
        )
        assert len(events) > 5

    def test_progress_covers_checking_too(self, fetch):
        events = []
        fetch(component(), on_progress=events.append)
        big = [event for event in events if event.file == BIG]
        assert [event.phase for event in big] == sorted(
            (event.phase for event in big), reverse=True
        )
        checked = [(event.done, event.size) for event in big if event.phase == "checking"]
        assert checked == [(MIB, len(WEIGHTS)), (2 * MIB, len(WEIGHTS)), (3 * MIB, len(WEIGHTS))]

    def test_a_known_manifest_is_not_requested_again(self, server, fetch):
        known = sources.request_manifest(
            component("gone", "second"), offline=False, endpoint=server.endpoint
        )
        server.seen.clear()
        assert holds(fetch(component("gone", "second"), manifest=known))
        assert {request.method for request in server.seen} == {"GET"}

    def test_a_source_that_fails_after_its_manifest_is_replaced_by_the_next(self, server, fetch):
        known = sources.request_manifest(
            component("first", "second"), offline=False, endpoint=server.endpoint
        )
        server.repos["org/first"].error = (404, "RepoNotFound", "Repository not found")
        assert holds(fetch(component("first", "second"), manifest=known))
        assert cache.Record.read("demo").repo == "org/second"

    def test_an_override_takes_the_place_of_all_sources(self, server, fetch, monkeypatch):
        fetch(component("second"))
        monkeypatch.setenv("ADDSR_DEMO_REPO", f"org/third@{server.commit('org/third')}")
        assert sources.find_cached(component("second")) is None
        fetch(component("second"))
        assert cache.Record.read("demo").repo == "org/third"
        assert server.sent[BIG] == len(WEIGHTS)  # the same content is not sent again

    def test_an_override_that_is_no_repository_is_refused(self, monkeypatch):
        monkeypatch.setenv("ADDSR_DEMO_REPO", "not a repository")
        with pytest.raises(UsageError, match="must be ORG/REPO"):
            sources.find_cached(component())

    def test_an_override_that_no_hub_allows_is_named(self, fetch, monkeypatch):
        monkeypatch.setenv("ADDSR_DEMO_REPO", "org/a..b")
        with pytest.raises(ModelUnavailable, match=r"org/a\.\.b is not a valid repository name"):
            fetch(component())

    def test_the_student_is_named_once_in_its_override(self):
        assert sources.override_variable(COMPONENTS["addsr-student"]) == "ADDSR_STUDENT_REPO"

    def test_a_component_without_sources_is_an_error_that_says_so(self, fetch):
        with pytest.raises(ModelUnavailable, match="no public source") as caught:
            fetch(COMPONENTS["addsr-student"])
        assert "ADDSR_STUDENT_REPO" in caught.value.hint


class TestManifest:
    def test_sizes_are_known_before_the_first_byte(self, server):
        planned = sources.request_manifest(component(), offline=False, endpoint=server.endpoint)
        assert planned.total == planned.missing == sum(map(len, FILES.values()))
        assert planned.revision == server.commit("org/first")
        assert server.gets() == []
        assert leftovers() == []

    def test_existing_files_are_counted(self, server, fetch):
        folder = fetch(component())
        (folder / BIG).unlink()
        planned = sources.request_manifest(component(), offline=False, endpoint=server.endpoint)
        assert [listed.cached for listed in planned.files] == [True, False]
        assert planned.missing == len(WEIGHTS)


class TestMirrors:
    @pytest.mark.parametrize(
        ("error", "message"),
        [
            ((401, "RepoNotFound", "Invalid username or password."), "is gone or private"),
            ((404, "RepoNotFound", "Repository not found"), "is gone or private"),
            ((401, "", ""), "is gone or private"),
            ((403, "", "Access to this resource is disabled."), "has been disabled"),
            (
                (403, "GatedRepo", "Access to model is restricted."),
                "asks you to accept its terms first",
            ),
            ((404, "RevisionNotFound", "Invalid rev id"), "no longer has revision main"),
            ((404, "EntryNotFound", "Entry not found"), "has no file unet/config.json"),
            ((403, "", "Forbidden"), "refuses unet/config.json (HTTP 403)"),
            ((503, "", ""), "has a server error (HTTP 503)"),
            ((429, "", ""), "received too many requests"),
        ],
    )
    def test_the_next_source_serves_and_without_one_the_error_gives_the_reason(
        self, server, fetch, error, message
    ):
        server.repos["org/first"].error = error
        with pytest.raises(ModelUnavailable, match=r"org/first " + re.escape(message)) as caught:
            fetch(component())
        assert caught.value.exit_code == 4
        assert caught.value.hint
        assert leftovers() == []
        assert holds(fetch(component("first", "second")))
        assert cache.Record.read("demo").repo == "org/second"

    def test_every_source_is_named_with_its_reason(self, server, fetch):
        server.repos["org/second"].error = (403, "", "Access to this resource is disabled.")
        with pytest.raises(ModelUnavailable) as caught:
            fetch(component("gone", "second"))
        assert caught.value.message == (
            "Demo weights cannot be downloaded: "
            "org/gone is gone or private; org/second has been disabled."
        )
        assert "ADDSR_DEMO_REPO=ORG/REPO" in caught.value.hint

    def test_the_error_of_a_gated_repository_says_where_to_accept_the_terms(self, server, fetch):
        server.repos["org/first"].error = (403, "GatedRepo", "Access to model is restricted.")
        with pytest.raises(ModelUnavailable) as caught:
            fetch(component())
        assert "https://huggingface.co/org/first" in caught.value.hint

    def test_a_bad_token_is_blamed_on_the_token_and_not_on_the_source(self, server, fetch):
        server.repos["org/first"].error = (401, "", "Invalid credentials in Authorization header")
        with pytest.raises(ModelUnavailable, match="does not accept your access token") as caught:
            fetch(component("first", "second"), token="hf_wrong")
        assert "HF_TOKEN" in caught.value.hint

    def test_a_request_is_retried_after_a_temporary_error(self, server, fetch):
        server.faults[BIG] = [Fault(503), Fault(429)]
        assert holds(fetch(component()))

    def test_an_unreachable_hub_is_not_tried_for_every_mirror(self, server):
        with pytest.raises(ModelUnavailable, match="org/first did not answer") as caught:
            sources.fetch(
                component("first", "second"), offline=False, endpoint="http://127.0.0.1:9"
            )
        assert "org/second" not in caught.value.message
        assert "connection" in caught.value.hint


class TestStored:
    def test_a_truncated_file_is_noticed_and_fetched_again_alone(self, server, fetch):
        folder = fetch(component())
        (folder / BIG).write_bytes(WEIGHTS[:-1])
        assert sources.find_cached(component()) is None
        assert holds(fetch(component()))
        assert server.sent["unet/config.json"] == len(SMALL)

    def test_a_changed_file_of_the_same_size_is_noticed(self, fetch):
        folder = fetch(component())
        (folder / BIG).write_bytes(WEIGHTS[::-1])
        os.utime(folder / BIG, ns=(1, 1))
        assert sources.find_cached(component()) is None

    def test_a_touched_file_is_hashed_once_more_and_not_downloaded(self, fetch, monkeypatch):
        folder = fetch(component())
        os.utime(folder / BIG, ns=(1, 1))
        assert sources.find_cached(component()) == folder
        monkeypatch.setattr(cache, "sha256_of", lambda *_: pytest.fail("hashed again"))
        assert sources.find_cached(component()) == folder

    def test_verify_detects_damage_behind_equal_size_and_time_and_the_next_fetch_repairs_it(
        self, fetch
    ):
        folder = fetch(component())
        before = (folder / BIG).stat().st_mtime_ns
        (folder / BIG).write_bytes(WEIGHTS[::-1])
        os.utime(folder / BIG, ns=(before, before))
        assert sources.find_cached(component())
        states = cache.verify(component())
        assert [state.ok for state in states] == [True, False]
        assert "when it was downloaded" in states[1].problem
        assert sources.find_cached(component()) is None
        assert holds(fetch(component()))
        assert all(state.ok for state in cache.verify(component()))

    def test_verify_names_missing_files(self, fetch):
        assert [state.problem for state in cache.verify(component())] == ["is missing"] * 2
        folder = fetch(component())
        (folder / BIG).unlink()
        assert [state.problem for state in cache.verify(component())] == ["", "is missing"]

    def test_remove_frees_every_byte(self, fetch):
        assert cache.remove(component()) == 0
        folder = fetch(component())
        assert cache.remove(component()) >= sum(map(len, FILES.values()))
        assert not folder.exists()
        assert sources.find_cached(component()) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', '{"files": {"a": {"b": 1}}}'])
    def test_a_damaged_record_is_no_record(self, fetch, text):
        folder = fetch(component())
        (folder / cache.RECORD).write_text(text)
        assert sources.find_cached(component()) is None
        assert holds(fetch(component()))

    def test_bytes_of_another_version_are_not_continued(self, server, fetch):
        server.faults[BIG] = [Fault("close", MIB), Fault(403)]
        with pytest.raises(ModelUnavailable):
            fetch(component())
        server.repos["org/first"].files[BIG] = WEIGHTS[::-1]
        folder = fetch(component())
        assert (folder / BIG).read_bytes() == WEIGHTS[::-1]
        assert not list(folder.rglob("*.part"))


class TestOffline:
    def test_no_request_is_sent_and_the_error_names_the_remedy(self, server):
        with pytest.raises(ModelUnavailable, match="offline mode is on") as caught:
            sources.fetch(component(), offline=True, endpoint=server.endpoint)
        assert "HF_HUB_OFFLINE" in caught.value.hint
        assert server.seen == []

    @pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
    def test_the_environment_of_the_hub_counts(self, server, monkeypatch, name):
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv(name, "1")
        with pytest.raises(ModelUnavailable, match="offline mode is on"):
            sources.request_manifest(component(), endpoint=server.endpoint)
        assert server.seen == []

    def test_files_that_lie_here_are_used(self, server, fetch):
        folder = fetch(component())
        server.seen.clear()
        assert sources.fetch(component(), offline=True, endpoint=server.endpoint) == folder
        assert server.seen == []

    def test_offline_mode_of_the_library_alone_is_understood(self, server, fetch, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelUnavailable, match="offline mode is on"):
            fetch(component())
        assert server.seen == []


class TestDisk:
    def test_space_is_checked_before_the_first_byte(self, server, fetch, monkeypatch):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, MIB))
        with pytest.raises(
            OutputRefused, match=r"needs another 70 MB, but .* has 1 MB free"
        ) as caught:
            fetch(component())
        assert caught.value.exit_code == 7
        assert "ADDSR_HOME" in caught.value.hint
        assert server.gets() == []

    def test_a_full_disk_is_reported_and_the_rest_is_downloaded_later(self, server, fetch):
        def report(moved):
            if moved.done > MIB:
                raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(OutputRefused, match=r"Demo.*the disk is full"):
            fetch(component(), on_progress=report)
        assert holds(fetch(component()))
        assert server.sent[BIG] < 2 * len(WEIGHTS)

    def test_a_folder_that_cannot_be_created_is_reported(self, fetch, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setenv("ADDSR_HOME", str(tmp_path / "file"))
        with pytest.raises(OutputRefused, match="cannot be"):
            fetch(component())


@pytest.mark.parametrize(
    "path", ["../evil", "a/../../evil", "/etc/evil", "a\\evil", "C:evil", "", "record.json"]
)
def test_names_that_lead_out_of_the_folder_are_refused(server, fetch, path):
    wanted = component(files=(FileSpec(path=path),))
    for act in (fetch, sources.find_cached, cache.verify, cache.remove):
        with pytest.raises(ModelUnavailable, match="does not write to"):
            act(wanted)
    assert server.seen == []
