"""Checkpoints are written whole or not at all, whatever happens meanwhile."""

import signal
import subprocess
import sys

import pytest
import torch

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.train.checkpoint import find, load, save

STATE = {"net": {"w": torch.arange(6.0)}, "note": "plain values too"}
BREAKING = """
import os, signal, sys, torch
from pathlib import Path
from addsr_cli.train import checkpoint
def half(state, file):
    file.write(b"half of it"); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
checkpoint.save(Path(sys.argv[1]), 2, {}, 3)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def broken(monkeypatch, failure, folder):
    """Save while writing fails half way."""

    def half(state, file):
        file.write(b"half")
        raise failure

    monkeypatch.setattr(torch, "save", half)
    save(folder, 2, STATE, keep=1)


def test_loading_returns_the_saved_state(tmp_path):
    state = load(save(tmp_path / "new" / "folder", 7, STATE, keep=1))
    assert (state["step"], state["note"]) == (7, "plain values too")
    assert torch.equal(state["net"]["w"], STATE["net"]["w"])


def test_only_the_newest_checkpoints_remain(tmp_path):
    for step in (5, 900, 1000, 20_000):
        save(tmp_path, step, STATE, keep=2)
    assert names(tmp_path) == ["step-0001000.pt", "step-0020000.pt"]


def test_latest_is_the_one_with_most_steps(tmp_path):
    for step in (1000, 20_000, 999):
        save(tmp_path, step, STATE, keep=3)
    assert find("latest", tmp_path).name == "step-0020000.pt"


def test_auto_starts_anew_where_there_is_no_checkpoint(tmp_path):
    assert find("auto", tmp_path) is None
    path = save(tmp_path, 1, STATE, keep=1)
    assert find("auto", tmp_path) == path


def test_a_path_is_used_unchanged(tmp_path):
    path = save(tmp_path, 1, STATE, keep=1)
    assert find(str(path), tmp_path / "elsewhere") == path


@pytest.mark.parametrize("resume", ["latest", "step-0000009.pt"])
def test_a_missing_checkpoint_is_a_usage_error(tmp_path, resume):
    with pytest.raises(UsageError, match="no checkpoint") as caught:
        find(resume, tmp_path)
    assert "resume" in caught.value.hint


@pytest.mark.parametrize(
    "failure", [OSError("No space left on device"), RuntimeError("write failed")]
)
def test_a_failure_while_writing_preserves_the_previous_checkpoint(tmp_path, monkeypatch, failure):
    save(tmp_path, 1, STATE, keep=1)
    with pytest.raises(OutputRefused, match=r"step-0000002.*(space|failed)"):
        broken(monkeypatch, failure, tmp_path)
    assert names(tmp_path) == ["step-0000001.pt"]
    assert load(find("latest", tmp_path))["step"] == 1


def test_an_interrupt_while_writing_leaves_no_half_file(tmp_path, monkeypatch):
    save(tmp_path, 1, STATE, keep=1)
    with pytest.raises(KeyboardInterrupt):
        broken(monkeypatch, KeyboardInterrupt(), tmp_path)
    assert names(tmp_path) == ["step-0000001.pt"]


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="could not be written"):
        save(tmp_path / "file" / "below", 1, STATE, keep=1)


@pytest.mark.slow
def test_a_process_killed_while_saving_preserves_the_previous_checkpoint(tmp_path):
    save(tmp_path, 1, STATE, keep=3)
    ended = subprocess.run([sys.executable, "-c", BREAKING, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert names(tmp_path)[1:] == ["step-0000001.pt"]
    assert names(tmp_path)[0].startswith(".addsr-")
    assert load(find("latest", tmp_path))["step"] == 1
    save(tmp_path, 3, STATE, keep=3)
    assert names(tmp_path) == ["step-0000001.pt", "step-0000003.pt"]


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, keep):
    path = save(tmp_path, 1, STATE, keep=1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UsageError, match="not a usable checkpoint") as caught:
        load(path)
    assert "older" in caught.value.hint


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"step": 1, "evil": subprocess.run}, tmp_path / "step-0000001.pt")
    with pytest.raises(UsageError, match="not a usable checkpoint"):
        load(tmp_path / "step-0000001.pt")


def test_a_checkpoint_of_an_older_version_is_read_under_the_current_names(tmp_path):
    optimizer = {"optimisers": [{"state": {0: {"step": 1}}}], "scaler": {}}
    discriminator = {"weights": {"heads.0": torch.ones(1)}, "updater": optimizer}
    state = {"objective": {"student": optimizer, "adversary": discriminator}}
    objective = load(save(tmp_path, 1, state, keep=1))["objective"]
    assert objective["student"]["optimizers"] == optimizer["optimisers"]
    assert objective["discriminator_step"]["weights"].keys() == {"heads.0"}
    assert objective["discriminator_step"]["optimizer_step"]["optimizers"]
