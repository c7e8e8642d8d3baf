"""What a run costs; test_trainable_seesr checks the counts against the published networks."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli.errors import UsageError
from addsr_cli.models.seesr import training_cost
from addsr_cli.models.single_pass.esrgan import Esrgan
from addsr_cli.models.single_pass.teacher import save_esrgan
from addsr_cli.perceptual import LPIPS
from addsr_cli.train import budget as module
from addsr_cli.train.budget import GIB, budget
from addsr_cli.train.data.dataset import PairDataset
from addsr_cli.train.data.loader import loader
from addsr_cli.train.discriminators.base import ConvDiscriminator
from addsr_cli.train.discriminators.vgg import VggDiscriminator, VggFeatures
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.draws import draw_student
from addsr_cli.train.processes import StepShare
from addsr_cli.train.recipe import preset, run_defaults
from addsr_cli.train.trainer import Trainer

WHOLE = StepShare(samples=2, batch_size=2)


@pytest.fixture
def full(configured):
    """Makes configurations of the full model's run, as the command line would."""

    def make(name="paper", **changes):
        AcceleratorState._reset_state(True)  # otherwise it keeps the first precision
        run = run_defaults("addsr", "student", name)
        return configured(
            arch="addsr", stage="student", **{"recipe": preset(name, "addsr")} | run | changes
        )

    return make


def test_the_plan_counts_the_trained_weights_of_the_full_model(full):
    plan = budget(full(precision="bf16"))
    assert plan.trained == 386_739_280
    assert plan.parameters == 2_251_950_512
    assert "386,739,280 of them trained" in plan.text()


def test_memory_follows_from_the_numbers_of_weights(full):
    memory = budget(full(precision="bf16")).memory
    trained = 386_739_280
    assert (memory["gradients"], memory["optimiser"], memory["average"]) == (
        4 * trained,
        8 * trained,
        4 * trained,
    )
    assert memory["trained weights"] == 6 * trained
    assert budget(full(precision="fp32")).memory["trained weights"] == 4 * trained


def test_the_recipe_for_small_gpus_needs_less_memory(full):
    paper, lowmem = (budget(full(name, precision="bf16")) for name in ("paper", "lowmem"))
    assert sum(lowmem.memory.values()) < 16 * GIB < sum(paper.memory.values())
    assert lowmem.memory["average"] == 0
    assert lowmem.memory["activations"] < paper.memory["activations"] / 2


def test_low_ranks_need_hardly_any_moments(full):
    plan, whole = budget(full(lora=8)), budget(full())
    assert plan.trained == training_cost.CONDITION_ENCODER + 8 * training_cost.PER_RANK
    assert plan.memory["optimiser"] < whole.memory["optimiser"] / 50


@pytest.mark.parametrize(
    ("recipe", "other"),
    [({"teacher_samples": 4}, {"teacher_samples": 1}), ({"space": "pixel"}, {"space": "latent"})],
)
def test_work_that_a_recipe_skips_is_not_counted(full, recipe, other):
    more, less = (
        budget(full(recipe=replace(preset("paper", "addsr"), **each))) for each in (recipe, other)
    )
    assert more.tflop > less.tflop


def test_work_grows_with_the_batch_and_the_area(full):
    one = budget(full(batch_size=1)).tflop
    assert budget(full(batch_size=3)).tflop == pytest.approx(3 * one)
    assert budget(full(batch_size=1, crop=256)).tflop == pytest.approx(one / 4)


def test_hours_are_those_of_all_steps_on_this_machine(full, monkeypatch):
    monkeypatch.setattr(module.hardware, "matmul_flops", lambda: 1e12)
    plan = budget(full(batch_size=1, steps=1000))
    assert plan.hours == pytest.approx(plan.tflop * 1000 / module.REACHED / 3600)
    assert plan.record()["memory_total"] == sum(plan.memory.values())


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_small_network_is_counted_itself(configured, stage):
    config = configured(stage=stage)
    plan = budget(config)
    trainer = Trainer(config)
    assert plan.trained == sum(p.numel() for p in trainer.model.parameters.values())
    assert plan.tflop > 0


class Saved:
    """The peak of bytes that autograd saves for backward passes, parameters aside."""

    def __init__(self):
        self.most = 0
        self.sizes = {}
        self.count = Counter()

    def pack(self, tensor):
        key = tensor.untyped_storage().data_ptr()
        if not isinstance(tensor, torch.nn.Parameter):
            self.sizes[key] = tensor.untyped_storage().nbytes()
            self.most = max(self.most, sum(self.sizes.values()))
        return SavedTensor(self, key, tensor)


