"""Several processes train one student and one discriminator; their number changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import addsr_cli

ROOT = str(Path(addsr_cli.__file__).parent.parent)
PROGRAM = Path(__file__).with_name("train_in_processes.py")
OWN_ENVIRONMENT = {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def states(configured_once, tmp_path_factory):
    """Last states of all runs by name and rank; each run has steps of eight samples, but for two.

    All are of one program, because starting a process needs longer than training in it.
    """
    folder = tmp_path_factory.mktemp("ranks")

    def run(name, processes, resume=None, kill=None, **changes):
        config = configured_once(
            **{"stage": "student", "steps": 3, "output": folder / name} | changes
        )
        return {
            "name": name,
            "processes": processes,
            "config": json.loads(config.to_json()),
            "resume": resume and str(resume),
            "kill": kill,
            "restarts": 1 if kill else 0,
        }

    saved = folder / "four" / "checkpoints" / "step-0000001.pt"
    runs = [
        run("one", 1, batch_size=8),
        run("four", 4, batch_size=1, accumulate=2, save_every=1, keep=3),
        run("three", 3, batch_size=2, total_batch=8),
        run("resumed by two", 2, resume=saved, batch_size=4),
        run("resumed by three", 3, resume=saved, batch_size=4),
        run("two", 2),
        run("killed", 2, resume="auto", kill=[1, 2], save_every=1),
        run("sharded", 4, batch_size=1, accumulate=2, save_every=1, keep=3, shard_optimizer=True),
        run("sharded, resumed by two", 2, resume=saved, batch_size=4, shard_optimizer=True),
        run("muon", 2, optimizer="muon"),
        run("sharded muon", 2, optimizer="muon", shard_optimizer=True),
    ]
    (folder / "runs.json").write_text(json.dumps(runs))
    done = subprocess.run(
        [sys.executable, PROGRAM, folder],
        env=os.environ | OWN_ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded = {
        each["name"]: [
            torch.load(folder / f"{each['name']}.{rank}.pt", weights_only=True)
            for rank in range(each["processes"])
        ]
        for each in runs
    }
    loaded["folder"] = folder
    loaded["optimizer bytes"] = {
        each["name"]: [
            int((folder / f"{each['name']}.{rank}.bytes").read_text())
            for rank in range(each["processes"])
        ]
        for each in runs
    }
    return loaded


def tensors(value, path=""):
    """All tensors of a state by their place."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    items = {}
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    return {
        key: tensor
        for name, each in items
        for key, tensor in tensors(each, f"{path}/{name}").items()
    }


@pytest.mark.parametrize("name", ["four", "three", "resumed by two", "resumed by three"])
def test_processes_that_share_a_batch_equal_one_that_has_it_alone(states, name):
    alone = tensors(states["one"][0])
    together = tensors(states[name][0])
    assert alone.keys() == together.keys()
    errors = {key: (tensor - together[key]).abs().max().item() for key, tensor in alone.items()}
    assert max(errors.values()) < 1e-5, max(errors, key=errors.get)
    assert (states[name][0]["position"], states[name][0]["samples"]) == (24, 8)


@pytest.mark.parametrize("name", ["four", "three", "two"])
def test_all_processes_end_with_the_same_state(states, same, name):
    first, *others = states[name]
    assert all(same(first, other) for other in others)


@pytest.mark.parametrize(
    ("name", "whole"),
    [("sharded", "four"), ("sharded, resumed by two", "resumed by two"), ("sharded muon", "muon")],
)
def test_a_sharded_optimizer_trains_and_saves_what_the_whole_one_does(states, same, name, whole):
    assert same(states[name][0], states[whole][0])
    weights, *others = (state["weights"] for state in states[name])
    assert all(same(weights, other) for other in others)


@pytest.mark.parametrize(
    ("name", "whole"),
    [("sharded", "four"), ("sharded, resumed by two", "resumed by two"), ("sharded muon", "muon")],
)
def test_a_sharded_optimizer_keeps_a_share_of_the_state_also_after_resuming(states, name, whole):
    shares = states["optimizer bytes"][name]
    (all_bytes,) = {*states["optimizer bytes"][whole]}
    assert sum(shares) == all_bytes
    assert max(shares) < 1.1 * all_bytes / len(shares)


def test_a_run_whose_process_was_killed_restarts_and_ends_as_if_it_had_not(states, same):
    folder = states["folder"]
    assert (folder / "killed.killed").exists()
    assert same(states["killed"], states["two"])
    logs = [(folder / name / "log.jsonl").read_text().splitlines() for name in ("killed", "two")]
    steps, expected = ([json.loads(line) for line in lines] for lines in logs)
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert [line["values"] for line in steps] == [line["values"] for line in expected]


def test_the_log_has_the_mean_over_all_processes(states):
    first = [
        json.loads((states["folder"] / name / "log.jsonl").read_text().splitlines()[0])
        for name in ("one", "four", "three")
    ]
    assert first[0]["values"] == pytest.approx(first[1]["values"], rel=1e-4)
    assert first[0]["values"] == pytest.approx(first[2]["values"], rel=1e-4)
    assert first[0]["by_timestep"] == pytest.approx(first[1]["by_timestep"], rel=1e-4)


def test_torchrun_trains_with_scales_and_tags_of_all_processes_and_prints_once(
    photos, tmp_path, perceptual_weights
):
    arguments = "-m torch.distributed.run --nproc-per-node 2 -m addsr_cli distill --arch tiny-nano"
    arguments += " --steps 1 --batch-size 1 --device cpu --precision fp32 --workers 0 --precompute"
    arguments += f" --quiet --discriminator vgg --data {photos} --output two"
    done = subprocess.run(
        [sys.executable, *arguments.split()],
        env=os.environ | OWN_ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "two/export\n"
    assert Path("two/log.jsonl").read_text().count("\n") == 1
    assert len(json.loads(Path("two/tags.json").read_text())) == 3
