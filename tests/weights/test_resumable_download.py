import os
import random
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hub_samples import BIG, FILES, MIB, WEIGHTS, component, holds
from huggingface_hub import constants
from loopback import Fault

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.component import FileSpec, Source
from addsr_cli.weights import cache, sources

COMMAND = """
import sys
from addsr_cli.weights import sources
from addsr_cli.models.component import Component, FileSpec, Source
part = Component(
    name="demo",
    title="Demo weights",
    licence="none",
    sources=(Source(repo="org/first"),),
    files=(FileSpec(path="unet/model.safetensors"),),
)
print(sources.fetch(part, offline=False, endpoint=sys.argv[1]))
"""


def run(server):
    env = os.environ | {"HF_HUB_OFFLINE": "0", "PYTHONPATH": str(Path(sources.__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, server.endpoint],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestConnections:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch, server):
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1.5)

    @pytest.mark.parametrize("kind", ["close", "reset", "stall"])
    def test_a_broken_transfer_goes_on_where_it_stopped(self, server, fetch, kind):
        server.faults[BIG] = [Fault(kind, MIB)] * 2
        assert holds(fetch(component()))
        begins = [
            int(request.headers["Range"][6:-1])
            for request in server.gets()
            if "Range" in request.headers
        ]
        assert len(begins) == 2
        assert 0 < begins[0] <= MIB < begins[1]

    @pytest.mark.parametrize("kind", ["close", "reset", "stall"])
    def test_a_stalled_transfer_ends_and_keeps_its_bytes(self, server, fetch, kind):
        server.faults[BIG] = [Fault("close", MIB)] + [Fault(kind)] * 3
        with pytest.raises(
            ModelUnavailable, match=r"stopped sending unet/model.safetensors \("
        ) as caught:
            fetch(component())
        assert "resumes where it stopped" in caught.value.hint
        assert sources.find_cached(component()) is None
        assert not (cache.component_folder("demo") / BIG).exists()
        assert holds(fetch(component()))
        assert server.sent[BIG] == len(WEIGHTS)

    def test_a_range_that_is_ignored_begins_anew(self, server, fetch):
        server.faults[BIG] = [Fault("close", MIB), Fault("whole")]
        assert holds(fetch(component()))

    def test_a_body_shorter_than_declared_is_continued(self, server, fetch):
        server.faults[BIG] = [Fault("short", MIB)]
        assert holds(fetch(component()))
        assert server.sent[BIG] == len(WEIGHTS)

    def test_a_source_that_always_sends_too_little_is_left(self, server, fetch):
        server.faults[BIG] = [Fault("short", 1000)] + [Fault("short", 0)] * 3
        assert holds(fetch(component("first", "second")))

    def test_a_mirror_continues_the_download_of_another_source(self, server, fetch):
        server.faults[BIG] = [Fault("close", MIB), Fault(403)]
        assert holds(fetch(component("first", "second")))
        assert server.sent[BIG] == len(WEIGHTS)

    def test_the_token_stays_with_the_hub(self, server, fetch):
        server.repos["org/first"].cdn = True
        server.faults[BIG] = [Fault("close", MIB)]
        assert holds(fetch(component(), token="hf_secret"))
        there = [request for request in server.seen if request.path.startswith("/cdn/")]
        here = [request for request in server.seen if not request.path.startswith("/cdn/")]
        assert len(there) == 2
        assert all(
            "authorization" not in {key.lower() for key in request.headers} for request in there
        )
        assert all(request.headers["authorization"] == "Bearer hf_secret" for request in here)

    def test_a_plain_address_never_sees_the_token(self, server, fetch):
        server.plain = dict(FILES)
        fetch(component(Source(repo=f"{server.endpoint}/plain/", kind="url")), token="hf_secret")
        assert all(
            "authorization" not in {key.lower() for key in request.headers}
            for request in server.seen
        )


