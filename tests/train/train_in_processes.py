"""Train in several processes: a program that imports everything once, then forks under torchrun.

``python train_in_processes.py FOLDER`` reads FOLDER/runs.json, a list of runs in order:
``{"name", "processes", "config", "resume", "kill", "restarts"}``. The process of rank ``r`` leaves
its last state in FOLDER/NAME.r.pt. ``kill`` [rank, step] kills a process, the first time.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # which optimizers import: once, not in each process
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.trainer import Trainer


def train(folder, run):
    torch.set_num_threads(1)
    rank, name = int(os.environ["RANK"]), run["name"]
    trainer = Trainer(TrainConfig.from_json(json.dumps(run["config"])))
    train_step = trainer.train_step

    def killed_at(batches):
        first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first_try and run.get("kill") == [rank, trainer.step]:
            (folder / f"{name}.killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        train_step(batches)

    trainer.train_step = killed_at
    trainer.run(run.get("resume"))
    torch.save(trainer.state_dict(), folder / f"{name}.{rank}.pt")


if __name__ == "__main__":
    base = Path(sys.argv[1])
    for each in json.loads((base / "runs.json").read_text()):
        launch = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=each["processes"],
            run_id=each["name"],
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=each.get("restarts", 0),
            monitor_interval=0.05,
            start_method="fork",
        )
        elastic_launch(launch, train)(base, each)
