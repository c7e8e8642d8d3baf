"""How it was measured: what every report says, so that two numbers can be told apart or laid side by side."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from addsr_cli import hardware
from addsr_cli.bench.dataset import TestSet
from addsr_cli.bench.metrics import Metric
from addsr_cli.settings import Settings
from addsr_cli.version import __version__
from addsr_cli.weights.loader import Located

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "ssimulacra2",
)


def machine(device: str, located: Located, base: Settings) -> dict[str, str]:
    """Command, model, settings, device and versions, as words by name; ``base`` holds what no row says otherwise."""
    found = hardware.probe(device)
    driver = hardware.gpu_driver_version() if found.kind == "cuda" else ""
    cuda = torch.version.cuda if found.kind == "cuda" else ""
    return {
        "command": shlex.join(["addsr", *sys.argv[1:]]),
        "model": f"{located.spec.name} ({located.reason})",
        "sha256": located.digest() or "random weights",
        "seed": str(base.seed),
        "settings": f"psr {base.effective_psr:g}, start {base.start}, color {base.color}, unless a row says otherwise",
        "device": f"{found.device}: {found.name}"
        + (f", driver {driver}, CUDA {cuda}" if driver or cuda else ""),
        "processor": f"{hardware.probe('cpu').name}, {os.cpu_count()} logical cores, {found.threads} threads used",
        "busy": f"{hardware.load_per_core():.2f} running processes per core before the start",
        "memory": f"{found.total_bytes / 1e9:.1f} GB on {found.device}",
        "system": f"{platform.platform()}, Python {platform.python_version()}",
        "versions": ", ".join([f"addsr {__version__}", *_versions()]),
    }


def pictures(
    folder: str,
    cases: Sequence[TestSet],
    metrics: Sequence[Metric],
    border: int,
) -> dict[str, str]:
    """Data and metrics, as words by name."""
    told = [f"{case.name} ({len(case.items)} photos{_made(case)})" for case in cases]
    variants = [
        f"{metric.name} {'up' if metric.larger else 'down'}: {metric.variant}" for metric in metrics
    ]
    return {
        "data": f"{folder}: {', '.join(told)}",
        "metrics": "; ".join(variants),
        "pixels": f"8-bit RGB as in the files, profiles not applied; border cropped: {border} px; means over photos",
    }


def _made(case: TestSet) -> str:
    return f", degraded by {case.degradation}, seed {case.seed}" if case.degradation else ""


def _versions() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
