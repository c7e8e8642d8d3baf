"""Measure what ``--max-drift`` does: the table of docs/trust.md, in Markdown.

``python scripts/measure_drift.py VAL`` takes a folder that contains originals in ``HR`` and the
same photos reduced four times in ``LR_bicubic`` (clean) and ``LR_blind`` (damaged). Each is
enlarged once and then held to the photo with a bound of 2 and with one of three times its estimated
noise. Exits with 1 where the bound of 2 is not met. Needs the weights of
``addsr_cli.fetch_perceptual``.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from addsr_cli import Settings, Upscaler, damage, imageio
from addsr_cli.engine.drift import hold, measure_drift
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, Samples, as_float, narrowed
from addsr_cli.perceptual import LPIPS

INPUTS = {"clean": "LR_bicubic", "damaged": "LR_blind"}
BOUND = 2.0  # of 255
NOISES = 3.0  # the other bound, in deviations of the noise


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One photo: LPIPS without a bound, its changes with one, and the share of time it takes.

    ``drift`` is the larger of mean and 99.9th percentile with ``BOUND``, as a share of it.
    """

    distance: float
    change: float
    change_by_noise: float
    drift: float
    time: float


def main() -> None:
    """Print a row for every model and kind of input."""
    options = _options()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    distance = LPIPS.load("alex")
    print("| model | photos | LPIPS without | D = 2 | D = 3 noise | drift / D | time |")
    print("|---|---|---|---|---|---|---|", flush=True)
    worst = 0.0
    for model in options.models.split(","):
        upscaler = Upscaler(model)
        for kind, folder in INPUTS.items():
            paths = sorted(path for path in (options.photos / folder).iterdir() if path.is_file())
            chosen = np.linspace(0, len(paths) - 1, min(options.count, len(paths))).round()
            rows = [
                measure(upscaler, paths[int(place)], options.photos / "HR", distance)
                for place in chosen
            ]
            means = np.mean([(r.distance, r.change, r.change_by_noise, r.time) for r in rows], 0)
            drift = max(row.drift for row in rows)
            figures = f"{means[0]:.3f} | {means[1]:+.3f} | {means[2]:+.3f} | {drift:.3f}"
            print(f"| {model} | {kind} | {figures} | {100 * means[3]:.0f} % |", flush=True)
            worst = max(worst, drift)
    sys.exit(worst > 1.0005)


def measure(
    upscaler: Upscaler,
    path: Path,
    originals: Path,
    distance: LPIPS,
) -> Measured:
    """Enlarge a photo, hold copies of the result to both bounds, and compare with the original."""
    photo = imageio.read(path)
    original = imageio.read(next(originals.glob(f"{path.stem}.*"))).to_array(8)
    started = time.process_time()
    result = upscaler.upscale(photo, Settings(), bit_depth=16).photo.samples
    upscaling = time.process_time() - started

    started = time.process_time()
    held = held_to(result, photo, BOUND)
    holding = time.process_time() - started
    drift = measure_drift(held, photo)
    by_noise = held_to(result, photo, NOISES * damage.estimate(photo).noise)

    def lpips(picture: Samples) -> float:
        with torch.inference_mode():
            return float(distance(_tensor(as_float(picture)), _tensor(as_float(original))))

    without = lpips(narrowed(result))
    return Measured(
        distance=without,
        change=lpips(held) - without,
        change_by_noise=lpips(by_noise) - without,
        drift=max(drift.mean, drift.p999) / BOUND,
        time=holding / upscaling,
    )


def held_to(
    result: Samples,
    photo: Photo,
    bound: float,
) -> Samples:
    """Return 8-bit samples within the bound; the 16-bit result stays as it is."""
    samples = result.copy()
    hold(samples, photo, bound, 8)
    return narrowed(samples)


def _tensor(picture: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("photos", type=Path, help="folder with HR, LR_bicubic and LR_blind")
    parser.add_argument("--models", default="nano,small", help="names or files, with commas")
    parser.add_argument("--count", type=int, default=8, help="of photos of each kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
