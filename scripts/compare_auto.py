"""Compare ``--steps auto --fidelity auto`` with the fixed defaults, on damaged crops of photos.

``python scripts/compare_auto.py PHOTOS...`` takes files and folders of sharp photos, which must not
be those that a model was trained on. The middle of each, 256 x 256 pixels, is damaged and reduced
four times by every recipe that training knows, enlarged again both ways, and held to the original
by LPIPS (AlexNet; less is nearer). Exits with 1 where auto is further away by more than 0.005 for
any recipe, or nearer for fewer than four. Needs the weights of ``addsr_cli.fetch_perceptual``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from addsr_cli import Machine, Settings, Upscaler, imageio
from addsr_cli.degradation import degrade
from addsr_cli.degradation_recipes import RECIPES, Array
from addsr_cli.errors import UnreadableInput
from addsr_cli.imageio import from_array
from addsr_cli.perceptual import LPIPS

DEFAULT = Settings()
AUTO = Settings(steps="auto", fidelity="auto")
MOST_BEHIND = 0.005  # of LPIPS
LEAST_AHEAD = 4  # recipes


def main() -> None:
    """Print a table in Markdown; exit with 1 where auto does not keep its promise."""
    options = _options()
    originals = crops(options.photos, options.side, options.count)
    if not originals:
        sys.exit(f"No photo of at least {options.side} x {options.side} pixels was found.")
    distance = LPIPS.load("alex")
    print("| model | damage | default | auto | difference | standard error | changed |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    is_kept = True
    for model in options.models.split(","):
        upscaler = Upscaler(model, Machine(device=options.device, precision=options.precision))
        gains = []
        for recipe in RECIPES:
            distances, changed = compare(upscaler, originals, recipe, options.seed, distance)
            differences = distances[:, 1] - distances[:, 0]
            gains.append(float(differences.mean()))
            error = differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else 0
            default, auto = distances.mean(axis=0)
            figures = f"{default:.4f} | {auto:.4f} | {gains[-1]:+.4f} | {error:.4f}"
            print(f"| {model} | {recipe} | {figures} | {changed}/{len(originals)} |", flush=True)
        ahead = sum(gain < 0 for gain in gains)
        is_kept &= max(gains) <= MOST_BEHIND and ahead >= LEAST_AHEAD
    sys.exit(not is_kept)


def crops(paths: Sequence[Path], side: int, count: int) -> list[Array]:
    """Return the middles of up to ``count`` photos, evenly chosen, (side, side, 3) in [0, 1]."""
    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file()
    ]
    middles = []
    for file in files:
        try:
            picture = imageio.read(file).rgb
        except UnreadableInput:
            continue
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        if min(top, left) >= 0:
            middles.append(picture[top : top + side, left : left + side])
    chosen = np.linspace(0, len(middles) - 1, min(count, len(middles))).round().astype(int)
    return [middles[place] for place in chosen]


def compare(
    upscaler: Upscaler,
    originals: Sequence[Array],
    recipe: str,
    seed: int,
    distance: LPIPS,
) -> tuple[Array, int]:
    """Return distances (crops, 2) of default and auto, and how often auto took other settings."""
    distances, changed = [], 0
    for number, original in enumerate(originals):
        small = degrade(original, np.random.default_rng((seed, number)), RECIPES[recipe])
        photo = from_array(np.rint(small * 255).astype(np.uint8))
        default, auto = (upscaler.upscale(photo, settings) for settings in (DEFAULT, AUTO))
        changed += not np.array_equal(default.photo.samples, auto.photo.samples)
        with torch.inference_mode():
            truth = _tensor(original)
            distances.append(
                [float(distance(_tensor(each.photo.rgb), truth)) for each in (default, auto)]
            )
    return np.array(distances, np.float32), changed


def _tensor(picture: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("photos", type=Path, nargs="+", help="files and folders")
    parser.add_argument("--models", default="nano,small", help="names or folders, with commas")
    parser.add_argument("--count", type=int, default=12, help="of crops")
    parser.add_argument("--side", type=int, default=256, help="of a crop, a multiple of 4")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
