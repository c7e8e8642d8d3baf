"""The loop: it learns, stops, goes on, and leaves a model behind."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import addsr_cli
from addsr_cli.engine import Machine, Upscaler
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.models.nano import load_nano
from addsr_cli.train import checkpoint
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.dataset import Pairs, loader
from addsr_cli.train.trainer import Trainer, learning_rate

ROOT = str(Path(addsr_cli.__file__).parent.parent)
RESUME = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)  # as the fixtures do: sums are exact only over the same threads
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.trainer import Trainer
Trainer(TrainConfig.from_json((Path(sys.argv[1]) / "config.json").read_text())).run("latest")
"""


class Stop:
    """A reporter that interrupts the run after a step, and keeps what it was told."""

    def __init__(self, step=None):
        self.step, self.told = step, []

    def __call__(self, progress):
        self.told.append(progress)
        if progress.step == self.step:
            raise KeyboardInterrupt


def interrupted(config, step):
    """A run that was stopped after ``step``."""
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, Stop(step)).run()


def newest(config):
    return checkpoint.load(checkpoint.find("latest", config.output / "checkpoints"))


def batch(trainer):
    pair = next(iter(loader(Pairs(trainer.photos, trainer.config), 0)))
    return pair["hr"], pair["canvas"]


@pytest.fixture
def straight(configured, tmp_path):
    """The checkpoint of six steps without a stop."""
    config = configured(output=tmp_path / "straight")
    Trainer(config).run()
    return newest(config)


def test_the_loss_falls_on_one_batch(configured):
    trainer = Trainer(configured(steps=40, lr=3e-3, log_every=30, first_step_share=1.0, mix=(("strong", 1.0),)))
    hr, canvas = batch(trainer)
    for _ in range(30):
        trainer.train_step(hr, canvas)
    losses = [entry[0] for entry in trainer.recent]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_stopping_and_going_on_equals_not_stopping(configured, straight, same):
    config = configured()
    interrupted(config, 3)
    assert newest(config)["step"] == 3
    Trainer(config).run("latest")
    assert same(newest(config), straight)


