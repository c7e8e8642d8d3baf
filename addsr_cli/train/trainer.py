"""The training loop. This stage trains a teacher from scratch: the clean picture at t = 999, 749, 499, 249.

A step is a function of (seed, step) and the state in the checkpoint: data positions, timesteps, noise and PSR
weights are drawn from generators seeded anew each step, so resuming equals not stopping.
"""

import json
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from addsr_cli import hardware
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.nano import Nano, NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.restorer import Condition
from addsr_cli.sampler import cpu_noise, refine, sample
from addsr_cli.schedule import STEPS
from addsr_cli.similarity import ssim
from addsr_cli.train import checkpoint
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.dataset import Pairs, Photos, find_photos, loader
from addsr_cli.train.draws import draw, noisy_latent
from addsr_cli.train.ema import Ema
from addsr_cli.train.interrupt import interrupts_wait
from addsr_cli.train.losses import charbonnier
from addsr_cli.train.muon import Muon

TINY = NanoConfig(channels=(16, 16, 16), depths=(1, 1, 1), embedding=16)
GRID_PHOTOS = 4
FLOOR = 0.005  # added to the canvas's own distance, by which every sample's distance is divided: all count alike
UNUSED = Condition()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run tells while it goes; losses are means since the last report, by the timesteps that had samples."""

    step: int
    steps: int
    loss: float
    by_timestep: dict[int, float]
    grad_norm: float
    lr: float
    seconds_per_step: float

    @property
    def seconds_left(self) -> float:
        """At the present pace."""
        return (self.steps - self.step) * self.seconds_per_step


class Trainer:
    """Everything of one run: network, optimiser, average, data. ``run()`` goes to the end."""

    def __init__(self, config: TrainConfig, report: Callable[[Progress], None] | None = None) -> None:
        self.config = config
        self.report = report
        machine = hardware.probe(config.device)  # refuses a device that is not there
        self.accelerator = Accelerator(cpu=machine.kind == "cpu", mixed_precision=_mixed(config.precision, machine))
        self.photos: Photos = find_photos(config.data, config.crop)
        torch.manual_seed(config.seed)
        self.nano = _build(config)
        net = self.nano.net
        self.net, *self.optimisers = self.accelerator.prepare(net, *_optimisers(net, config))
        self.nano.net = self.net
        self.ema = Ema(self.accelerator.unwrap_model(self.net), config.ema)
        self.step = 0
        self.recent: deque[tuple[float, list[float], list[int], float]] = deque(maxlen=config.log_every)

    def run(self, resume: str | None = None) -> Path:
        """Train to ``config.steps`` and export; returns the export folder. Ctrl-C saves a checkpoint first."""
        self._begin(resume)
        accelerator = self.accelerator
        pairs = Pairs(self.photos, self.config)
        started = time.perf_counter()
        try:
            for batch in loader(pairs, self.step, accelerator.process_index, accelerator.num_processes):
                with interrupts_wait():
                    self.train_step(batch["hr"].to(accelerator.device), batch["canvas"].to(accelerator.device))
                    started = self._after_step(started)
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        return self.export()

    def train_step(self, hr: Tensor, canvas: Tensor) -> None:
        """One optimiser step on a batch of pairs (B, 3, crop, crop) in [0, 1]."""
        config = self.config
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, self.step)
            optimiser.zero_grad(set_to_none=True)
        losses, index = self.losses(hr, canvas)
        loss = losses.mean()
        self._refuse_non_finite("loss", loss.item(), index)
        self.accelerator.backward(loss)
        norm = float(self.accelerator.clip_grad_norm_(self.net.parameters(), config.clip))
        self._refuse_non_finite("gradient norm", norm, index)
        for optimiser in self.optimisers:
            optimiser.step()
        self.ema.update(self.accelerator.unwrap_model(self.net))
        self.step += 1
        self.recent.append((loss.item(), losses.tolist(), index.tolist(), norm))

    def _refuse_non_finite(self, what: str, value: float, index: Tensor) -> None:
        if not math.isfinite(value):
            raise AddsrError(
                f"The {what} became {value} at step {self.step}, timesteps {[STEPS[i] for i in index.tolist()]}.",
                "The last checkpoint is from before: resume from it with a lower --lr or --precision fp32.",
            )

    def losses(self, hr: Tensor, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of every sample (B,), and which of STEPS each was trained at (B,)."""
        nano, device = self.nano, hr.device
        height, width = (side // nano.factor for side in hr.shape[-2:])
        shape = (len(hr), nano.channels, height, width)
        d = draw(self.config, self.step, self.accelerator.process_index, shape)
        index, from_lr = d.index.to(device), d.from_lr.to(device)
        before = self._rollout(hr, canvas, index, d.earlier.to(device), from_lr)
        own, psr = (weight.to(device).view(-1, 1, 1, 1) for weight in (d.own, d.psr))
        z = noisy_latent(nano, torch.lerp(hr, before, own), canvas, index, d.noise.to(device), from_lr)
        control = torch.where((index > 0).view(-1, 1, 1, 1), refine(before, canvas, psr), canvas)
        with self.accelerator.autocast():
            output = nano.denoise(z, torch.tensor(STEPS, device=device)[index], control, UNUSED)
        picture = nano.decode(output)
        losses = charbonnier(picture, hr) / (charbonnier(canvas, hr) + FLOOR)
        if self.config.ssim_weight:
            losses = losses + self.config.ssim_weight * (1 - ssim(picture, hr))
        return losses, index

    @torch.no_grad()
    def _rollout(self, hr: Tensor, canvas: Tensor, index: Tensor, noise: Tensor, from_lr: Tensor) -> Tensor:
        """The network's own prediction one timestep earlier (B, 3, H, W); the canvas where there is none."""
        later = index > 0
        if not later.any():
            return canvas
        lr, earlier = canvas[later], index[later] - 1
        z = noisy_latent(self.nano, hr[later], lr, earlier, noise[later], from_lr[later])
        with self.accelerator.autocast():
            output = self.nano.denoise(z, torch.tensor(STEPS, device=hr.device)[earlier], lr, UNUSED)
        before = canvas.clone()
        before[later] = self.nano.decode(output)
        return before

    def _after_step(self, started: float) -> float:
        config, now = self.config, time.perf_counter()
        if self.step % config.log_every == 0:
            self._log((now - started) / config.log_every)
            started = now
        if self.step % config.save_every == 0:
            self.save()
            self.export()
        if self.step % config.sample_every == 0 and self.accelerator.is_main_process:
            self.write_samples()
        return started if self.step % config.log_every else time.perf_counter()

    def _log(self, seconds: float) -> None:
        seen = [(i, loss) for _, losses, index, _ in self.recent for i, loss in zip(index, losses, strict=True)]
        progress = Progress(
            step=self.step,
            steps=self.config.steps,
            loss=_mean(entry[0] for entry in self.recent),
            by_timestep={STEPS[k]: _mean(loss for i, loss in seen if i == k) for k in sorted({i for i, _ in seen})},
            grad_norm=_mean(entry[3] for entry in self.recent),
            lr=learning_rate(self.config, self.step),
            seconds_per_step=seconds,
        )
        if self.accelerator.is_main_process:
            with (self.config.output / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(progress.__dict__) + "\n")
            if self.report:
                self.report(progress)

    def write_samples(self) -> Path:
        """Grid of four training photos: canvas, one step, four steps, HR; seeded, from the averaged weights."""
        pairs = Pairs(self.photos, self.config)
        rows = []
        net = self.accelerator.unwrap_model(self.net)
        with self.ema.applied(net):
            for position in range(GRID_PHOTOS):
                item = pairs[position]
                canvas = item["canvas"][None].to(self.accelerator.device)
                shots = [
                    sample(self.nano, canvas, UNUSED, timesteps=STEPS[:n], noise=cpu_noise(0))[0].cpu() for n in (1, 4)
                ]
                rows.append(torch.cat([item["canvas"], *shots, item["hr"]], dim=2))
        grid = torch.cat(rows, dim=1).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        path = self.config.output / "samples" / f"step-{self.step:07d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), grid[..., ::-1])
        return path

    def save(self) -> None:
        """Write a checkpoint (main process only)."""
        if self.accelerator.is_main_process:
            folder = self.config.output / "checkpoints"
            checkpoint.save(folder, self.step, self.state_dict(), self.config.keep)

    def export(self) -> Path:
        """Write the averaged weights as a model that ``addsr upscale --model`` takes."""
        folder = self.config.output / "export"
        if self.accelerator.is_main_process:
            folder.mkdir(exist_ok=True)
            net = self.accelerator.unwrap_model(self.net)
            with self.ema.applied(net):
                partial = folder / "nano.partial"
                save_nano(net, partial, {"steps": str(self.step)}, torch.float16)
                partial.replace(folder / "nano.safetensors")
            shutil.copyfile(self.config.output / "config.json", folder / "training.json")
        return folder

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs besides the configuration."""
        return {
            "net": self.accelerator.unwrap_model(self.net).state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.accelerator.unwrap_model(self.net).load_state_dict(state["net"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
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
                raise UsageError(problem, f"It must come from --arch {config.arch}.") from exc
        elif any(checkpoints.glob(checkpoint.PATTERN)):
            problem = f"{config.output} holds a training run already."
            raise UsageError(problem, "Add --resume latest to go on with it, or choose another --output.")
        try:
            config.output.mkdir(parents=True, exist_ok=True)
            (config.output / "config.json").write_text(config.to_json(), encoding="utf-8")
        except OSError as exc:
            problem = f"The run folder {config.output} cannot be written: {exc}"
            raise OutputRefused(problem, "Choose another --output.") from exc


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a half cosine down to zero at ``config.steps``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    along = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def _optimisers(net: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the kernels inside the network, AdamW for everything else."""
    kernels = [
        p
        for name, p in net.named_parameters()
        if p.ndim == 4 and not name.startswith(("noisy_in", "control_in", "out"))
    ]
    chosen = {id(p) for p in kernels}
    rest = [p for p in net.parameters() if id(p) not in chosen]
    return [Muon(kernels, config.lr), torch.optim.AdamW(rest, config.lr, betas=(0.9, 0.99), weight_decay=0.0)]


def _build(config: TrainConfig) -> Nano:
    if config.init:
        return load_nano(config.init)
    return build_nano(TINY if config.arch == "tiny" else None)


def _mixed(precision: str, machine: Hardware) -> str:
    """What accelerate calls it; auto is bf16 where the machine multiplies that fast, else float32."""
    if precision == "auto":
        return "bf16" if machine.bf16 else "no"
    return "no" if precision == "fp32" else precision


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
