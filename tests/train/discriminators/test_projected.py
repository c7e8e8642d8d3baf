"""The paper's discriminator: official numbers, full-width sizes, and what is trained."""

import pytest
import torch
from discriminator_samples import (
    CASE,
    full_width,
    golden_backbone,
    golden_weights,
    official,
    our_name,
    seeded,
)
from safetensors.torch import load_file, save_file

from addsr_cli.errors import ModelUnavailable
from addsr_cli.train.discriminators.backbones import backbone_from, load_backbone
from addsr_cli.train.discriminators.projected import Head, ProjectedDiscriminator
from addsr_cli.train.losses.adversarial import discriminator_loss, generator_loss, r1


@pytest.fixture(scope="module")
def golden():
    return load_file(CASE / "tensors.safetensors")


@pytest.fixture(scope="module")
def half(golden):
    """The golden picture, which lies in [-1, 1], in [0, 1]."""
    return (golden["in.x"] + 1) / 2


def close(a, b, tolerance=1e-4):
    return (a - b).abs().max() <= tolerance * max(1, b.abs().max())


def test_features_and_logits_are_the_official_ones(golden, half):
    discriminator = official().eval()
    with torch.no_grad():
        features = discriminator.features(half)
        logits = discriminator.logits(features, golden["in.c"])
        together = discriminator(half, golden["in.c"])
    assert all(close(features[k][:, :, ::2], golden[f"out.eval.features.{k}"]) for k in (0, 3, 4))
    assert all(close(logits[k], golden[f"out.eval.logits.{k}"]) for k in range(5))
    assert torch.equal(together, torch.cat(logits, dim=1))


def test_training_forward_loss_gradients_and_power_iteration_are_the_official_ones(golden):
    discriminator = official().train()
    x = golden["in.x"].clone().requires_grad_()
    logits = discriminator((x + 1) / 2, golden["in.c"])
    loss = generator_loss(logits.chunk(5, dim=1)).mean()
    loss.backward()
    assert close(logits, golden["out.train.logits_cat"])
    assert abs(loss.item() - golden["out.train.gan_loss"].item()) < 1e-6
    after = dict(discriminator.named_parameters()) | dict(discriminator.named_buffers())
    gradient = "heads.0.main.1.fn.0.weight_orig"
    for ours, theirs in (
        (x.grad, golden["out.train.grad_x"]),
        (after[our_name(gradient)].grad, golden[f"out.train.grad.{gradient}"]),
    ):
        assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max()
    for name in ("heads.0.main.0.0.weight_u", "heads.4.cls.weight_u"):
        assert close(after[our_name(name)], golden[f"out.train.after.{name}"], 1e-6)


def test_the_canvas_gives_the_official_condition_and_another_with_normalised_colours(golden):
    image, vector = golden["in.dinov2.image"], golden["out.dinov2.cls"]
    assert close(official(raw=True).condition(image), vector)
    assert not close(official(raw=False).condition(image), vector, 1e-2)


def test_heads_have_the_published_number_of_parameters():
    heads = [Head(384, 384) for _ in range(5)]
    assert sum(parameter.numel() for head in heads for parameter in head.parameters()) == 7_630_720


def test_a_picture_of_512_gives_five_times_196_logits_and_trains_the_heads_alone():
    discriminator = full_width(layers=1).train()
    assert not discriminator.backbone.training
    assert discriminator.heads.training
    condition = discriminator.condition(torch.rand(1, 3, 512, 512))
    assert condition.shape == (1, 384)
    logits = discriminator(torch.rand(1, 3, 512, 512), condition, [seeded()])
    assert logits.shape == (1, 5 * 196)
    discriminator_loss([logits], [-logits]).mean().backward()
    trained = {
        name for name, parameter in discriminator.named_parameters() if parameter.requires_grad
    }
    assert {
        name for name, parameter in discriminator.named_parameters() if parameter.grad is not None
    } == trained
    assert {name.split(".")[0] for name in trained} == {"heads"}