class TestDigests:
    def test_a_flipped_bit_is_noticed_and_the_file_fetched_again(self, server, fetch):
        server.faults[BIG] = [Fault("flip", MIB)]
        assert holds(fetch(component()))
        assert server.sent[BIG] == 2 * len(WEIGHTS)

    def test_a_source_that_always_flips_bits_is_left_for_the_next(self, server, fetch):
        server.faults[BIG] = [Fault("flip", MIB)] * 2
        assert holds(fetch(component("first", "second")))
        assert cache.Record.read("demo").repo == "org/second"

    def test_without_another_source_nothing_damaged_stays(self, server, fetch):
        server.faults[BIG] = [Fault("flip", MIB)] * 2
        with pytest.raises(ModelUnavailable, match=r"SHA-256 \w{64}, but declares \w{64}"):
            fetch(component())
        assert not list(cache.component_folder("demo").rglob("*model*"))
        assert sources.find_cached(component()) is None

    def test_small_files_are_checked_against_their_git_hash(self, server, fetch):
        server.faults["unet/config.json"] = [Fault("flip", 3)] * 2
        with pytest.raises(ModelUnavailable, match="is not the git blob"):
            fetch(component())

    def test_a_hub_without_a_checksum_is_refused(self, server, fetch):
        server.repos["org/first"].tags[BIG] = "abc"
        with pytest.raises(
            ModelUnavailable, match=r"declares no checksum for unet/model.safetensors"
        ):
            fetch(component())

    @pytest.mark.parametrize("sure", ["A", "B"])
    def test_another_file_than_listed_costs_no_byte_and_ends_with_both_digests(
        self, server, fetch, sure
    ):
        listed = FileSpec(path=BIG, sha256="0" * 64, confidence=sure)
        with pytest.raises(ModelUnavailable) as caught:
            fetch(component("first", "second", files=(listed,)))
        assert (
            caught.value.message.count(f"SHA-256 {sha256(WEIGHTS).hexdigest()}, not {'0' * 64}")
            == 2
        )
        assert server.gets() == []

    def test_a_source_with_another_file_is_passed_over(self, server, fetch):
        server.repos["org/first"].files = {BIG: WEIGHTS[::-1]}
        listed = FileSpec(path=BIG, sha256=sha256(WEIGHTS).hexdigest(), confidence="B")
        assert holds(fetch(component("first", "second", files=(listed,))), {BIG: WEIGHTS})
        assert cache.Record.read("demo").files[BIG].check == "manifest"

    def test_an_unsure_digest_only_leaves_a_note(self, fetch):
        listed = FileSpec(path=BIG, sha256="0" * 64, confidence="C")
        wanted = component(files=(listed,))
        fetch(wanted)
        assert "is not sure of it" in sources.notes(wanted)[0]

    def test_a_plain_address_must_match_the_list(self, server, fetch):
        server.plain = {"tags.txt": b"other"}
        listed = FileSpec(path="tags.txt", sha256=sha256(b"tags").hexdigest(), confidence="A")
        with pytest.raises(
            ModelUnavailable, match=f"has another tags.txt: SHA-256 {sha256(b'other').hexdigest()}"
        ):
            fetch(component(Source(repo=f"{server.endpoint}/plain/", kind="url"), files=(listed,)))

    def test_a_digest_that_becomes_known_later_is_checked_on_existing_files(self, fetch):
        fetch(component())
        listed = FileSpec(path=BIG, sha256="0" * 64, confidence="A")
        assert sources.find_cached(component(files=(listed,))) is None


class TestProcesses:
    def test_a_killed_process_is_continued_by_the_next(self, server, fetch):
        body = random.Random(1).randbytes(20 * MIB)
        server.repos["org/first"].files[BIG] = body
        server.pace = 6 * MIB
        wanted = component(files=(FileSpec(path=BIG),))
        process = run(server)
        until = time.monotonic() + 60
        while (
            sum(path.stat().st_size for path in cache.component_folder("demo").rglob("*.part"))
            < 10 * MIB
        ):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()
        process.communicate()
        server.pace = None
        assert holds(fetch(wanted), {BIG: body})
        again = server.sent[BIG] - len(body)
        print(f"bytes sent again: {again} of {len(body)} ({again / len(body):.2%})")
        assert again <= 0.05 * len(body)

    def test_two_processes_share_one_transfer(self, server):
        server.pace = 4 * MIB
        both = [run(server), run(server)]
        outputs = [process.communicate(timeout=60) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        assert outputs[0][0] == outputs[1][0]
        assert server.sent[BIG] == len(WEIGHTS)
        assert (cache.component_folder("demo") / BIG).read_bytes() == WEIGHTS

    def test_looking_for_weights_loads_no_torch(self):
        env = os.environ | {"PYTHONPATH": str(Path(sources.__file__).parents[2])}
        code = "import sys, addsr_cli.weights.sources; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
