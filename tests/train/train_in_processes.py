"""Train in several processes: a program that imports everything once, then forks under torchrun.

``python train_in_processes.py FOLDER`` reads FOLDER/runs.json, a list of runs in order:
``{"name", "processes", "config", "resume", "kill", "restarts"}``. The process of rank ``r`` leaves
its last state in FOLDER/NAME.r.pt, and the size of the optimizer states that it keeps in
FOLDER/NAME.r.bytes. ``kill`` [rank, step] kills a process, the first time.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # which optimizers import: once, not in each process
import torch.distributed.optim
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.trainer import Trainer


def optimizer_bytes(trainer):
    """Bytes of the moments of the student that this process keeps, sharded or whole."""
    states = []
    for optimizer in trainer.objective.optimizer_step.optimizers:
        states += [*optimizer.state.values()]
        states += [*optimizer.optim.state.values()] if hasattr(optimizer, "optim") else []
    tensors = [value for state in states for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.nbytes for tensor in tensors)


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
    end_training = trainer.accelerator.end_training

    def keep_state():
        (folder / f"{name}.{rank}.bytes").write_text(str(optimizer_bytes(trainer)))
        torch.save(trainer.state_dict(), folder / f"{name}.{rank}.pt")
        end_training()  # without its process group a sharded state cannot be gathered

    trainer.accelerator.end_training = keep_state
    trainer.run(run.get("resume"))


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