class SavedTensor:
    """A saved tensor; its bytes are free once the graph drops it."""

    def __init__(self, saved, key, tensor):
        self.saved, self.key, self.tensor = saved, key, tensor
        saved.count[key] += 1

    def __del__(self):
        self.saved.count[self.key] -= 1
        if not self.saved.count[self.key]:
            self.saved.sizes.pop(self.key, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"discriminator": "conv"},
        {"discriminator": "vgg"},
        {"discriminator": "vgg", "anchor_lpips": 0.5},
        {"adversarial": 0.0, "anchor_lpips": 0.5},
        {"adversarial": 0.0},
    ],
    ids=["conv", "vgg", "vgg and lpips", "lpips", "plain"],
)
def test_work_and_activations_of_a_small_network_are_those_of_a_step(
    configured, perceptual_weights, changes
):
    recipe = replace(
        preset("paper", "tiny-nano"), timesteps="uniform", rollout="teacher-forced", **changes
    )
    trainer = Trainer(configured(stage="student", recipe=recipe))
    plan, saved = budget(trainer.config), Saved()
    batch = Batch.of(
        next(iter(loader(PairDataset(trainer.photos, trainer.config), WHOLE, 0, 1))),
        torch.device("cpu"),
    )
    drawn = draw_student(recipe, [torch.Generator().manual_seed(0)] * 2, (48, 16, 16))
    draws = replace(drawn, index=torch.tensor([0, 2]))
    trainer.objective.draw = lambda batch, generators: draws
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(
            saved.pack, lambda saved_tensor: saved_tensor.tensor
        ),
    ):
        trainer.objective.step([batch], 1e-3)
    assert plan.tflop * 1e12 == pytest.approx(counter.get_total_flops(), rel=0.15)
    assert plan.memory["activations"] == pytest.approx(saved.most, rel=0.25)


def test_a_teacher_of_another_kind_and_vgg_are_counted(configured, tmp_path):
    save_esrgan(Esrgan(groups=2, width=16, growth=8), tmp_path / "x4plus.safetensors", {})
    plain = budget(configured(stage="student"))
    taught = configured(stage="student", teacher=str(tmp_path / "x4plus.safetensors"))
    plan = budget(taught)
    size = sum(p.numel() for p in Esrgan(groups=2, width=16, growth=8).parameters())
    assert plan.memory["frozen networks"] == 4 * size
    assert plan.tflop > plain.tflop
    seldom = budget(replace(taught, recipe=replace(taught.recipe, teacher_share=0.25)))
    without = budget(replace(taught, recipe=replace(taught.recipe, distill=0.0)))
    assert plan.tflop - seldom.tflop == pytest.approx(0.75 * (plan.tflop - without.tflop), rel=1e-6)
    with_vgg = budget(replace(taught, recipe=replace(taught.recipe, discriminator="vgg")))
    assert with_vgg.memory["frozen networks"] - plan.memory["frozen networks"] == 4 * 14_714_688
    assert with_vgg.memory["discriminator"] > plan.memory["discriminator"] > 0


def test_the_numbers_of_vgg_and_of_the_discriminators_are_theirs(perceptual_state):
    vgg = VggFeatures(LPIPS.load("vgg", weights=perceptual_state))
    networks = (vgg.lpips.backbone, VggDiscriminator(vgg), ConvDiscriminator())
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [each.parameters for each in (module.VGG, module.VGG_HEADS, module.CONV)]


def test_vgg_is_counted_for_the_full_model_too(full):
    plain = full(precision="bf16")
    more = budget(full(precision="bf16", recipe=replace(plain.recipe, anchor_lpips=0.5)))
    assert more.tflop > budget(plain).tflop
    assert (
        more.memory["frozen networks"] - budget(plain).memory["frozen networks"] == 2 * 14_714_688
    )


def test_planning_the_full_model_without_a_gpu_is_a_usage_error(full, monkeypatch):
    monkeypatch.setattr("addsr_cli.hardware.best_device", lambda: "cpu")
    with pytest.raises(UsageError, match="CUDA GPU") as caught:
        budget(full(device="auto"))
    assert "--device cpu" in caught.value.hint
