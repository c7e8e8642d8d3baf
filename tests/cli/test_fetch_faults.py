"""Download faults at the command line: the exit code, one line, and no unfinished file."""

import shutil
import signal
import threading
import time
from collections import namedtuple
from hashlib import sha256

import pytest
from hub_samples import BIG, FILES, MIB, WEIGHTS, component, holds
from huggingface_hub import constants
from loopback import Fault
from tiny_hub import reach

from addsr_cli.models.component import FileSpec
from addsr_cli.weights import cache
from addsr_cli.weights.components import MODEL_COMPONENTS

PULL = ("models", "pull", "seesr")
AGAIN = "Check the connection. Run the same command again: the download resumes where it stopped."
COPY = "Update addsr, or set ADDSR_DEMO_REPO=ORG/REPO to a copy that you trust."


@pytest.fixture
def demo(server, monkeypatch):
    """Make ``addsr models pull seesr`` download two small files of one repository."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    reach(server, monkeypatch)

    def make(*names, **more):
        monkeypatch.setitem(MODEL_COMPONENTS, "seesr", (component(*names, **more),))
        return server

    return make


def half_files():
    """Files in the cache under their real names, with wrong contents."""
    place = cache.component_folder("demo")
    return [
        path
        for path in FILES
        if (place / path).exists() and (place / path).read_bytes() != FILES[path]
    ]


def failed(outcome, code, line):
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.lines[-1] == f"error: {line}"
    assert not half_files()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            (401, "RepoNotFound", "Invalid username or password."),
            f"org/first is gone or private. {COPY}",
        ),
        ((404, "RepoNotFound", "Repository not found"), f"org/first is gone or private. {COPY}"),
        ((403, "", "Access to this resource is disabled."), f"org/first has been disabled. {COPY}"),
        (
            (404, "RevisionNotFound", "Invalid rev id"),
            f"org/first no longer has revision main. {COPY}",
        ),
        (
            (404, "EntryNotFound", "Entry not found"),
            f"org/first has no file unet/config.json. {COPY}",
        ),
        (
            (403, "GatedRepo", "Access to model is restricted."),
            "org/first asks you to accept its terms first. Accept them on "
            "https://huggingface.co/org/first, then set HF_TOKEN or run `hf auth login`.",
        ),
    ],
    ids=["401", "404", "disabled", "revision", "file", "gated"],
)
def test_the_refusal_of_a_source_is_explained(addsr, demo, error, line):
    demo("first").repos["org/first"].error = error
    failed(addsr(*PULL), 4, f"Demo weights cannot be downloaded: {line}")


def test_a_bad_token_is_named(addsr, demo):
    demo("first", "second").repos["org/first"].error = (
        401,
        "",
        "Invalid credentials in Authorization header",
    )
    line = "The Hub does not accept your access token; it is wrong or has expired."
    failed(addsr(*PULL), 4, f"{line} Unset HF_TOKEN, or sign in again with `hf auth login`.")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("close", "peer closed connection"),
        ("reset", "reset"),
        ("stall", "timed out"),
        ("short", "1,048,576 of"),
    ],
)
def test_a_connection_that_never_recovers_ends_the_download(addsr, demo, kind, why):
    server = demo("first")
    server.faults[BIG] = [Fault("close", MIB)] + [Fault(kind)] * 3
    outcome = addsr(*PULL)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.lines[-1].startswith(
        "error: Demo weights cannot be downloaded: org/first stopped sending unet/model"
    )
    assert why in outcome.lines[-1]
    assert outcome.lines[-1].endswith(AGAIN)
    assert not half_files()
    assert not (cache.component_folder("demo") / BIG).exists()


def test_a_file_with_a_flipped_bit_is_refused(addsr, demo):
    server = demo("first")
    server.faults[BIG] = [Fault("flip", MIB)] * 2
    received = sha256(WEIGHTS[:MIB] + bytes([WEIGHTS[MIB] ^ 1]) + WEIGHTS[MIB + 1 :]).hexdigest()
    line = (
        f"org/first sent {BIG} with SHA-256 {received}, but declares {sha256(WEIGHTS).hexdigest()}."
    )
    failed(
        addsr(*PULL),
        4,
        f"Demo weights cannot be downloaded: {line} "
        "Run the same command again, or use another connection.",
    )
    assert not list(cache.component_folder("demo").rglob("*model*"))


def test_another_file_than_the_listed_one_is_refused(addsr, demo):
    demo("first", files=(FileSpec(path=BIG, sha256="0" * 64, confidence="A"),))
    line = f"org/first has another {BIG}: SHA-256 {sha256(WEIGHTS).hexdigest()}, not {'0' * 64}."
    failed(addsr(*PULL), 4, f"Demo weights cannot be downloaded: {line} {COPY}")


def test_a_truncated_file_in_the_cache_is_fetched_again(addsr, demo, fetch):
    server = demo("first")
    folder = fetch(component())
    (folder / BIG).write_bytes(WEIGHTS[:-1])
    server.repos["org/first"].error = (404, "RepoNotFound", "gone")
    assert addsr(*PULL).code == 4
    server.repos["org/first"].error = None
    assert holds(fetch(component()))


def test_offline_nothing_is_requested(addsr, server, monkeypatch):
    monkeypatch.setitem(MODEL_COMPONENTS, "seesr", (component(),))
    line = "Demo weights is not complete on this computer, and offline mode is on."
    failed(addsr(*PULL), 4, f"{line} Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE to download it.")
    assert server.seen == []


def test_a_disk_without_room_is_noticed_before_the_download(addsr, demo, monkeypatch):
    server = demo("first")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, MIB))
    line = (
        f"Demo weights needs another 70 MB, but '{cache.component_folder('demo')}' has 1 MB free."
    )
    failed(
        addsr(*PULL), 7, f"{line} Free some space, or set ADDSR_HOME to a folder on a larger disk."
    )
    assert server.gets() == []


def test_a_disk_that_fills_up_leaves_no_half_file(addsr, demo, disk, monkeypatch):
    demo("first")
    place = disk("size=2m")
    monkeypatch.setenv("ADDSR_HOME", str(place))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 10**9))
    line = f"{cache.component_folder('demo')} (Demo weights) cannot be written: the disk is full."
    outcome = addsr(*PULL)
    assert outcome.code == 7
    assert outcome.lines[-1].startswith(f"error: {line}")
    assert not half_files()


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "C:evil"])
def test_names_that_climb_out_are_refused(addsr, demo, path):
    server = demo("first", files=(FileSpec(path=path),))
    line = (
        f"Demo weights has the name {path!r}, which addsr does not write to; "
        "nothing was downloaded."
    )
    failed(addsr(*PULL), 4, f"{line} Use another source.")
    assert server.seen == []


def test_a_download_resumes_after_control_c(addsr, demo, fetch):
    server = demo("first")
    server.pace = 2 * MIB

    def press_control_c():
        while server.sent[BIG] < MIB:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=press_control_c, daemon=True).start()
    outcome = addsr(*PULL)
    assert outcome.code == 130
    assert not half_files()
    server.pace = None
    assert holds(fetch(component()))
    assert server.sent[BIG] < 1.2 * len(WEIGHTS)
