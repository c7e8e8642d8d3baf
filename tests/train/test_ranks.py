"""Two processes train one student and one discriminator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import addsr_cli
from addsr_cli.train import checkpoint

ROOT = str(Path(addsr_cli.__file__).parent.parent)
PROGRAM = """
import os, sys, torch
torch.set_num_threads(1)
from addsr_cli.cli.app import run
from addsr_cli.train.trainer import Trainer
save = Trainer.save
def save_all(self):  # every process writes its state; without this only the main one does
    torch.save(self.state_dict(), f"{os.environ['RANK']}.pt")
    save(self)
Trainer.save = save_all
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("discriminator", ["conv", "vgg"])
def test_two_processes_end_with_the_same_weights_and_print_once(
    photos, tmp_path, same, discriminator, perceptual_weights
):
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = [
        "distill",
        "--data",
        photos,
        "--arch",
        "tiny",
        "--steps",
        2,
        "--batch-size",
        1,
        "--accumulate",
        2,
    ]
    arguments += [
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--workers",
        0,
        "--log-every",
        1,
        "--precompute",
        "--quiet",
    ]
    arguments += ["--discriminator", discriminator]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", 2, tmp_path / "program.py"]
    environment = os.environ | {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, launch + arguments), "--output", "two"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "two/export\n"
    first, second = (torch.load(f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert same(first, second)
    written = checkpoint.load(checkpoint.find("latest", Path("two/checkpoints")))
    assert same(written, first | {"step": 2})
    alone = subprocess.run(
        [sys.executable, tmp_path / "program.py", *map(str, arguments), "--output", "one"],
        env=environment | {"RANK": "2"},
    )
    assert alone.returncode == 0
    other = torch.load("2.pt", weights_only=True)
    assert not same(other["weights"], first["weights"])
    assert not same(
        other["objective"]["discriminator_step"]["weights"],
        first["objective"]["discriminator_step"]["weights"],
    )
    assert Path("two/log.jsonl").read_text().count("\n") == 2
    assert len(json.loads(Path("two/tags.json").read_text())) == 3
