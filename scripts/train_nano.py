"""Train nano as it was trained: ``python scripts/train_nano.py --data PHOTOS --output runs/nano``.

Runs ``addsr distill`` for every stage of ``train_nano.toml`` (``--config`` for another). Stop it whenever you like: the
same command goes on from the last checkpoint. ``nano.safetensors`` in the output is the result.
"""

import argparse
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from addsr_cli.models.nano import NanoConfig, build_nano, load_nano, save_nano

OWN = ("name", "drop", "blend")  # what a stage says that is no option of ``addsr distill``


def main() -> None:
    """All stages, each from what the one before it left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp, large photos")
    parser.add_argument("--output", type=Path, required=True, help="one folder for every stage goes in here")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".toml"))
    given = parser.parse_args()
    config = tomllib.loads(given.config.read_text(encoding="utf-8"))
    given.output.mkdir(parents=True, exist_ok=True)
    before = fresh(config["network"], given.output / "fresh.safetensors")
    for stage in config["stages"]:
        run(stage, given.data, given.output, before)
        before = result(given.output, stage["name"])
    blend(shares(config["result"], given.output), given.output / "nano.safetensors")


def fresh(network: dict[str, Any], path: Path) -> Path:
    """Weights of a network that has learnt nothing: every stage but the first begins with something better."""
    if not path.exists():
        lists = {key: tuple(value) if isinstance(value, list) else value for key, value in network.items()}
        save_nano(build_nano(NanoConfig(**lists)).net, path)
    return path


def run(stage: dict[str, Any], data: Path, output: Path, before: Path) -> None:
    """One stage to its end, from its last checkpoint where there is one."""
    folder = output / stage["name"]
    init = output / f"{stage['name']}-init.safetensors"
    if not init.exists():
        if "blend" in stage:
            before = output / f"{stage['name']}-blend.safetensors"
            blend(shares(stage, output), before)
        shrink(before, stage.get("drop", []), init)
    options = {key: value for key, value in stage.items() if key not in OWN}
    if (output / str(options.get("teacher"))).is_dir():
        options["teacher"] = output / options["teacher"] / "export"
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    words += ["--resume", "latest"] if any(folder.glob("checkpoints/*.pt")) else []
    command = [sys.executable, "-m", "addsr_cli", "distill", "--arch", "nano", "--data", data, "--output", folder]
    command += ["--init", init]
    code = subprocess.run([*map(str, command), *words], check=False).returncode
    if code:
        raise SystemExit(code)


def result(output: Path, name: str) -> Path:
    """What a stage made."""
    return output / name / "export" / "nano.safetensors"


def shares(table: dict[str, Any], output: Path) -> dict[Path, float]:
    """What ``blend`` of a stage or of the result names."""
    return {result(output, name): share for name, share in table["blend"].items()}


def blend(shares: dict[Path, float], after: Path) -> None:
    """Weighted mean of the weights of networks that come from one another."""
    nets = [load_nano(path).net for path in shares]
    states = [net.state_dict() for net in nets]
    total = sum(shares.values())
    mean = {
        name: sum(share / total * state[name] for share, state in zip(shares.values(), states, strict=True))
        for name in states[0]
    }
    nets[0].load_state_dict(mean)
    save_nano(nets[0], after, dtype=torch.float16)


def shrink(before: Path, drop: list[str], after: Path) -> None:
    """Leave out residual blocks on the way up, named as ``middle.0`` or ``up.0.1``; those after them move up."""
    net = load_nano(before).net
    depths = list(net.config.depths)
    for name in sorted(drop, reverse=True):  # from the last, so that the others keep their numbers
        place, _, number = name.rpartition(".")
        row = net.get_submodule(place)
        assert isinstance(row, nn.ModuleList)
        del row[int(number)]
        depths[-1 if place == "middle" else int(place.removeprefix("up."))] -= 1
    net.config = replace(net.config, depths=tuple(depths))
    save_nano(net, after)


if __name__ == "__main__":
    main()
