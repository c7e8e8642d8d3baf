"""The full model as a student, on small random weights."""

import re
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from bundles import write_bundle
from safetensors.torch import load_file

from addsr_cli.models.bundle import Bundle
from addsr_cli.models.seesr import training, training_cost
from addsr_cli.models.seesr.dual_cross_attention import (
    build_controlnet,
    build_unet,
    inner_name,
    outer_name,
)
from addsr_cli.models.seesr.loading import WEIGHTS, load_bundle
from addsr_cli.models.seesr.random_weights import Sizes
from addsr_cli.models.seesr.training import ADAPTED, NETWORKS, TRAINED, TrainableSeeSR, merged
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.objectives.distillation import Distillation
from addsr_cli.train.recipe import PAPER
from addsr_cli.weights import loader

OFFICIAL_NAMES = re.compile(
    r"(unet|controlnet)\..*\bimage_attentions\..*|controlnet\.controlnet_cond_embedding\..*"
)
NO_DROPOUT = torch.zeros(1, dtype=torch.bool)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("models") / "golden")


@pytest.fixture(scope="module")
def teachers(bundle):
    """Loaded networks by type: loading takes longer than most tests, and teachers never change."""
    loaded = {}

    def load(folder, *, dtype):
        if dtype not in loaded:
            loaded[dtype] = load_bundle(folder, dtype=dtype)
        return loaded[dtype]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_bundle", load)
        yield loaded


@pytest.fixture(scope="module")
def trainable(bundle, teachers):
    """A model shared by all tests that do not change it."""
    return TrainableSeeSR(bundle, dtype=torch.float32)


def pictures():
    hr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(hr=hr, canvas=hr.flip(1).contiguous(), tags=("a fox",), positions=(0,))


@pytest.fixture
def make_objective(configured):
    """Makes the smallest distillation of a trainable model, without a discriminator."""

    def make(trainable, precision="no", **changes):
        quick = {
            "adversarial": 0.0,
            "teacher_samples": 1,
            "timesteps": "uniform",
            "space": "latent",
            "anchor_l1": 1.0,
        }
        config = configured(
            arch="addsr", stage="student", recipe=replace(PAPER, **quick | changes), lr=1e-3
        )
        AcceleratorState._reset_state(True)
        return Distillation(
            config, trainable, None, Accelerator(cpu=True, mixed_precision=precision)
        )

    return make


