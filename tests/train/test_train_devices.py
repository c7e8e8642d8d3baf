"""One step of training on every device and in every precision it has, at the smallest size."""

import pytest
import torch

from addsr_cli.train.data.dataset import PairDataset
from addsr_cli.train.data.loader import loader
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.processes import StepShare
from addsr_cli.train.trainer import Trainer

WHOLE = StepShare(samples=2, batch_size=2)


@pytest.mark.parametrize("stage", ["teacher", "student"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", pytest.param("fp16", marks=pytest.mark.gpu)])
def test_a_step_updates_float32_weights_on_the_device_of_the_run(
    configured, device, stage, precision
):
    if (device, precision) == ("cpu", "fp16"):
        pytest.skip("accelerate has fp16 on GPUs only")
    trainer = Trainer(configured(stage=stage, device=device, precision=precision))
    before = {name: p.detach().clone() for name, p in trainer.model.parameters.items()}
    batch = Batch.of(
        next(iter(loader(PairDataset(trainer.photos, trainer.config), WHOLE, 0, 1))),
        trainer.accelerator.device,
    )
    for _ in range(
        3 if precision == "fp16" else 1
    ):  # the first steps search for a loss scale that does not overflow
        trainer.train_step([batch])
    figures = trainer.recent[-1].values
    assert all(
        torch.isfinite(torch.tensor(value)) for name, value in figures.items() if "norm" not in name
    )
    assert {(p.device.type, p.dtype) for p in trainer.model.parameters.values()} == {
        (device, torch.float32)
    }
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters.values())
    if precision != "fp16":
        assert any(not torch.equal(p, before[name]) for name, p in trainer.model.parameters.items())
