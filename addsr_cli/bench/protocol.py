"""The protocol of a report: all that must be known to compare its numbers with others."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from addsr_cli import hardware
from addsr_cli.bench.dataset import ADDSR_CASES, TestSet
from addsr_cli.bench.metrics import MetricInfo
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


def describe_machine(
    device: str,
    located: Located,
    base: Settings,
) -> dict[str, str]:
    """Command, model, settings, device and versions as text by name.

    ``base`` holds the settings that apply where a row does not say otherwise.
    """
    probed = hardware.probe(device)
    driver = hardware.gpu_driver_version() if probed.kind == "cuda" else ""
    cuda = torch.version.cuda if probed.kind == "cuda" else ""
    return {
        "command": shlex.join(["addsr", *sys.argv[1:]]),
        "model": f"{located.spec.name} ({located.reason})",
        "sha256": located.digest() or "random weights",
        "seed": str(base.seed),
        "settings": (
            f"psr {base.effective_psr:g}, start {base.start}, color {base.effective_color}, "
            f"tiles {base.tiles}, "
            "unless a row says otherwise"
        ),
        "device": f"{probed.device}: {probed.name}"
        + (f", driver {driver}, CUDA {cuda}" if driver or cuda else ""),
        "processor": (
            f"{hardware.probe('cpu').name}, {os.cpu_count()} logical cores, "
            f"{probed.threads} threads used"
        ),
        "busy": f"{hardware.load_per_core():.2f} running processes per core before the start",
        "memory": f"{probed.total_bytes / 1e9:.1f} GB on {probed.device}",
        "system": f"{platform.platform()}, Python {platform.python_version()}",
        "versions": ", ".join([f"addsr {__version__}", *_versions()]),
    }


def describe_data(
    folder: str,
    test_sets: Sequence[TestSet],
    metrics: Sequence[MetricInfo],
    border: int,
) -> dict[str, str]:
    """Data and metrics as text by name."""
    described = [f"{s.name} ({len(s.photos)} photos{_degradation(s)})" for s in test_sets]
    variants = [
        f"{metric.name} {'up' if metric.higher_is_better else 'down'}: {metric.variant}"
        for metric in metrics
    ]
    return {
        "data": f"{folder}: {', '.join(described)}",
        "metrics": "; ".join(variants),
        "pixels": (
            "8-bit RGB as in the files, profiles not applied; "
            f"border cropped: {border} px; means over photos"
        ),
    }


def _degradation(test_set: TestSet) -> str:
    if not test_set.degradation:
        return ""
    assumed = ADDSR_CASES.get(test_set.degradation)
    meaning = f", assumed to be {assumed}" if assumed else ""
    return f", degraded by {test_set.degradation}{meaning}, seed {test_set.seed}"


def _versions() -> list[str]:
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return versions
