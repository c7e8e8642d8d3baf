"""Results of a run: sample grids, curves, scores on held-out photos, and the model card.

Networks run in the precision of the run; scores are computed in float32.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from addsr_cli.files import write_text
from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.sampler import Autocast, cpu_noise, sample
from addsr_cli.schedule import STEPS
from addsr_cli.similarity import ssim
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.curves import curves
from addsr_cli.train.data.dataset import PairDataset, Photos
from addsr_cli.train.objectives.conditions import tags_for
from addsr_cli.version import __version__

LOG = "log.jsonl"
CARD = "README.md"
CURVES = "curves.svg"
GRID = "grid.png"
GRID_PHOTOS = 4
STEP_COUNTS = (1, 4)  # of the runs that are shown and scored


def trim_log(path: Path, step: int) -> None:
    """Drop the lines of a log after ``step``, which a resumed run writes again. Raises OSError."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


@dataclass(frozen=True, kw_only=True)
class Score:
    """Means over held-out photos: PSNR in dB and SSIM, on RGB, without cropping borders."""

    psnr: float
    ssim: float


def restore(
    model: TrainableModel,
    restorer: Restorer,
    pair: dict[str, Any],
    steps: int,
    autocast: Autocast = nullcontext,
) -> Tensor:
    """Restore the canvas of a pair with seed 0 -> (3, H, W) in [0, 1] on the CPU.

    ``restorer`` is the student or the teacher of ``model``. The prompt has the pair's tags or,
    where none are known, those that the tagger reads from the canvas.
    """
    canvas = pair["canvas"][None].to(_device(model))
    keep_text = torch.zeros(1, dtype=torch.bool)
    cond = Conditioning(
        text=model.encode_text(canvas, (pair["tags"],), keep_text),
        image=model.encode_image(canvas),
    )
    with autocast():
        image = sample(
            restorer,
            canvas,
            cond,
            timesteps=STEPS[:steps],
            noise=cpu_noise(0),
        )
    return image[0].clamp(0, 1).float().cpu()


def write_grid(
    model: TrainableModel,
    pairs: PairDataset,
    path: Path,
    autocast: Autocast = nullcontext,
) -> Path:
    """Write a PNG with a row for each of four pairs: canvas, one step, four steps, HR."""
    rows = []
    for position in range(GRID_PHOTOS):
        pair = _pair(pairs, position)
        restored = [restore(model, model.student, pair, n, autocast) for n in STEP_COUNTS]
        rows.append(torch.cat([pair["canvas"], *restored, pair["hr"]], dim=2))
    pixels = torch.cat(rows, dim=1).clamp(0, 1).mul(255).round().byte()
    grid = pixels.permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), grid[..., ::-1]):
        raise OSError(f"no image could be written to {path}")
    return path


def score(
    model: TrainableModel,
    restorer: Restorer | None,
    pairs: PairDataset,
    steps: int,
    autocast: Autocast = nullcontext,
) -> Score:
    """Score one crop of every photo against HR; ``restorer`` None scores the canvas itself."""
    psnr = []
    structure = []
    for position in range(len(pairs.photos.paths)):
        pair = _pair(pairs, position)
        image = pair["canvas"]
        if restorer is not None:
            image = restore(model, restorer, pair, steps, autocast)
        error = (image - pair["hr"]).square().mean().clamp(min=1e-10)
        psnr.append(-10 * float(error.log10()))
        structure.append(float(ssim(image[None], pair["hr"][None])))
    return Score(
        psnr=sum(psnr) / len(psnr),
        ssim=sum(structure) / len(structure),
    )


def write_card(
    config: TrainConfig,
    model: TrainableModel,
    photos: Photos,
    held_out: Photos,
    folder: Path,
    autocast: Autocast = nullcontext,
    tags: Mapping[str, str] | None = None,
    *,
    samples: int,
) -> Path:
    """Write the model card next to the exported weights, with curves, a grid and scores.

    A student is scored against the teacher that it was initialized from. Without held-out photos
    there are no scores, and the card says so. ``tags`` are precomputed tags by path, ``samples``
    the number of those that the run has seen.
    """
    pairs = PairDataset(held_out if held_out.paths else photos, config, tags)
    write_text(folder / CURVES, curves(config.output / LOG))
    write_grid(model, pairs, folder / GRID, autocast)
    scores = "No photos were held out (`--validation`), so nothing was measured."
    if held_out.paths:
        base = model.teacher if config.stage == "student" else None
        scores = _score_table(model, base, pairs, autocast)
    text = CARD_TEXT.format(
        arch=config.arch,
        stage=config.stage,
        version=__version__,
        photos=photos.summary(),
        held_out=len(held_out.paths),
        samples=samples,
        settings=config.portable().to_json(),
        scores=scores,
        curves=CURVES,
        grid=GRID,
    )
    write_text(folder / CARD, text)
    return folder / CARD


CARD_TEXT = """---
library_name: addsr
pipeline_tag: image-to-image
tags: [super-resolution, addsr]
---
# {arch}, {stage}

Trained with addsr {version}. Use it with
`addsr upscale PHOTO --model FOLDER`, where FOLDER is the one of this file.

## Scores

{scores}

![canvas, one step, four steps, original]({grid})

## Training

- Photos: {photos}; {held_out} of them held out. Samples seen: {samples}.
- The licences of the photos decide how this model may be used: name them here.

![losses]({curves})

```json
{settings}
```
"""


def _score_table(
    model: TrainableModel,
    base: Restorer | None,
    pairs: PairDataset,
    autocast: Autocast,
) -> str:
    """Return Markdown: the enlarged input, the initial network, and the student."""
    lines = ["| | PSNR (dB) | SSIM |", "|---|---|---|"]

    def add_row(name: str, result: Score) -> None:
        lines.append(f"| {name} | {result.psnr:.2f} | {result.ssim:.4f} |")

    add_row("bicubic", score(model, None, pairs, 1))
    for name, restorer in (("before", base), ("after", model.student)):
        if restorer is None:
            continue
        for steps in STEP_COUNTS:
            label = f"{name}, {steps} step{'s' * (steps > 1)}"
            add_row(label, score(model, restorer, pairs, steps, autocast))
    count = len(pairs.photos.paths)
    crop = pairs.config.crop
    lines.append(f"\n{count} held-out photos, one {crop} px crop of each, RGB, seed 0.")
    return "\n".join(lines)


def _pair(pairs: PairDataset, position: int) -> dict[str, Any]:
    """A pair with the tags of the student's text, if they are known: it may read LR alone."""
    pair = pairs[position]
    return pair | {"tags": tags_for(pairs.config.recipe.student_text, [pair["tags"]])[0]}


def _device(model: TrainableModel) -> torch.device:
    return next(iter(model.parameters.values())).device