@pytest.mark.parametrize(("side", "odds"), [(224, 0.0), (320, 0.5)])
def test_only_pictures_above_224_are_cropped_and_half_of_those(side, odds, monkeypatch):
    discriminator, rows = (
        official(),
        torch.linspace(0, 1, side).view(1, 1, side, 1).expand(1, 3, side, side),
    )
    monkeypatch.setattr("addsr_cli.train.discriminators.projected.augment", lambda image, _: image)
    spans = []
    for seed in range(60):
        student = discriminator._augmented(rows, [seeded(seed)])
        assert student.shape == (1, 3, 224, 224)
        spans.append((student.max() - student.min()).item())
    cropped = sum(span < 0.8 for span in spans) / len(spans)
    assert abs(cropped - odds) <= 0.2 * bool(odds)


def test_a_seed_repeats_the_augmentation_and_without_one_there_is_none(half):
    discriminator = official()
    first, again, other = (
        discriminator.features(half, [seeded(seed)] * len(half))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(discriminator.features(half)[0], discriminator.features(half)[0])


def test_grey_fills_the_shifted_border(half):
    black = official()._augmented(torch.zeros_like(half), [seeded()] * len(half))
    assert black.amin() == 0
    assert black.amax() == 0.5


def test_a_state_dict_has_only_the_heads_and_restores_them_exactly(half, golden, same):
    discriminator = official().train()
    discriminator(half, golden["in.c"])
    state = {key: value.clone() for key, value in discriminator.state_dict().items()}
    assert {key.split(".")[0] for key in state} == {"heads"}
    assert sum(key.endswith("weight_u") for key in state) == 15
    other = official()
    assert not same(dict(other.state_dict()), state)
    other.load_state_dict(state)
    assert same(dict(other.state_dict()), state)
    assert torch.equal(
        other.eval()(half, golden["in.c"]), discriminator.eval()(half, golden["in.c"])
    )


def test_a_state_dict_without_a_head_is_refused():
    state = {key: value for key, value in official().state_dict().items() if "heads.3" not in key}
    with pytest.raises(RuntimeError, match=r"heads\.3\.first"):
        official().load_state_dict(state)


def test_r1_reaches_the_heads_only(half, golden):
    discriminator = official().train()
    image = half.clone().requires_grad_()
    penalty = r1(discriminator, discriminator.features(image), golden["in.c"])
    assert penalty.shape == (2,)
    penalty.mean().backward()
    assert image.grad is None
    assert discriminator.heads[2].wide[0].weight_orig.grad.abs().sum() > 0


def test_backbones_load_from_folders_of_the_hub(tmp_path, half):
    backbone, condition_encoder = tmp_path / "backbone", tmp_path / "condition_encoder"
    backbone_from(golden_backbone(), heads=2).save_pretrained(backbone)
    backbone_from(golden_weights("dinov2"), heads=3).save_pretrained(condition_encoder)
    discriminator = ProjectedDiscriminator.load(backbone, condition_encoder, raw=True)
    assert torch.equal(discriminator.features(half)[3], official().features(half)[3])
    assert torch.equal(discriminator.condition(half), official().condition(half))


def test_a_backbone_in_the_authors_naming_needs_no_configuration(tmp_path):
    save_file(golden_backbone(), tmp_path / "model.safetensors")
    config = load_backbone(tmp_path).config
    assert (config.hidden_size, config.num_hidden_layers, config.image_size, config.patch_size) == (
        32,
        12,
        224,
        16,
    )


@pytest.mark.parametrize(
    "spoil", ["blocks.3.attn.qkv.weight", "pos_embed", "patch_embed.proj.weight"]
)
def test_incomplete_weights_are_refused(spoil, tmp_path):
    save_file(
        {k: v for k, v in golden_backbone().items() if k != spoil}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ModelUnavailable):
        load_backbone(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors"):
        load_backbone(tmp_path)
