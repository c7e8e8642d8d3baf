"""The training loop: it trains, stops, resumes and exports a model."""

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
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import AddsrError, OutputRefused, UsageError
from addsr_cli.models.nano.restorer import load_nano
from addsr_cli.settings import Machine
from addsr_cli.train import checkpoint
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.data.dataset import PairDataset
from addsr_cli.train.recipe import preset
from addsr_cli.train.trainer import Trainer, learning_rate

ROOT = str(Path(addsr_cli.__file__).parent.parent)


def newest(config):
    return checkpoint.load(checkpoint.find("latest", config.output / "checkpoints"))


@pytest.fixture(params=["teacher", "student"])
def stage(request):
    """The stage of training; a student also has a discriminator with its own optimizer."""
    return request.param


@pytest.fixture
def run(configured, stage):
    """Makes configurations of a run."""
    return lambda **changes: configured(stage=stage, **changes)


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


def test_a_checkpoint_of_the_other_stage_is_refused(configured, tmp_path):
    teacher = configured(steps=1)
    Trainer(teacher).run()
    path = str(checkpoint.find("latest", teacher.output / "checkpoints"))
    with pytest.raises(UsageError, match="not a checkpoint of this network") as caught:
        Trainer(configured(stage="student", output=tmp_path / "other")).run(path)
    assert "--stage student" in caught.value.hint


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_unusable_loss_ends_the_run_before_the_weights_move(run, monkeypatch, value):
    config = run(save_every=1)
    trainer = Trainer(config)
    backward = trainer.objective.optimizer_step.backward

    def backward_with_bad_loss(loss):
        backward(loss * (value if trainer.step == 2 else 1))

    monkeypatch.setattr(trainer.objective.optimizer_step, "backward", backward_with_bad_loss)
    with pytest.raises(AddsrError, match=r"loss of the student became (nan|inf)"):
        trainer.run()
    assert newest(config)["step"] == trainer.step == 2
    saved = newest(config)["weights"]
    assert all(torch.equal(p, saved[name]) for name, p in trainer.model.parameters.items())


def test_the_average_is_exported_and_not_the_trained_weights(run):
    trainer = Trainer(run())
    stored = load_file(trainer.run() / "nano.safetensors")
    own, frozen = trainer.model.parameters, dict(trainer.model.frozen.named_parameters())
    assert all(
        torch.equal(stored[name], value.half()) for name, value in trainer.ema.shadow.items()
    )
    for other in (own, frozen):
        assert any(not torch.equal(stored[name], p.half()) for name, p in other.items())
    assert stored.keys() == own.keys()


def test_without_the_adversarial_loss_there_is_no_discriminator(configured, monkeypatch):
    from addsr_cli.train import build

    monkeypatch.setattr(build, "_discriminator", lambda *_: pytest.fail("built"))
    recipe = replace(preset("paper", "tiny-nano"), adversarial=0.0)
    trainer = Trainer(configured(stage="student", recipe=recipe, steps=1))
    trainer.run()
    assert trainer.objective.discriminator_step is None
    assert newest(trainer.config)["objective"]["discriminator_step"] == {}


def test_photos_without_an_lr_are_skipped_in_a_run_on_pairs(configured, photos, tmp_path):
    for name in ("a.png", "b.png"):
        pixels = cv2.imread(str(photos / name))
        (tmp_path / "lr").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "lr" / name), pixels[::4, ::4])
    trainer = Trainer(configured(pairs=tmp_path / "lr", steps=4))
    assert trainer.photos.summary() == "2 photos, 1 without an LR of the same name"
    trainer.run()


def test_a_run_folder_is_a_model(configured):
    config = configured(steps=2)
    Trainer(config).run()
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    result = Upscaler(str(config.output), Machine(device="cpu")).upscale(photo)
    assert (result.photo.width, result.photo.height) == (96, 80)
    assert (
        TrainConfig.from_json((config.output / "export" / "training.json").read_text())
        == config.portable()
    )


def test_a_run_may_start_from_the_weights_of_another(configured, tmp_path):
    first = Trainer(configured(output=tmp_path / "first")).run() / "nano.safetensors"
    second = Trainer(configured(init=first))
    loaded = load_nano(first).net.state_dict()
    assert all(torch.equal(p, loaded[name]) for name, p in second.model.net.state_dict().items())


def test_weights_depend_on_the_seed_alone(configured):
    torch.manual_seed(99)
    first = Trainer(configured()).model.net.control_in.weight
    assert torch.equal(first, Trainer(configured()).model.net.control_in.weight)
    assert not torch.equal(first, Trainer(configured(seed=1)).model.net.control_in.weight)


def test_samples_are_a_grid_of_canvas_results_and_target(configured):
    config = configured(steps=2, sample_every=2)
    trainer = Trainer(config)
    trainer.run()
    grid = cv2.imread(str(config.output / "samples" / "step-0000002.png"))[..., ::-1] / 255
    assert grid.shape == (4 * 64, 4 * 64, 3)
    for row, item in enumerate(PairDataset(trainer.photos, config)[k] for k in range(4)):
        for column, name in ((0, "canvas"), (3, "hr")):
            cell = grid[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
            assert np.abs(cell - item[name].permute(1, 2, 0).numpy()).max() < 0.6 / 255


def test_progress_is_reported_and_logged(run, stage):
    config, reports = run(log_every=4), []
    Trainer(config, reports.append).run()
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert (
        [p.step for p in reports] == [line["step"] for line in lines] == [4, 6]
    )  # the last step is always reported
    expected = {"l1", "grad_norm"}
    if stage == "student":
        expected = {"distill", "distance", "adversarial", "discriminator", "real", "fake"}
        expected |= {"discriminator_norm", "grad_norm"}
    for p in reports:
        assert p.values.keys() == expected
        assert all(math.isfinite(value) for value in (*p.values.values(), *p.by_timestep.values()))
        assert set(p.by_timestep) <= {999, 749, 499, 249}
        assert p.values["grad_norm"] > 0 < p.seconds_per_step
    assert [p.seconds_left > 0 for p in reports] == [True, False]


def test_checkpoints_are_written_when_due_and_only_the_newest_remain(configured):
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
    steady = replace(config, decay="constant")
    assert [learning_rate(steady, step) for step in (0, 10, 50, 100)] == [0.1, 1, 1, 1]


def test_a_device_that_is_not_there_is_refused(configured):
    with pytest.raises(UsageError, match="There is no"):
        Trainer(configured(device="cuda:99"))


def test_a_run_folder_that_cannot_be_created_is_refused(configured, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="cannot be written"):
        Trainer(configured(output=tmp_path / "file")).run()


def command(photos, run, *more):
    arguments = [
        "distill",
        "--data",
        photos,
        "--output",
        run,
        "--arch",
        "tiny-nano",
        "--crop",
        64,
        "--batch-size",
        1,
    ]
    return [str(argument) for argument in (*arguments, "--device", "cpu", *more)]


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_saves_and_leaves_with_130(photos, tmp_path):
    arguments = command(
        photos, tmp_path / "run", "--steps", 100_000, "--workers", 1, "--log-every", 1
    )
    program = [sys.executable, "-m", "addsr_cli", *arguments]
    env = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(
        program, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while (
            not (tmp_path / "run" / "log.jsonl").exists()
            and not process.poll()
            and time.monotonic() < deadline
        ):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert checkpoint.load(checkpoint.find("latest", tmp_path / "run" / "checkpoints"))["step"] >= 1
