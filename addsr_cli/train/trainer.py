"""The training loop: data, steps, checkpoints, samples and export, for every network and stage.

A step is a function of the seed, the positions of its samples and the state in the checkpoint: all
draws come from generators seeded anew for each sample, so resuming equals not stopping, with any
number of processes.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError

from addsr_cli.errors import UsageError
from addsr_cli.files import write_error, write_text
from addsr_cli.hardware import peak_bytes
from addsr_cli.models.registry import training_setup
from addsr_cli.schedule import STEPS
from addsr_cli.train import checkpoint, results
from addsr_cli.train.build import accelerator_for, objective_for, trainable_for
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.dataset import PairDataset, photos_of
from addsr_cli.train.data.loader import loader
from addsr_cli.train.data.tags import precompute_tags
from addsr_cli.train.interrupt import Interrupts
from addsr_cli.train.objectives.base import Batch, StepMetrics
from addsr_cli.train.optim.ema import Ema
from addsr_cli.train.processes import StepShare, any_process, from_main


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Metrics averaged since the last report, and losses by the timesteps that had samples.

    ``memory`` is the peak in bytes.
    """

    step: int
    steps: int
    values: dict[str, float]
    by_timestep: dict[int, float]
    lr: float
    seconds_per_step: float
    memory: int

    @property
    def seconds_left(self) -> float:
        """Estimate from the pace since the last report."""
        return (self.steps - self.step) * self.seconds_per_step