@pytest.mark.slow
def test_also_in_another_process(configured, straight, same):
    config = configured()
    interrupted(config, 3)
    subprocess.run(
        [sys.executable, "-c", RESUME, str(config.output)], check=True, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert same(newest(config), straight)


def test_ctrl_c_in_the_middle_of_a_step_saves_after_it(configured, straight, same, monkeypatch):
    config = configured()
    trainer = Trainer(config)
    backward = trainer.accelerator.backward

    def pressed(loss):
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        backward(loss)

    monkeypatch.setattr(trainer.accelerator, "backward", pressed)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert newest(config)["step"] == 3
    Trainer(config).run("latest")
    assert same(newest(config), straight)


def test_resuming_a_finished_run_only_exports_it_again(configured, straight, same, tmp_path):
    folder = Trainer(configured(output=tmp_path / "straight")).run("latest")
    assert (folder / "nano.safetensors").is_file()
    assert same(newest(configured(output=tmp_path / "straight")), straight)


def test_a_new_run_never_starts_over_an_old_one(configured):
    config = configured(steps=2)
    Trainer(config).run()
    with pytest.raises(UsageError, match="already") as caught:
        Trainer(config).run()
    assert "--resume latest" in caught.value.hint


def test_a_checkpoint_of_another_network_is_refused(configured):
    config = configured(steps=1)
    Trainer(config).run()
    with pytest.raises(UsageError, match="not a checkpoint of this network"):
        Trainer(replace(config, arch="nano")).run("latest")


@pytest.mark.parametrize("state", [{}, {"net": {}}, [1, 2]])
def test_a_checkpoint_of_something_else_is_refused(configured, tmp_path, state):
    torch.save(state, tmp_path / "step-0000001.pt")
    with pytest.raises(UsageError, match="not a checkpoint of this network"):
        Trainer(configured()).run(str(tmp_path / "step-0000001.pt"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_unusable_loss_stops_before_the_weights_move(configured, monkeypatch, value):
    trainer = Trainer(configured())
    hr, canvas = batch(trainer)
    trainer.train_step(hr, canvas)
    before = {name: p.clone() for name, p in trainer.nano.net.named_parameters()}
    losses = trainer.losses
    monkeypatch.setattr(trainer, "losses", lambda *pair: (losses(*pair)[0] * value, torch.tensor([0, 2])))
    with pytest.raises(AddsrError, match=r"loss became (nan|inf) at step 1, timesteps \[999, 499\]") as caught:
        trainer.train_step(hr, canvas)
    assert "resume" in caught.value.hint
    assert trainer.step == 1
    assert all(torch.equal(p, before[name]) for name, p in trainer.nano.net.named_parameters())


def test_what_is_exported_is_the_average_and_what_trains_is_not(configured):
    trainer = Trainer(configured())
    stored = load_file(trainer.run() / "nano.safetensors")
    own = dict(trainer.nano.net.named_parameters())
    assert all(torch.equal(stored[name], value.half()) for name, value in trainer.ema.shadow.items())
    assert any(not torch.equal(stored[name], p.half()) for name, p in own.items())
    assert stored.keys() == own.keys()


def test_a_run_folder_is_a_model(configured):
    config = configured(steps=2)
    Trainer(config).run()
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    result = Upscaler(str(config.output), Machine(device="cpu")).upscale(photo)
    assert (result.photo.width, result.photo.height) == (96, 80)
    assert TrainConfig.from_json((config.output / "export" / "training.json").read_text()) == config


def test_a_run_may_start_from_the_weights_of_another(configured, tmp_path):
    first = Trainer(configured(output=tmp_path / "first")).run() / "nano.safetensors"
    second = Trainer(configured(init=first))
    loaded = load_nano(first).net.state_dict()
    assert all(torch.equal(p, loaded[name]) for name, p in second.nano.net.state_dict().items())


def test_weights_depend_on_the_seed_alone(configured):
    torch.manual_seed(99)
    first = Trainer(configured()).nano.net.control_in.weight
    assert torch.equal(first, Trainer(configured()).nano.net.control_in.weight)
    assert not torch.equal(first, Trainer(configured(seed=1)).nano.net.control_in.weight)


def test_samples_are_a_grid_of_canvas_results_and_target(configured):
    config = configured(steps=2, sample_every=2)
    trainer = Trainer(config)
    trainer.run()
    grid = cv2.imread(str(config.output / "samples" / "step-0000002.png"))[..., ::-1] / 255
    assert grid.shape == (4 * 64, 4 * 64, 3)
    for row, item in enumerate(Pairs(trainer.photos, config)[k] for k in range(4)):
        for column, name in ((0, "canvas"), (3, "hr")):
            cell = grid[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
            assert np.abs(cell - item[name].permute(1, 2, 0).numpy()).max() < 0.6 / 255


def test_looking_at_samples_does_not_disturb_the_run(configured, straight, same):
    config = configured(sample_every=1, save_every=2)
    Trainer(config).run()
    assert same(newest(config), straight)


def test_progress_is_told_and_logged(configured):
    config, told = configured(log_every=2), Stop()
    Trainer(config, told).run()
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert [p.step for p in told.told] == [line["step"] for line in lines] == [2, 4, 6]
    assert all(math.isfinite(p.loss) and p.grad_norm > 0 and p.seconds_per_step > 0 for p in told.told)
    assert all(set(p.by_timestep) <= {999, 749, 499, 249} for p in told.told)
    assert all(math.isfinite(loss) for p in told.told for loss in p.by_timestep.values())
    assert [p.seconds_left > 0 for p in told.told] == [True, True, False]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(configured, monkeypatch):
    trainer = Trainer(configured())
    before = {name: p.clone() for name, p in trainer.nano.net.named_parameters()}
    monkeypatch.setattr(trainer.accelerator, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(AddsrError, match="gradient norm became inf at step 0"):
        trainer.train_step(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert all(torch.equal(p, before[name]) for name, p in trainer.nano.net.named_parameters())


def test_checkpoints_are_written_on_time_and_only_the_newest_kept(configured):
    config = configured(steps=7, save_every=2, keep=2)
    Trainer(config).run()
    names = sorted(path.name for path in (config.output / "checkpoints").iterdir())
    assert names == ["step-0000006.pt", "step-0000007.pt"]


def test_the_learning_rate_warms_up_and_falls_to_zero_as_a_cosine(configured, falling):
    config = configured(steps=100, warmup=10, lr=1.0)
    curve = [learning_rate(config, step) for step in range(101)]
    assert curve[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert falling(curve[9:])
    assert curve[10] == 1
    assert curve[55] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0)
    assert learning_rate(replace(config, warmup=0), 0) == 1


def test_the_rate_of_the_curve_is_the_one_used(configured):
    trainer = Trainer(configured())
    trainer.step = 4
    trainer.train_step(*batch(trainer))
    used = {group["lr"] for optimiser in trainer.optimisers for group in optimiser.param_groups}
    assert used == {learning_rate(trainer.config, 4)}


def test_every_weight_has_exactly_one_optimiser(configured):
    trainer = Trainer(configured())
    groups = [group for optimiser in trainer.optimisers for group in optimiser.param_groups]
    cared_for = [id(p) for group in groups for p in group["params"]]
    assert sorted(cared_for) == sorted(id(p) for p in trainer.nano.net.parameters())


def test_a_device_that_is_not_there_is_refused(configured):
    with pytest.raises(UsageError, match="There is no"):
        Trainer(configured(device="cuda:99"))


def test_a_run_folder_that_cannot_be_made_is_refused(configured, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="cannot be written"):
        Trainer(configured(output=tmp_path / "file")).run()


def test_later_steps_are_told_the_prediction_before_and_first_ones_the_canvas(configured):
    trainer = Trainer(configured())
    hr, canvas = batch(trainer)
    noise, always = torch.zeros(2, 48, 16, 16), torch.tensor([True, True])
    with torch.no_grad():
        trainer.nano.net.out.bias[::16] = 2.0  # a tenth brighter: the block mean, in units of its deviation
    first = trainer._rollout(hr, canvas, torch.tensor([0, 0]), noise, always)
    mixed = trainer._rollout(hr, canvas, torch.tensor([0, 3]), noise, always)
    assert torch.equal(first, canvas)
    assert torch.equal(mixed[0], canvas[0])
    assert torch.allclose(mixed[1], canvas[1] + 0.1, atol=1e-5)


@pytest.mark.parametrize(("own", "psr"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.25)])
def test_prediction_and_truth_are_mixed_as_drawn(configured, monkeypatch, own, psr):
    from addsr_cli.train import trainer as module

    trainer = Trainer(configured(first_step_share=0.0))
    hr, canvas = batch(trainer)
    with torch.no_grad():
        trainer.nano.net.out.bias[::16] = 2.0
    draw = module.draw
    fixed = torch.tensor([own, own]), torch.tensor([psr, psr])
    monkeypatch.setattr(module, "draw", lambda *words: replace(draw(*words), own=fixed[0], psr=fixed[1]))
    seen = {}
    monkeypatch.setattr(module, "noisy_latent", _keeping(module.noisy_latent, seen))
    denoise = trainer.nano.denoise
    monkeypatch.setattr(trainer.nano, "denoise", lambda z, t, c, cond: seen.update(control=c) or denoise(z, t, c, cond))
    trainer.losses(hr, canvas)
    before = canvas + 0.1
    assert torch.allclose(seen["picture"], torch.lerp(hr, before, own), atol=1e-5)
    assert torch.allclose(seen["control"], torch.lerp(canvas, before.clamp(0, 1), psr), atol=1e-5)


def _keeping(function, seen):
    def around(restorer, picture, *words):
        seen["picture"] = picture
        return function(restorer, picture, *words)

    return around


def test_every_sample_counts_by_how_much_of_its_damage_is_left(configured):
    trainer = Trainer(configured(first_step_share=1.0, ssim_weight=0.0))
    hr, _ = batch(trainer)
    canvas = torch.stack([hr[0] + 0.1, hr[1] + 0.02])
    losses, _ = trainer.losses(hr, canvas)  # a fresh network answers with the canvas
    assert torch.allclose(losses, torch.tensor([0.1 / 0.105, 0.02 / 0.025]), atol=0.01)


def command(photos, run, *more):
    words = ["distill", "--data", photos, "--output", run, "--arch", "tiny", "--crop", 64, "--batch-size", 1]
    return [str(word) for word in (*words, "--device", "cpu", *more)]


def test_the_command_trains_a_model_that_the_other_command_takes(photos, tmp_path, capsys):
    from addsr_cli.cli.app import run

    assert run(command(photos, tmp_path / "run", "--steps", 3, "--workers", 0)) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / "export")
    out = tmp_path / "out.png"
    words = ["upscale", photos / "a.png", "-o", out, "--model", tmp_path / "run", "--device", "cpu"]
    assert run([str(word) for word in words]) == 0
    assert cv2.imread(str(out)).shape == (384, 320, 3)


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_saves_and_leaves_with_130(photos, tmp_path):
    words = command(photos, tmp_path / "run", "--steps", 100_000, "--workers", 1, "--log-every", 1)
    program = [sys.executable, "-m", "addsr_cli", *words]
    env = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(program, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "log.jsonl").exists() and not process.poll() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert checkpoint.load(checkpoint.find("latest", tmp_path / "run" / "checkpoints"))["step"] >= 1
