"""What a run leaves to look at: sample grids, curves, measurements on held-out photos, and the model card.

Networks run as they were trained, in mixed precision where the run does; everything measured of
them is float32.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from addsr_cli.files import write_text
from addsr_cli.models.restorer import Restorer
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.sampler import cpu_noise, sample
from addsr_cli.schedule import STEPS
from addsr_cli.similarity import ssim
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.curves import curves
from addsr_cli.train.data.dataset import PairDataset, Photos
from addsr_cli.version import __version__

LOG, CARD, CURVES, GRID = "log.jsonl", "README.md", "curves.svg", "grid.png"
GRID_PHOTOS = 4
COUNTS = (1, 4)
Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Means over the held-out photos: PSNR in dB and SSIM, RGB, no border cut."""

    psnr: float
    ssim: float


def restored(
    model: TrainableModel,
    which: Restorer,
    pair: dict[str, Any],
    steps: int,
    autocast: Autocast = nullcontext,
) -> Tensor:
    """The canvas of a pair restored by student or teacher in some steps, seed 0: (3, H, W) in [0, 1] on the CPU.

    The network is told the pair's tags or, where none are known, what the tagger reads off the
    canvas.
    """
    canvas = pair["canvas"][None].to(_device(model))
    told = model.conditions(canvas, canvas, (pair["tags"],), torch.zeros(1, dtype=torch.bool))[0]
    with autocast():
        picture = sample(
            which,
            canvas,
            told,
            timesteps=STEPS[:steps],
            noise=cpu_noise(0),
        )
    return picture[0].clamp(0, 1).float().cpu()


def write_grid(
    model: TrainableModel,
    pairs: PairDataset,
    path: Path,
    autocast: Autocast = nullcontext,
) -> Path:
    """Four pairs, a row each: canvas, one step, four steps, HR. 8-bit PNG."""
    rows = []
    for position in range(GRID_PHOTOS):
        pair = pairs[position]
        shots = [restored(model, model.student, pair, n, autocast) for n in COUNTS]
        rows.append(torch.cat([pair["canvas"], *shots, pair["hr"]], dim=2))
    grid = torch.cat(rows, dim=1).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), grid[..., ::-1]):
        raise OSError(f"no picture could be written to {path}")
    return path


def score(
    model: TrainableModel,
    which: Restorer | None,
    pairs: PairDataset,
    steps: int,
    autocast: Autocast = nullcontext,
) -> Score:
    """How near one sample of every photo comes to HR; ``which`` None scores the canvas itself."""
    psnr, structure = [], []
    for position in range(len(pairs.photos.paths)):
        pair = pairs[position]
        picture = pair["canvas"] if which is None else restored(model, which, pair, steps, autocast)
        error = (picture - pair["hr"]).square().mean().clamp(min=1e-10)
        psnr.append(-10 * float(error.log10()))
        structure.append(float(ssim(picture[None], pair["hr"][None])))
    return Score(psnr=sum(psnr) / len(psnr), ssim=sum(structure) / len(structure))


def write_card(
    config: TrainConfig,
    model: TrainableModel,
    photos: Photos,
    held_out: Photos,
    folder: Path,
    autocast: Autocast = nullcontext,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """The model card beside the exported weights, with curves, a grid, and figures before and after.

    Before is the teacher that a student began as. Without held-out photos there are no figures, and
    the card says so. ``tags``: those of photos that were read before, by path.
    """
    pairs = PairDataset(held_out if held_out.paths else photos, config, tags)
    write_text(folder / CURVES, curves(config.output / LOG))
    write_grid(model, pairs, folder / GRID, autocast)
    figures = "No photos were held out (`--validation`), so nothing was measured."
    if held_out.paths:
        figures = _table(
            model, model.teacher if config.stage == "student" else None, pairs, autocast
        )
    text = CARD_TEXT.format(
        arch=config.arch,
        stage=config.stage,
        version=__version__,
        photos=photos.summary(),
        held_out=len(held_out.paths),
        samples=config.steps * config.batch_size * config.accumulate,
        settings=config.portable().to_json(),
        figures=figures,
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

Trained with addsr {version}. Use it with `addsr upscale PHOTO --model FOLDER`, where FOLDER is the one of this file.

## Figures

{figures}

![canvas, one step, four steps, original]({grid})

## Training

- Photos: {photos}; {held_out} of them held out. Samples seen: {samples}, per process.
- What the photos may be used for decides what this model may be used for: name them here.

![losses]({curves})

```json
{settings}
```
"""


def _table(
    model: TrainableModel,
    base: Restorer | None,
    pairs: PairDataset,
    autocast: Autocast,
) -> str:
    """Markdown: the enlarged input, what the student started from, and the student."""
    lines = ["| | PSNR (dB) | SSIM |", "|---|---|---|"]

    def row(name: str, found: Score) -> None:
        lines.append(f"| {name} | {found.psnr:.2f} | {found.ssim:.4f} |")

    row("bicubic", score(model, None, pairs, 1))
    for name, which in (("before", base), ("after", model.student)):
        for steps in COUNTS if which else ():
            row(
                f"{name}, {steps} step{'s' * (steps > 1)}",
                score(model, which, pairs, steps, autocast),
            )
    lines.append(
        f"\n{len(pairs.photos.paths)} held-out photos, one {pairs.config.crop} px crop of each, RGB, seed 0."
    )
    return "\n".join(lines)


def _device(model: TrainableModel) -> torch.device:
    return next(iter(model.parameters.values())).device
