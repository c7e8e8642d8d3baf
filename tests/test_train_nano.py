"""The script that made nano, on a network and photos that take seconds."""

import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from addsr_cli import Settings, Upscaler
from addsr_cli.cli.app import run
from addsr_cli.cli.distill import distill
from addsr_cli.models.nano import NanoConfig, build_nano, load_nano, save_nano

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_nano.py"
CONFIG = """
[network]
channels = [16, 16, 16]
depths = [2, 1, 2]
embedding = 16
[[stages]]
name = "teacher"
stage = "teacher"
steps = 2
crop = 64
batch_size = 2
workers = 0
precision = "fp32"
validation = 1
[[stages]]
name = "student"
drop = ["middle.0", "up.0.1"]
stage = "student"
teacher = "teacher"
steps = 2
crop = 64
batch_size = 2
workers = 0
precision = "fp32"
validation = 1
anchor_spectrum = 0.001
perception = "0,1,1,1"
[[stages]]
name = "last"
blend = {student = 0.5}
stage = "teacher"
steps = 1
crop = 64
batch_size = 2
workers = 0
precision = "fp32"
validation = 1
[result]
blend = {student = 1.5, last = -0.5}
"""


@pytest.fixture
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def commands(monkeypatch):
    """Runs what the script starts in this process, where torch is loaded; the command lines so far."""
    started = []

    def start(command, check):
        assert command[:3] == [sys.executable, "-m", "addsr_cli"]
        started.append(command[3:])
        AcceleratorState._reset_state(True)
        return subprocess.CompletedProcess(command, run(command[3:]))

    monkeypatch.setattr(subprocess, "run", start)
    yield started
    AcceleratorState._reset_state(True)


@pytest.fixture
def trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for k in range(3):
        path = Path("photos") / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (80, 80, 3), np.uint8)).save(path)
    Path("config.toml").write_text(CONFIG)
    return ("--data", "photos", "--output", "run", "--config", "config.toml")


def test_every_stage_runs_from_the_one_before_and_the_last_is_a_model(script, trial, commands, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_nano.py", *trial])
    script["main"]()
    assert [command[0] for command in commands] == ["distill"] * 3
    assert not any("--resume" in command for command in commands)
    sizes = {
        name: load_nano(Path("run") / name).net.config.depths for name in ("fresh.safetensors", "nano.safetensors")
    }
    assert sizes == {"fresh.safetensors": (2, 1, 2), "nano.safetensors": (1, 1, 1)}
    result = Upscaler("run/student/export").upscale("photos/0.png", Settings(steps=4)).photo
    assert result.rgb.shape == (320, 320, 3)
    made = load_nano(Path("run/nano.safetensors")).net.state_dict()  # the order of a file's notes is not fixed
    script["main"]()  # ended stages are not trained again
    assert [command[-2:] for command in commands[3:]] == [["--resume", "latest"]] * 3
    again = load_nano(Path("run/nano.safetensors")).net.state_dict()
    a, b = (load_nano(Path(f"run/{name}/export/nano.safetensors")).net.state_dict() for name in ("student", "last"))
    assert all(
        torch.allclose(value, 1.5 * a[name] - 0.5 * b[name], rtol=1e-3, atol=1e-3) for name, value in made.items()
    )
    assert all(torch.equal(again[name], value) for name, value in made.items())


def test_blocks_are_left_out_and_those_behind_move_up(script, tmp_path):
    before = build_nano(NanoConfig(channels=(16, 16, 16), depths=(2, 1, 3), embedding=16)).net
    for parameter in before.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_nano(before, tmp_path / "a.safetensors")
    script["shrink"](tmp_path / "a.safetensors", ["middle.0", "up.0.0", "middle.1"], tmp_path / "b.safetensors")
    after = load_nano(tmp_path / "b.safetensors").net
    assert after.config.depths == (1, 1, 1)
    expected, found = before.state_dict(), after.state_dict()
    moved = {"middle.0": "middle.2", "up.0.0": "up.0.1"}
    for name, value in found.items():
        block = next((b for b in moved if name.startswith(b)), None)
        assert torch.equal(value, expected[name.replace(block, moved[block]) if block else name])


def test_a_blend_is_the_weighted_mean(script, tmp_path):
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for file in files[:2]:
        net = build_nano(NanoConfig(channels=(16, 16, 16), depths=(1, 1, 1), embedding=16)).net
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        save_nano(net, file)
    script["blend"]({files[0]: 3, files[1]: 1}, files[2])
    a, b, mean = (load_nano(file).net.state_dict() for file in files)
    assert all(
        torch.allclose(value, 0.75 * a[name] + 0.25 * b[name], rtol=1e-3, atol=1e-4) for name, value in mean.items()
    )


def test_the_shipped_settings_are_ones_that_distill_takes(script):
    config = tomllib.loads(SCRIPT.with_suffix(".toml").read_text())
    stages = config["stages"]
    known = distill.__annotations__.keys() | {"name", "drop", "blend"}
    assert stages
    assert all(stage.keys() <= known for stage in stages)
    names = [stage["name"] for stage in stages]
    for place, stage in enumerate(stages):
        assert {stage.get("teacher", names[0]), *stage.get("blend", ())} <= {names[0], *names[:place]}
    assert config["result"]["blend"].keys() <= set(names)
    assert sum(config["result"]["blend"].values()) == pytest.approx(1)
