"""``addsr doctor``: what this machine is, what addsr would do on it, and what would be slow."""

import platform
import sys
from typing import Annotated, Any

from addsr_cli.cli import options
from addsr_cli.cli.config import config_paths
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes, format_seconds
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import ModelUnavailable
from addsr_cli.settings import Machine
from addsr_cli.version import __version__

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "huggingface-hub",
    "numpy",
    "pillow",
    "opencv-python-headless",
)
SMALL, LARGE = (128, 128), (1000, 750)


@takes_options
def doctor(
    machine: Annotated[Machine, Only("device")],
    console: Annotated[Console, Only("json", "debug")],
    model: options.Model = "auto",
) -> None:
    """Check device, precision, memory, model, paths and versions, and say what would be slow."""
    record = examine(model, machine.device)
    console.result(_render(record), record)


def examine(model: str, device: str) -> dict[str, Any]:
    """All findings as plain data."""
    from addsr_cli import hardware
    from addsr_cli.engine import planner
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.weights import cache, installed

    machine = hardware.probe(device)
    found: dict[str, Any] = {
        "addsr": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": machine.device,
        "device_name": machine.name,
        "threads": machine.threads,
        "memory_free": machine.free_bytes,
        "memory_total": machine.total_bytes,
        "bf16_fast": machine.bf16,
        "fp16_fast": machine.fp16,
        "libraries": _versions(),
        "configuration": [
            {"path": str(path.absolute()), "exists": path.is_file()} for path in config_paths()
        ],
        "models": str(installed.home()),
        "downloads": str(cache.root()),
    }
    try:
        upscaler = Upscaler(model, Machine(device=device))
    except ModelUnavailable as exc:
        return found | {
            "model": {
                "name": model,
                "state": "unavailable",
                "problem": exc.message,
                "hint": exc.hint,
            }
        }
    rate = hardware.matmul_flops()
    examples = []
    for width, height in (SMALL, LARGE):
        plan = upscaler.plan(width, height)[-1]
        seconds = (
            planner.predicted_seconds(upscaler.spec, plan, 4, rate)
            if machine.kind == "cpu"
            else None
        )
        examples.append(
            {
                "size": [width, height],
                "plan": plan.why,
                "memory": plan.needed_bytes,
                "seconds": seconds,
            }
        )
    return found | {
        "multiply_rate": rate,
        "model": {
            "name": upscaler.spec.name,
            "state": "ready",
            "reason": upscaler.located.reason,
            "file": str(upscaler.located.file),
            "sha256": upscaler.located.digest(),
        },
        "examples": examples,
        "slow": _slow(machine.kind, machine.bf16, machine.free_bytes),
    }


def _slow(kind: str, bf16: bool, free: int) -> list[str]:
    notes = []
    if kind == "cpu":
        notes.append("no CUDA or MPS device: the processor does all the work")
        if not bf16:
            notes.append("this processor has no fast bf16 (AMX or AVX-512 BF16), so fp32 is used")
    if free < 2 * 10**9:
        notes.append("less than 2 GB of memory is free: large photos run in small tiles")
    return notes


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _pace(fast: bool) -> str:
    return "fast" if fast else "slow"


def _render(record: dict[str, Any]) -> str:
    model = record["model"]
    lines = [
        f"addsr {record['addsr']}, Python {record['python']}, {record['system']} ({sys.executable})",
        f"device     {record['device']}: {record['device_name']}, {record['threads']} threads",
        f"memory     {format_bytes(record['memory_free'])} free of {format_bytes(record['memory_total'])}",
        f"precision  bf16 {_pace(record['bf16_fast'])}, fp16 {_pace(record['fp16_fast'])}",
        f"model      {model['name']}: {model['state']}, {model.get('reason') or model.get('problem')}",
    ]
    if "file" in model:
        lines.append(f"           {model['file']} (sha256 {model['sha256'][:12]})")
    for example in record.get("examples", ()):
        width, height = example["size"]
        seconds = (
            ""
            if example["seconds"] is None
            else f", about {format_seconds(example['seconds'])} for 4 steps"
        )
        memory = format_bytes(example["memory"])
        lines.append(
            f"{width}x{height} -> {4 * width}x{4 * height}: {memory}{seconds}; {example['plan']}"
        )
    lines += [f"slow       {note}" for note in record.get("slow", ())]
    lines.append(
        "libraries  "
        + ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    )
    lines += [
        f"config     {c['path']}{'' if c['exists'] else ' (absent)'}"
        for c in record["configuration"]
    ]
    lines.append(f"models     {record['models']} (downloads: {record['downloads']})")
    return "\n".join(lines)