def perturbed(trainable):
    """The model with trained weights that differ a little from the teacher's."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in trainable.parameters.values():
            p.add_(0.01 * torch.randn_like(p))
    return trainable


def stored(folder, part):
    return load_file(folder / part / WEIGHTS)


def state(seesr):
    return {
        f"{part}.{name}": p.clone()
        for part in NETWORKS
        for name, p in getattr(seesr, part).state_dict().items()
    }


def test_the_trained_weights_are_those_of_the_official_trainer(trainable):
    every = {
        f"{part}.{outer_name(name)}"
        for part in NETWORKS
        for name in trainable.networks[part].state_dict()
    }
    assert trainable.parameters.keys() == {name for name in every if OFFICIAL_NAMES.fullmatch(name)}
    assert all(p.requires_grad and p.dtype == torch.float32 for p in trainable.parameters.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_student_owns_the_trained_weights_and_shares_the_rest(bundle, teachers, dtype):
    trainable = TrainableSeeSR(bundle, dtype=dtype)
    for part, net in trainable.networks.items():
        teacher = dict(getattr(trainable.teacher, part).named_parameters())
        for name, p in net.named_parameters():
            own = f"{part}.{outer_name(name)}" in trainable.parameters
            assert (p.data_ptr() == teacher[name].data_ptr()) is not own
            assert (p.dtype, teacher[name].dtype) == (torch.float32 if own else dtype, dtype)
            assert p.requires_grad is own
            assert torch.equal(p, teacher[name].to(p.dtype))
    assert not any(
        p.requires_grad for part in NETWORKS for p in getattr(trainable.teacher, part).parameters()
    )
    assert trainable.student.vae is trainable.teacher.vae


@pytest.fixture(scope="module")
def published():
    """UNet and ControlNet at the published size, without data (on the meta device)."""
    config = Sizes().unet
    with torch.device("meta"):
        return {"unet": build_unet(config, 512), "controlnet": build_controlnet(config, 512)}


def test_the_counts_of_the_plan_are_those_of_the_published_networks(published):
    named = [(name, p.numel()) for net in published.values() for name, p in net.named_parameters()]
    trained = [(name, count) for name, count in named if TRAINED.fullmatch(name)]
    encoder = sum(count for name, count in trained if name.startswith("controlnet_cond_embedding."))
    assert sum(count for _, count in trained) == training_cost.TRAINED == 386_739_280
    assert sum(count for _, count in named) == training_cost.UNET_AND_CONTROLNET
    assert encoder == training_cost.CONDITION_ENCODER


def test_a_low_rank_costs_what_the_plan_says(published):
    adapted = [
        sum(p.shape[:2])
        for net in published.values()
        for name, p in net.named_parameters()
        if re.fullmatch(ADAPTED, name.removesuffix(".weight")) and name.endswith(".weight")
    ]
    assert sum(adapted) == training_cost.PER_RANK


def test_gradients_reach_the_trained_weights_of_both_networks_and_nothing_else(
    bundle, teachers, make_objective
):
    trainable = TrainableSeeSR(bundle, dtype=torch.float32)
    objective = make_objective(trainable)
    frozen = state(trainable.teacher)
    seen = {}
    step = objective.optimizer_step.step
    objective.optimizer_step.step = lambda lr: (
        seen.update({n: p.grad for n, p in trainable.parameters.items()}),
        step(lr),
    )[1]
    objective.step([pictures()], 1e-3)
    assert all(gradient is not None for gradient in seen.values())
    for part in NETWORKS:
        assert any(
            gradient.abs().max() > 0 for name, gradient in seen.items() if name.startswith(part)
        )
    full = trainable.full
    for net in (full.unet, full.controlnet, full.vae, full.tagger, full.text.model):
        assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, frozen[name]) for name, value in state(trainable.teacher).items())
    for name, p in state(trainable.student).items():
        part, _, key = name.partition(".")
        assert torch.equal(p, frozen[name]) is not (
            f"{part}.{outer_name(key)}" in trainable.parameters
        )


def test_gradient_checkpointing_gives_the_same_gradients(bundle, teachers, make_objective):
    gradients = []
    for checkpointing in (False, True):
        trainable = TrainableSeeSR(bundle, dtype=torch.float32, checkpointing=checkpointing)
        nets = [*trainable.networks.values(), *([trainable.full.vae] if checkpointing else [])]
        blocks = [
            module
            for net in nets
            for module in net.modules()
            if hasattr(module, "gradient_checkpointing")
        ]
        assert all(net.training for net in nets)
        assert all(block.gradient_checkpointing is checkpointing for block in blocks)
        assert len(blocks) > 5
        objective = make_objective(trainable)
        student = objective.run_student(
            pictures(), objective.draw(pictures(), [torch.Generator().manual_seed(0)])
        )
        objective.total(objective.losses(student, None), student.draws.index).backward()
        gradients.append({name: p.grad for name, p in trainable.parameters.items()})
    teachers.clear()  # the decoder computes again from now on
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("lora", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_half_precision_trains_float32_weights(bundle, teachers, make_objective, lora):
    trainable = TrainableSeeSR(bundle, dtype=torch.bfloat16, lora=lora)
    objective = make_objective(trainable, "bf16", space="pixel")
    before = {name: p.detach().clone() for name, p in trainable.parameters.items()}
    metrics = objective.step([pictures()], 1e-3)
    assert all(torch.isfinite(torch.tensor(list(metrics.values.values()))))
    assert all(p.dtype == torch.float32 and p.grad is None for p in trainable.parameters.values())
    for part in NETWORKS:
        assert any(
            not torch.equal(p, before[n])
            for n, p in trainable.parameters.items()
            if n.startswith(part)
        )


def test_the_export_is_the_student_over_the_base_and_runs(bundle, teachers, tmp_path, addsr_photo):
    from addsr_cli.cli.app import run

    trainable = perturbed(TrainableSeeSR(bundle, dtype=torch.bfloat16))
    trainable.write(tmp_path / "run" / "export", {"steps": "3"})
    trainable.write(tmp_path / "run" / "export", {"steps": "4"})  # over the one before
    export = tmp_path / "run" / "export"
    delta = load_file(export / "delta.safetensors")
    assert delta.keys() == trainable.parameters.keys()
    loaded = loader.load(loader.locate(str(tmp_path / "run")), device="cpu", dtype="fp32")
    for part in NETWORKS:
        full, base, in_memory = (
            stored(export, part),
            stored(bundle, part),
            getattr(loaded, part).state_dict(),
        )
        assert full.keys() == {name for name in base if not name.startswith("align.")}
        ours = {
            name.removeprefix(f"{part}."): p.detach().half()
            for name, p in trainable.parameters.items()
        }
        for name, value in full.items():
            trained = delta.get(f"{part}.{name}")
            assert torch.equal(value, base[name].half() if trained is None else trained)
            assert trained is None or torch.equal(value, ours[name.removeprefix(f"{part}.")])
            if trained is not None and value.ndim > 1:
                assert not torch.equal(value, base[name].half())  # not the teacher
            assert torch.equal(in_memory[inner_name(name)], value.float())
    arguments = [
        "upscale",
        addsr_photo,
        "-o",
        tmp_path / "out.png",
        "--model",
        tmp_path / "run",
        "--steps",
        1,
    ]
    assert (
        run([str(argument) for argument in (*arguments, "--device", "cpu", "--precision", "fp32")])
        == 0
    )
    assert not list((tmp_path / "run").glob(".*"))


def test_the_written_bundle_says_how_it_is_sampled(bundle, teachers, tmp_path):
    base = Bundle.read(bundle)
    replace(base, scheduler="leading", default_steps=50, guidance=5.5).write(bundle)
    try:
        TrainableSeeSR(bundle, dtype=torch.float32).write(tmp_path / "export", {})
    finally:
        base.write(bundle)
    written = Bundle.read(tmp_path / "export")
    assert (written.scheduler, written.default_steps, written.guidance) == ("consistency", 4, 1.0)
    assert dict(written.files).keys() == dict(base.files).keys()


@pytest.fixture
def addsr_photo(tmp_path):
    import cv2

    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), (torch.rand(16, 16, 3) * 255).byte().numpy())
    return path


def test_low_ranks_are_trained_alone_and_merged_into_the_export(bundle, teachers, tmp_path):
    trainable = TrainableSeeSR(bundle, dtype=torch.float32, lora=3)
    names = trainable.parameters.keys()
    encoder = {name for name in names if "lora_" not in name}
    assert all(name.startswith("controlnet.controlnet_cond_embedding.") for name in encoder)
    assert encoder
    assert all("image_attentions" in name for name in names - encoder)
    before = state(trainable.teacher)
    perturbed(trainable).write(tmp_path / "export", {})
    assert all(torch.equal(value, before[name]) for name, value in state(trainable.teacher).items())
    corrected = 0
    for part, net in trainable.networks.items():
        full, base = stored(tmp_path / "export", part), stored(bundle, part)
        adapters = {name: p for name, p in net.named_parameters() if "lora_" in name}
        for name, value in full.items():
            stem = inner_name(name).removesuffix(".weight")
            low, high = (adapters.get(f"{stem}.lora_{side}.default.weight") for side in "AB")
            if low is not None:
                corrected += 1
                assert torch.allclose(value.float(), base[name].float() + high @ low, atol=2e-3)
                assert not torch.equal(value, base[name].half())
            elif f"{part}.{name}" not in encoder:
                assert torch.equal(value, base[name].half())
    assert corrected == sum("lora_A" in name for name in names) > 10


def test_a_fresh_low_rank_changes_nothing(bundle, teachers):
    trainable = TrainableSeeSR(bundle, dtype=torch.float32, lora=3)
    for part, net in trainable.networks.items():
        base = stored(bundle, part)
        assert all(
            torch.equal(value, base[name].to(value.dtype))
            for name, value in merged(net, base).items()
        )


def test_image_tokens_are_those_of_the_tagger(trainable):
    hr = pictures().hr
    assert torch.allclose(trainable.encode_image(hr), trainable.full.tagger.encode_image(hr))


def test_unknown_tags_are_predicted_from_the_picture(trainable):
    hr = pictures().hr
    _, tags = trainable.full.tagger.read(hr)
    assert tags[0]
    expected = trainable.full.text.encode(f"{tags[0]},")
    assert torch.equal(trainable.encode_text(hr, ("",), NO_DROPOUT), expected)


def test_known_tags_are_not_predicted_again(trainable, monkeypatch):
    monkeypatch.setattr(trainable.full.tagger, "read", lambda *_: pytest.fail("read"))
    text = trainable.encode_text(pictures().hr, ("a fox, snow, ",), NO_DROPOUT)
    assert torch.equal(text, trainable.full.text.encode("a fox, snow,"))


@pytest.mark.parametrize("tags", ["a fox", "", "none"])
def test_dropped_text_is_empty(trainable, tags):
    dropped = tags != "none"  # --tags none gives every photo this text, which is not dropped
    text = trainable.encode_text(pictures().hr, (tags,), torch.tensor([dropped]))
    assert torch.equal(text, trainable.full.text.encode(""))


def test_every_sample_has_its_own_text(trainable):
    pair = torch.cat([pictures().hr, pictures().canvas])
    text = trainable.encode_text(pair, ("a fox", "a fox"), torch.tensor([False, True]))
    assert len(text) == len(trainable.encode_image(pair)) == 2
    assert torch.equal(text[1:], trainable.full.text.encode(""))
    assert not torch.equal(text[0], text[1])
