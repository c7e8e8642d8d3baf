"""``addsr doctor``: the machine, the model, what addsr would do here, and what would be slow."""

import platform
import sys
from typing import TYPE_CHECKING, Annotated, Any

from addsr_cli.cli import options
from addsr_cli.cli.config import config_paths
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes, format_seconds, pluralize
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import ModelUnavailable
from addsr_cli.settings import Machine
from addsr_cli.version import __version__

if TYPE_CHECKING:
    from addsr_cli.engine.upscaler import Upscaler

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
    "pillow-heif",
    "rawpy",
    "pyjpegxl",
)
EXAMPLE_SIZES = ((128, 128), (1000, 750))  # pixels of the input
EXAMPLE_SCALES = (1, 2, 4)
LITTLE_MEMORY = 2 * 10**9  # bytes


@takes_options
def doctor(
    machine: Annotated[Machine, Only("device")],
    console: Annotated[Console, Only("json", "debug")],
    model: options.Model = "auto",
) -> None:
    """Check device, precision, memory, model, paths and versions, and say what would be slow."""
    record = diagnose(model, machine.device)
    console.result(_render(record), record)


def diagnose(model: str, device: str) -> dict[str, Any]:
    """Return what ``doctor`` prints."""
    from addsr_cli import hardware
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.weights import cache, installed

    machine = hardware.probe(device)
    record: dict[str, Any] = {
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
        "libraries": _library_versions(),
        "formats": _formats(),
        "configuration": [
            {"path": str(path.absolute()), "exists": path.is_file()} for path in config_paths()
        ],
        "models": str(installed.models_folder()),
        "downloads": str(cache.downloads_folder()),
    }
    try:
        upscaler = Upscaler(model, Machine(device=device))
    except ModelUnavailable as exc:
        record["model"] = {
            "name": model,
            "state": "unavailable",
            "problem": exc.message,
            "hint": exc.hint,
        }
        return record
    rate = hardware.matmul_flops()
    record["multiply_rate"] = rate
    record["model"] = {
        "name": upscaler.spec.name,
        "state": "ready",
        "reason": upscaler.located.reason,
        "file": str(upscaler.located.file),
        "sha256": upscaler.located.digest(),
    }
    record["examples"] = _example_plans(upscaler)
    record["largest_photo"] = _largest_photos(upscaler)
    record["slow"] = _slow_notes(machine.kind, machine.bf16, machine.free_bytes)
    return record


def _example_plans(upscaler: "Upscaler") -> list[dict[str, Any]]:
    """Return plans for two sizes, with times where a CPU does the work."""
    from addsr_cli.engine.prediction import SpeedMeasurement

    speed = SpeedMeasurement(upscaler.spec)
    examples = []
    for size in EXAMPLE_SIZES:
        plans = upscaler.plan(*size)
        examples.append(
            {
                "size": list(size),
                "plan": plans[-1].why,
                "memory": plans[-1].peak_bytes,
                "steps": upscaler.steps(),
                "seconds": speed.seconds(plans, upscaler.steps()),
            }
        )
    return examples


def _largest_photos(upscaler: "Upscaler") -> dict[str, list[int]]:
    """Return the size of the largest photo that fits into memory, by the scale."""
    from addsr_cli.engine.prediction import largest_photo
    from addsr_cli.settings import Settings

    return {
        str(scale): list(largest_photo(upscaler, Settings(scale=scale))) for scale in EXAMPLE_SCALES
    }


def _slow_notes(
    kind: str,
    bf16: bool,
    free: int,
) -> list[str]:
    notes = []
    if kind == "cpu":
        notes.append("no CUDA or MPS device: the processor does all the work")
        if not bf16:
            notes.append("this processor has no fast bf16 (AMX or AVX-512 BF16), so fp32 is used")
    if free < LITTLE_MEMORY:
        notes.append("less than 2 GB of memory is free: large photos run in small tiles")
    return notes


def _library_versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return versions


def _formats() -> dict[str, Any]:
    """Return which formats can be read and written here, and what would install the others."""
    from addsr_cli import imageio

    return {
        "read": imageio.readable_formats(),
        "write": imageio.writable_formats(),
        "missing": {extra.title: extra.install for extra in imageio.EXTRAS if not extra.installed},
    }


def _render(record: dict[str, Any]) -> str:
    python = f"Python {record['python']}, {record['system']} ({sys.executable})"
    free = format_bytes(record["memory_free"])
    bf16 = "fast" if record["bf16_fast"] else "slow"
    fp16 = "fast" if record["fp16_fast"] else "slow"
    threads = pluralize(record["threads"], "thread")
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    return "\n".join(
        [
            f"addsr {record['addsr']}, {python}",
            f"device     {record['device']}: {record['device_name']}, {threads}",
            f"memory     {free} free of {format_bytes(record['memory_total'])}",
            f"precision  bf16 {bf16}, fp16 {fp16}",
            *_model_lines(record["model"]),
            *(_example_line(example) for example in record.get("examples", ())),
            *_largest_lines(record.get("largest_photo", {})),
            *(f"slow       {note}" for note in record.get("slow", ())),
            *_format_lines(record["formats"]),
            f"libraries  {libraries}",
            *(_config_line(config) for config in record["configuration"]),
            f"models     {record['models']} (downloads: {record['downloads']})",
        ]
    )


def _largest_lines(largest: dict[str, list[int]]) -> list[str]:
    if not largest:
        return []
    sizes = ", ".join(
        f"{width}x{height} at --scale {scale}" for scale, (width, height) in largest.items()
    )
    return [f"largest    {sizes}, in the free memory"]


def _format_lines(formats: dict[str, Any]) -> list[str]:
    return [
        f"reads      {', '.join(formats['read'])}",
        f"writes     {', '.join(formats['write'])}",
        *(f"missing    {title}: {install}" for title, install in formats["missing"].items()),
    ]


def _model_lines(model: dict[str, Any]) -> list[str]:
    reason = model.get("reason") or model.get("problem")
    lines = [f"model      {model['name']}: {model['state']}, {reason}"]
    if "file" in model:
        lines.append(f"           {model['file']} (sha256 {model['sha256'][:12]})")
    return lines


def _example_line(example: dict[str, Any]) -> str:
    width, height = example["size"]
    cost = format_bytes(example["memory"])
    if example["seconds"] is not None:
        steps = pluralize(example["steps"], "step")
        cost += f", about {format_seconds(example['seconds'])} for {steps}"
    return f"{width}x{height} -> {4 * width}x{4 * height}: {cost}; {example['plan']}"


def _config_line(config: dict[str, Any]) -> str:
    absent = "" if config["exists"] else " (absent)"
    return f"config     {config['path']}{absent}"
