"""A resumed run equals one that was never stopped, whatever stopped it."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

import addsr_cli
from addsr_cli.train import checkpoint
from addsr_cli.train.recipe import preset
from addsr_cli.train.trainer import Trainer

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


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.trainer import Trainer
save = torch.save
def half(state, file):
    if state["step"] < 4:
        return save(state, file)
    file.write(b"half of it"); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
Trainer(TrainConfig.from_json((Path(sys.argv[1]) / "config.json").read_text())).run()
"""


def child(program, config):
    """Run a program on a run folder in a process of its own."""
    command = [sys.executable, "-c", program, str(config.output)]
    return subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": ROOT})


def interrupted(config, step):
    """A run that was stopped after ``step``."""

    def stop(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(config, stop).run()


def newest(config):
    return checkpoint.load(checkpoint.find("latest", config.output / "checkpoints"))


@pytest.fixture(scope="module", params=["teacher", "student"])
def stage(request):
    """The stage of training; a student also has a discriminator with its own optimizer."""
    return request.param


@pytest.fixture(scope="module")
def finished(configured_once, tmp_path_factory, stage):
    """The folder of a run of four steps without a stop."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    Trainer(configured_once(output=folder, stage=stage, steps=4)).run()
    return folder


@pytest.fixture(scope="module")
def straight(finished):
    """Its last checkpoint."""
    return checkpoint.load(checkpoint.find("latest", finished / "checkpoints"))


@pytest.fixture
def run(configured, stage):
    """Makes configurations of the same run, elsewhere."""
    return lambda **changes: configured(**({"stage": stage, "steps": 4} | changes))


def test_resuming_equals_not_stopping(run, straight, same):
    config = run()
    interrupted(config, 2)
    assert newest(config)["step"] == 2
    Trainer(config).run("latest")
    assert same(newest(config), straight)


def test_a_checkpoint_holds_both_networks_their_optimisers_and_the_average(configured):
    config = configured(stage="student", steps=2)
    trainer = Trainer(config)
    trainer.run()
    state = newest(config)
    discriminator = state["objective"]["discriminator_step"]
    assert any(name.endswith("weight_u") for name in discriminator["weights"])
    for optimizer_step in (discriminator["optimizer_step"], state["objective"]["student"]):
        assert {
            float(moments["step"]) for moments in optimizer_step["optimizers"][0]["state"].values()
        } == {2.0}
    assert (
        state["weights"].keys() == state["ema"]["shadow"].keys() == trainer.model.parameters.keys()
    )
    assert state["ema"]["updates"] == state["step"] == 2


@pytest.mark.parametrize("steps", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_accumulated_batches_resume_at_the_same_position(run, same, steps, tmp_path):
    straight, stopped = (
        run(accumulate=2, batch_size=1, steps=3, output=tmp_path / name) for name in ("a", "b")
    )
    Trainer(straight).run()
    interrupted(stopped, steps)
    Trainer(stopped).run("latest")
    assert same(newest(stopped), newest(straight))


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_discriminator_on_vgg_resumes_with_its_scales(
    configured, small_vgg, same, accumulate, tmp_path
):
    recipe = replace(
        preset("paper", "tiny-nano"), discriminator="vgg", anchor_lpips=0.5, teacher_share=0.5
    )
    several = {"recipe": recipe, "steps": 3, "accumulate": accumulate, "batch_size": 1}
    straight, stopped = (
        configured(stage="student", output=tmp_path / name, **several) for name in ("a", "b")
    )
    Trainer(straight).run()
    interrupted(stopped, 2)
    weights = newest(stopped)["objective"]["discriminator_step"]["weights"]
    assert weights["scale_3"].min() > 0
    Trainer(stopped).run("latest")
    assert same(newest(stopped), newest(straight))


@pytest.mark.slow
def test_resuming_in_another_process_equals_not_stopping(run, straight, same):
    config = run()
    interrupted(config, 2)
    assert child(RESUME, config).returncode == 0
    assert same(newest(config), straight)


def test_ctrl_c_in_the_middle_of_a_step_saves_after_it(run, straight, same, monkeypatch):
    config = run()
    trainer = Trainer(config)
    backward = trainer.objective.optimizer_step.backward

    def backward_with_ctrl_c(loss):
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        backward(loss)

    monkeypatch.setattr(trainer.objective.optimizer_step, "backward", backward_with_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert newest(config)["step"] == 3
    Trainer(config).run("latest")
    assert same(newest(config), straight)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["student"], indirect=True)
def test_a_run_killed_while_saving_resumes_from_the_previous_checkpoint(run, straight, same):
    config = run(save_every=2)
    config.output.mkdir()
    (config.output / "config.json").write_text(config.to_json())
    ended = child(KILLED, config)
    assert ended.returncode == -signal.SIGKILL
    assert checkpoint.find("latest", config.output / "checkpoints").name == "step-0000002.pt"
    assert list((config.output / "checkpoints").glob(".addsr-*.part"))
    Trainer(config).run("latest")
    assert same(newest(config), straight)


def test_resuming_a_finished_run_only_exports_it_again(run, finished, straight, same, tmp_path):
    config = run(output=shutil.copytree(finished, tmp_path / "again"))
    exported = config.output / "export" / "nano.safetensors"
    before = load_file(exported)
    exported.unlink()
    assert same(load_file(Trainer(config).run("latest") / exported.name), before)
    assert same(newest(config), straight)


def test_writing_samples_does_not_change_the_run(run, straight, same):
    config = run(sample_every=2, save_every=3)
    Trainer(config).run()
    assert same(newest(config), straight)