class Trainer:
    """One training run and its state; ``run`` trains to the end."""

    def __init__(
        self, config: TrainConfig, on_progress: Callable[[TrainProgress], None] | None = None
    ) -> None:
        self.config = config
        self.on_progress = on_progress
        photos = photos_of(config)
        self.photos, self.held_out = photos.split(config.validation)
        self.accelerator = accelerator_for(config)
        self.model = trainable_for(config, self.accelerator)
        self.objective = objective_for(config, self.model, self.accelerator)
        self.ema = Ema(self.model.parameters, config.ema, "cpu" if config.ema_on_cpu else None)
        self.step = 0
        self.position = 0  # of the next step's first sample
        self.samples = config.step_samples(self.accelerator.num_processes)
        self.tags: dict[str, str] = {}
        self.recent: list[StepMetrics] = []

    def run(self, resume: str | None = None) -> Path:
        """Train to ``config.steps``, export, and return the export folder.

        Ctrl-C and SIGTERM save a checkpoint and raise KeyboardInterrupt.
        """
        self._start(resume)
        interrupts = Interrupts(alone=self.accelerator.num_processes == 1)
        started = time.perf_counter()
        try:
            with interrupts.watched():
                for batches in self._batches():
                    with interrupts.deferred():
                        self.train_step(batches)
                        started = self._after_step(started)
                    if any_process(interrupts.requested, self.accelerator):
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        folder = self.export(final=True)
        self.accelerator.end_training()
        return folder

    def train_step(self, batches: list[Batch]) -> None:
        """Make one optimizer step on the accumulated batches."""
        lr = learning_rate(self.config, self.step)
        self.recent.append(self.objective.step(batches, lr, samples=self.samples))
        self.ema.update()
        self.step += 1
        self.position += self.samples

    def _batches(self) -> Iterator[list[Batch]]:
        """Yield this process's batches of one step after another, from the current step on."""
        share = StepShare(
            samples=self.samples,
            batch_size=self.config.batch_size,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
        )
        source = iter(
            loader(
                PairDataset(self.photos, self.config, self.tags),
                share,
                self.position,
                self.config.steps - self.step,
            )
        )
        while raw_batches := list(islice(source, share.batches)):
            yield [Batch.of(raw, self.accelerator.device) for raw in raw_batches]

    def _after_step(self, started: float) -> float:
        """Log, save and sample when due; return when the current logging period started."""
        config = self.config
        log_due = self.step % config.log_every == 0 or self.step == config.steps
        if log_due:
            self._log((time.perf_counter() - started) / len(self.recent))
        if self.step % config.save_every == 0:
            self.save()
            self.export()
        if self.step % config.sample_every == 0 and self.accelerator.is_main_process:
            self.write_samples()
        return time.perf_counter() if log_due else started

    def _log(self, seconds_per_step: float) -> None:
        recent = self.recent
        if self.accelerator.num_processes > 1:
            recent = gather_object(recent)
        losses: dict[int, list[float]] = {}
        for metrics in recent:
            for index, loss in metrics.by_timestep:
                losses.setdefault(index, []).append(loss)
        progress = TrainProgress(
            step=self.step,
            steps=self.config.steps,
            values=_mean_values(recent),
            by_timestep={STEPS[index]: _mean(losses[index]) for index in sorted(losses)},
            lr=learning_rate(self.config, self.step),
            seconds_per_step=seconds_per_step,
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
        """Write a grid of held-out photos (or training photos) restored with averaged weights."""
        with self.ema.applied():
            photos = self.held_out if self.held_out.paths else self.photos
            pairs = PairDataset(photos, self.config, self.tags)
            path = self.config.output / "samples" / f"step-{self.step:07d}.png"
            with _written(path):
                return results.write_grid(
                    self.model,
                    pairs,
                    path,
                    self.accelerator.autocast,
                )

    def save(self) -> None:
        """Write a checkpoint in the main process. All must call it together."""
        state = self.state_dict()
        if self.accelerator.is_main_process:
            folder = self.config.output / "checkpoints"
            checkpoint.save(
                folder,
                self.step,
                state,
                self.config.keep,
            )

    def export(self, *, final: bool = False) -> Path:
        """Write the averaged weights as a model that ``addsr upscale --model`` takes.

        The final export has a model card with measurements on held-out photos. Large networks are
        exported only at the end.
        """
        folder = self.config.output / "export"
        if self.accelerator.is_main_process and (final or training_setup(self.config.arch).small):
            with self.ema.applied(), _written(folder):
                self.model.write(folder, {"steps": str(self.step)})
                write_text(folder / "training.json", self.config.portable().to_json())
                if final:
                    results.write_card(
                        self.config,
                        self.model,
                        self.photos,
                        self.held_out,
                        folder,
                        self.accelerator.autocast,
                        self.tags,
                        samples=self.position,
                    )
        self.accelerator.wait_for_everyone()
        return folder

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the configuration that resuming needs.

        All processes must ask together; the main one gets sharded optimizer states whole.
        """
        weights = {name: p.detach() for name, p in self.model.parameters.items()}
        return {
            "position": self.position,
            "samples": self.samples,
            "processes": self.accelerator.num_processes,
            "weights": weights,
            "objective": self.objective.state_dict(),
            "ema": self.ema.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint. Raises KeyError when it has other weights.

        With another number of processes, a step keeps its number of samples.
        """
        if state["weights"].keys() != self.model.parameters.keys():
            raise KeyError("it holds other weights")
        for name, p in self.model.parameters.items():
            p.copy_(state["weights"][name])
        self.objective.load_state_dict(state["objective"])
        self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])
        self.position = state.get("position", self.step * self.samples)
        others = state.get("processes", 1) != self.accelerator.num_processes
        if others and "samples" in state and not self.config.total_batch:
            self.samples = state["samples"]

    def _start(self, resume: str | None) -> None:
        """Load the checkpoint to resume from, or check that the folder has none of an older run."""
        config = self.config
        checkpoints = config.output / "checkpoints"
        path = None
        if resume:  # the main process chooses, in case another one does not see its last files yet
            if self.accelerator.is_main_process:
                path = checkpoint.find(resume, checkpoints)
            path = from_main(path, self.accelerator)
        if path:
            try:
                self.load_state_dict(checkpoint.load(path))
            except (KeyError, TypeError, RuntimeError, ValueError) as exc:
                problem = f"{path} is not a checkpoint of this network: {exc}"
                raise UsageError(
                    problem, f"It must come from --arch {config.arch} --stage {config.stage}."
                ) from exc
        elif not resume and any(checkpoints.glob(checkpoint.PATTERN)):
            problem = f"{config.output} already has a training run."
            raise UsageError(
                problem, "Add --resume latest to continue it, or choose another --output."
            )
        if self.accelerator.is_main_process:
            with _written(config.output):
                write_text(config.output / "config.json", config.to_json())
                results.trim_log(config.output / results.LOG, self.step)
        self.accelerator.init_trackers("addsr")
        if config.precompute:
            self.tags = precompute_tags(
                self.photos,
                self.model,
                config.output,
                self.accelerator,
            )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then constant, or a half cosine down to zero at ``config.steps``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.decay == "constant":
        return config.lr
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as exc:
        hint = "Free some space and add --resume latest, or choose another --output."
        raise write_error(path, exc, hint) from exc


def _mean_values(metrics: Sequence[StepMetrics]) -> dict[str, float]:
    """Return the mean of every value over all samples."""
    samples = sum(each.samples for each in metrics)
    return {
        name: sum(each.samples * each.values[name] for each in metrics) / samples
        for name in metrics[0].values
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
