"""The training loop, the same for every network and both stages: data, steps, checkpoints, samples, export.

A step is a function of (seed, step) and the state in the checkpoint: data positions and all draws
come from generators seeded anew each step, so resuming equals not stopping.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from addsr_cli.errors import UsageError
from addsr_cli.files import write_error, write_text
from addsr_cli.hardware import peak_bytes
from addsr_cli.models.registry import training_setup
from addsr_cli.schedule import STEPS
from addsr_cli.train import checkpoint, results
from addsr_cli.train.build import accelerator_for, objective_for, trainable_for
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.dataset import PairDataset, find_photos, loader
from addsr_cli.train.data.tags import precomputed
from addsr_cli.train.interrupt import interrupts_wait
from addsr_cli.train.objectives.base import Batch, StepMetrics
from addsr_cli.train.optim.ema import Ema


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """What a run tells while it goes: means since the last report; losses by the timesteps that had samples."""

    step: int
    steps: int
    values: dict[str, float]
    by_timestep: dict[int, float]
    lr: float
    seconds_per_step: float
    memory: int

    @property
    def seconds_left(self) -> float:
        """At the present pace."""
        return (self.steps - self.step) * self.seconds_per_step


class Trainer:
    """Everything of one run. ``run()`` goes to the end."""

    def __init__(
        self, config: TrainConfig, on_progress: Callable[[TrainProgress], None] | None = None
    ) -> None:
        self.config, self.on_progress = config, on_progress
        found = find_photos(config.data, config.crop, config.pairs)
        self.photos, self.held_out = found.split(config.validation)
        self.accelerator = accelerator_for(config)
        self.model = trainable_for(config, self.accelerator)
        self.objective = objective_for(config, self.model, self.accelerator)
        self.ema = Ema(self.model.parameters, config.ema, "cpu" if config.ema_on_cpu else None)
        self.step = 0
        self.tags: dict[str, str] = {}
        self.recent: list[StepMetrics] = []

    def run(self, resume: str | None = None) -> Path:
        """Train to ``config.steps`` and export; returns the export folder. Ctrl-C saves a checkpoint first."""
        self._begin(resume)
        started = time.perf_counter()
        try:
            for batches in self._batches():
                with interrupts_wait():
                    self.train_step(batches)
                    started = self._after_step(started)
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        folder = self.export(final=True)
        self.accelerator.end_training()
        return folder

    def train_step(self, batches: list[Batch]) -> None:
        """One optimiser step on the batches that are accumulated."""
        self.recent.append(
            self.objective.step(batches, self.step, learning_rate(self.config, self.step))
        )
        self.ema.update()
        self.step += 1

    def _batches(self) -> Iterator[list[Batch]]:
        config, accelerator = self.config, self.accelerator
        first = self.step * config.accumulate
        source = iter(
            loader(
                PairDataset(self.photos, config, self.tags),
                first,
                accelerator.process_index,
                accelerator.num_processes,
            )
        )
        while taken := [
            Batch.of(raw, accelerator.device) for raw in islice(source, config.accumulate)
        ]:
            yield taken

    def _after_step(self, started: float) -> float:
        config, now = self.config, time.perf_counter()
        due = self.step % config.log_every == 0 or self.step == config.steps
        if due:
            self._log((now - started) / len(self.recent))
        if self.step % config.save_every == 0:
            self.save()
            self.export()
        if self.step % config.sample_every == 0 and self.accelerator.is_main_process:
            self.write_samples()
        return time.perf_counter() if due else started

    def _log(self, seconds: float) -> None:
        seen = [entry for told in self.recent for entry in told.by_timestep]
        names = self.recent[0].values
        progress = TrainProgress(
            step=self.step,
            steps=self.config.steps,
            values={name: _mean(told.values[name] for told in self.recent) for name in names},
            by_timestep={
                STEPS[k]: _mean(loss for i, loss in seen if i == k)
                for k in sorted({i for i, _ in seen})
            },
            lr=learning_rate(self.config, self.step),
            seconds_per_step=seconds,
            memory=peak_bytes(str(self.accelerator.device)),
        )
        self.recent.clear()
        if self.accelerator.is_main_process:
            path = self.config.output / results.LOG
            with _written(path), path.open("a", encoding="utf-8") as file:
                finite = {
                    name: value if math.isfinite(value) else None
                    for name, value in progress.values.items()
                }
                file.write(json.dumps(asdict(progress) | {"values": finite}) + "\n")
            self.accelerator.log(progress.values | {"lr": progress.lr}, step=self.step)
            if self.on_progress:
                self.on_progress(progress)

    def write_samples(self) -> Path:
        """Grid of held-out pictures, or of training ones: canvas, one step, four steps, HR; from averaged weights."""
        with self.ema.applied():
            pairs = PairDataset(
                self.held_out if self.held_out.paths else self.photos, self.config, self.tags
            )
            path = self.config.output / "samples" / f"step-{self.step:07d}.png"
            with _written(path):
                return results.write_grid(self.model, pairs, path, self.accelerator.autocast)

    def save(self) -> None:
        """Write a checkpoint (main process only)."""
        if self.accelerator.is_main_process:
            folder = self.config.output / "checkpoints"
            checkpoint.save(folder, self.step, self.state_dict(), self.config.keep)

    def export(self, *, final: bool = False) -> Path:
        """Write the averaged weights as a model that ``addsr upscale --model`` takes.

        In the end with its model card and the measurements on held-out photos; in between only of
        small networks.
        """
        folder = self.config.output / "export"
        if self.accelerator.is_main_process and (final or training_setup(self.config.arch).small):
            with self.ema.applied(), _written(folder):
                self.model.write(folder, {"steps": str(self.step)})
                write_text(folder / "training.json", self.config.portable().to_json())
                if final:
                    autocast, photos = self.accelerator.autocast, (self.photos, self.held_out)
                    results.write_card(
                        self.config, self.model, *photos, folder, autocast, self.tags
                    )
        self.accelerator.wait_for_everyone()
        return folder

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs besides the configuration."""
        weights = {name: p.detach() for name, p in self.model.parameters.items()}
        return {
            "weights": weights,
            "objective": self.objective.state_dict(),
            "ema": self.ema.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state["weights"].keys() != self.model.parameters.keys():
            raise KeyError("it holds other weights")
        for name, p in self.model.parameters.items():
            p.copy_(state["weights"][name])
        self.objective.load_state_dict(state["objective"])
        self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])

    def _begin(self, resume: str | None) -> None:
        """Take up a checkpoint, or a folder that holds none: what an older run saved would pass for the latest."""
        config, checkpoints = self.config, self.config.output / "checkpoints"
        if resume:
            path = checkpoint.find(resume, checkpoints)
            try:
                self.load_state_dict(checkpoint.load(path))
            except (KeyError, TypeError, RuntimeError, ValueError) as exc:
                problem = f"{path} is not a checkpoint of this network: {exc}"
                raise UsageError(
                    problem, f"It must come from --arch {config.arch} --stage {config.stage}."
                ) from exc
        elif any(checkpoints.glob(checkpoint.PATTERN)):
            problem = f"{config.output} holds a training run already."
            raise UsageError(
                problem, "Add --resume latest to go on with it, or choose another --output."
            )
        with _written(config.output):
            write_text(config.output / "config.json", config.to_json())
        self.accelerator.init_trackers("addsr")
        if config.precompute:
            self.tags = precomputed(self.photos, self.model, config.output, self.accelerator)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then constant, or a half cosine down to zero at ``config.steps``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.decay == "constant":
        return config.lr
    along = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as exc:
        hint = "Free some space and add --resume latest, or choose another --output."
        raise write_error(path, exc, hint) from exc


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
