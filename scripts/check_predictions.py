"""Compare predicted with measured memory and time of ``addsr upscale``, on this machine's CPU.

``python scripts/check_predictions.py [--models nano,small] [--precision fp32]``. Every case is a
process of its own, whose peak resident memory the system counts; ``--most-megapixels 4`` leaves the
large ones out. Times are those of all stages but loading, as predicted ones are, and true only on
an idle machine. Linux and macOS.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Width and height of the photo, and the scale: from one piece to strips, tall and wide.
CASES = (
    (64, 64, 4.0),
    (128, 128, 4.0),
    (400, 300, 1.0),
    (400, 300, 2.0),
    (400, 300, 4.0),
    (1000, 150, 4.0),
    (150, 1000, 4.0),
    (600, 450, 4.0),
    (1000, 750, 3.0),
    (1000, 750, 4.0),
    (1500, 1500, 1.0),
    (2000, 1500, 4.0),
)
WITHIN = 0.15  # the promise
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was predicted and what happened, in bytes and seconds."""

    predicted_bytes: int
    measured_bytes: int
    predicted_seconds: float
    measured_seconds: float

    @property
    def memory_ratio(self) -> float:
        """Predicted through measured."""
        return self.predicted_bytes / self.measured_bytes

    @property
    def time_ratio(self) -> float:
        """Predicted through measured."""
        return self.predicted_seconds / self.measured_seconds


def main() -> None:
    """Run all cases and print a table in Markdown; exit with 1 where memory is not as predicted."""
    options = _options()
    columns = (
        "model | photo | scale | MB predicted | measured | ratio | s predicted | measured | ratio"
    )
    print(f"| {columns} |")
    print("|---|---|" + "---:|" * 7, flush=True)
    misses = 0
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models.split(","):
            for width, height, scale in CASES:
                if width * height * scale**2 > 1e6 * options.most_megapixels:
                    continue
                photo = write_photo(Path(folder), width, height)
                result = compare(photo, model, scale, options.precision)
                misses += abs(result.memory_ratio - 1) > WITHIN
                print(f"| {model} | {width}x{height} | {scale:g} {row(result)}", flush=True)
    print(f"\n{misses} outside {WITHIN:.0%} of the memory measured.")
    sys.exit(misses > 0)


def row(result: Comparison) -> str:
    """Return the figures as the end of a line of the table."""
    return (
        f"| {result.predicted_bytes / 1e6:.0f} | {result.measured_bytes / 1e6:.0f} "
        f"| {result.memory_ratio:.2f} "
        f"| {result.predicted_seconds:.2f} | {result.measured_seconds:.2f} "
        f"| {result.time_ratio:.2f} |"
    )


def compare(
    photo: Path,
    model: str,
    scale: float,
    precision: str,
) -> Comparison:
    """Predict one upscale in one step, and run it."""
    command = [sys.executable, "-m", "addsr_cli", "upscale", str(photo), "--json", "--quiet"]
    command += ["--model", model, "--device", "cpu", "--precision", precision]
    command += ["--steps", "1", "--scale", str(scale)]
    planned = json.loads(subprocess.check_output([*command, "--dry-run"]))
    target = photo.with_name("result.jpg")
    record, measured_bytes = run([*command, "--overwrite", "-o", str(target)])
    stages = record["seconds"]
    return Comparison(
        predicted_bytes=planned["plan"]["peak_bytes"],
        measured_bytes=measured_bytes,
        predicted_seconds=planned["predicted_seconds"],
        measured_seconds=sum(stages.values()) - stages.get("load", 0),
    )


def run(command: list[str]) -> tuple[dict[str, Any], int]:
    """Run a command that prints JSON; return it and the peak resident memory in bytes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return json.loads(printed), usage.ru_maxrss * BYTES_PER_UNIT


def write_photo(
    folder: Path,
    width: int,
    height: int,
) -> Path:
    """Write a smooth random picture as JPEG."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    path = folder / f"{width}x{height}.jpg"
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="nano,small", help="names or folders, with commas")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--most-megapixels", type=float, default=12.0, help="of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
