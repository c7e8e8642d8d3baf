"""What a run will cost; the counts behind it are checked against the published networks in test_seesr_learner."""

from dataclasses import replace

import pytest
from accelerate.state import AcceleratorState

from addsr_cli.errors import UsageError
from addsr_cli.train import budget as module
from addsr_cli.train.budget import GIB, budget
from addsr_cli.train.recipe import SMALL_CARD, preset, usual
from addsr_cli.train.trainer import Trainer


@pytest.fixture
def full(configured):
    """Makes configurations of the full model's run, as the command line would."""

    def make(name="paper", **changes):
        AcceleratorState._reset_state(True)  # which else keeps the first precision
        run = usual("addsr", "student", name)
        return configured(arch="addsr", stage="student", **{"recipe": preset(name, "addsr")} | run | changes)

    return make


def test_the_full_model_counts_what_is_trained(full):
    plan = budget(full(precision="bf16"))
    assert plan.trained == 386_739_280
    assert plan.parameters == module.PAIR + module.CODEC + module.TEXT + module.TAGGER
    assert "386,739,280 of them trained" in plan.text()


def test_the_memory_of_the_parts_is_that_of_their_numbers(full):
    memory = budget(full(precision="bf16")).memory
    trained = 386_739_280
    assert (memory["gradients"], memory["optimiser"], memory["average"]) == (4 * trained, 8 * trained, 4 * trained)
    assert memory["trained weights"] == 6 * trained
    assert budget(full(precision="fp32")).memory["trained weights"] == 4 * trained


def test_a_small_card_is_asked_for_less(full):
    paper, lowmem = (budget(full(name, precision="bf16")) for name in ("paper", "lowmem"))
    assert sum(lowmem.memory.values()) < 16 * GIB < sum(paper.memory.values())
    assert lowmem.memory["average"] == 0
    assert lowmem.memory["activations"] < paper.memory["activations"] / 2
    assert set(SMALL_CARD) == {"batch_size", "checkpointing", "ema_on_cpu"}


def test_low_ranks_need_hardly_any_moments(full):
    plan, whole = budget(full(lora=8)), budget(full())
    assert plan.trained == module.ENCODER + 8 * module.PER_RANK
    assert plan.memory["optimiser"] < whole.memory["optimiser"] / 50


@pytest.mark.parametrize(
    ("recipe", "other"),
    [({"teacher_samples": 4}, {"teacher_samples": 1}), ({"space": "pixel"}, {"space": "latent"})],
)
def test_what_is_left_out_is_not_counted(full, recipe, other):
    more, less = (budget(full(recipe=replace(preset("paper", "addsr"), **each))) for each in (recipe, other))
    assert more.tflop > less.tflop


def test_work_grows_with_the_batch_and_the_area(full):
    one = budget(full(batch_size=1)).tflop
    assert budget(full(batch_size=3)).tflop == pytest.approx(3 * one)
    assert budget(full(batch_size=1, crop=256)).tflop == pytest.approx(one / 4)


def test_hours_are_those_of_all_steps_on_this_machine(full, monkeypatch):
    monkeypatch.setattr(module.hardware, "multiply_rate", lambda: 1e12)
    plan = budget(full(batch_size=1, steps=1000))
    assert plan.hours == pytest.approx(plan.tflop * 1000 / module.REACHED / 3600)
    assert plan.record()["memory_total"] == sum(plan.memory.values())


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_small_network_is_counted_itself(configured, stage):
    config = configured(stage=stage, recipe=preset("paper", "tiny"))
    plan = budget(config)
    assert plan.trained == sum(p.numel() for p in Trainer(config).learner.parameters.values())
    assert plan.tflop > 0


def test_a_machine_without_a_gpu_is_told_before_a_plan_of_the_full_model(full, monkeypatch):
    monkeypatch.setattr("addsr_cli.hardware.best_device", lambda: "cpu")
    with pytest.raises(UsageError, match="CUDA GPU") as caught:
        budget(full(device="auto"))
    assert "--device cpu" in caught.value.hint
