"""The tagger against the official code: tokens, tags, merged weights, views, weight names."""

import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch
from bundles import tagger_config
from safetensors.torch import load_file
from transformers import SwinModel

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.seesr.tagger import (
    RAM_TAGS,
    TaggerConfig,
    build_tagger,
    first_view,
    psr_view,
)
from addsr_cli.models.seesr.tagger_weights import canonical_shapes, load_tagger, merge, ram_name

GOLDEN = Path(__file__).parents[2] / "golden"
CASE = GOLDEN / "ram_dape"
FULL = TaggerConfig(tags=("tag",) * RAM_TAGS, thresholds=(0.65,) * RAM_TAGS)
ADAPTED = "visual_encoder.layers.0.blocks.1.attn.qkv"
HEAD = "tagging_head.encoder.layer.0.crossattention.self"


@pytest.fixture(scope="module")
def notes():
    return json.loads((CASE / "tensors.json").read_text())


@pytest.fixture(scope="module")
def config():
    return tagger_config()


@pytest.fixture(scope="module")
def golden():
    return load_file(CASE / "tensors.safetensors")


@pytest.fixture(scope="module")
def ram():
    return load_file(CASE / "ram_base.safetensors")


@pytest.fixture(scope="module")
def dape():
    return load_file(CASE / "dape_lora.safetensors")


@pytest.fixture(scope="module")
def weights(ram, dape, config):
    return merge(ram, dape, config)


@pytest.fixture(scope="module")
def tagger(config, weights):
    return load_tagger(config, weights)


@pytest.fixture(scope="module")
def image(golden):
    """384x384 already, so that the view changes nothing but the colours."""
    return (
        golden["in.image_small_uint8"].repeat_interleave(8, dim=2).repeat_interleave(6, dim=3) / 255
    )


@pytest.fixture(scope="module")
def answer(tagger, image):
    with torch.inference_mode():
        tokens, tags = tagger.read(image)
        return tokens, tagger.logits(tokens), tags


@pytest.fixture
def full_keys():
    """Names and shapes of every tensor of the official module at real size."""
    keys = json.loads((GOLDEN / "fullsize_keys" / "ram_dape_full_module.json").read_text())["keys"]
    return {key: tuple(entry["shape"]) for key, entry in keys.items()}


def assert_close(ours, theirs, tolerance=1e-4):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= tolerance * max(1, theirs.abs().max())


def test_tokens_match_the_official_ones(answer, golden):
    assert_close(answer[0], golden["out.dape.image_embeds"])


def test_logits_match_the_official_ones(answer, golden):
    assert_close(answer[1], golden["out.dape.logits"])


def test_tags_are_the_official_ones(answer, notes, golden, tagger):
    assert answer[2] == [notes["tags_dape"]]
    assert tagger.tags(golden["out.dape.logits"]) == [notes["tags_dape"]]


def test_the_visual_encoder_matches_the_official_one(tagger, image, golden):
    with torch.inference_mode():
        seen = tagger.swin(first_view(image))
    features = torch.cat([seen.pooler_output[:, None], seen.last_hidden_state], dim=1)
    assert_close(features[:, ::4], golden["out.dape.visual_encoder_sub4"])


def test_without_dape_it_is_plain_ram(ram, config, image, golden, notes):
    plain = load_tagger(config, merge(ram, None, config))
    with torch.inference_mode():
        tokens, tags = plain.read(image)
        logits = plain.logits(tokens)
    assert_close(tokens[:, ::4], golden["out.ram.image_embeds_sub4"])
    assert_close(logits, golden["out.ram.logits"])
    assert tags == [notes["tags_ram"]]


@pytest.mark.parametrize(
    "key",
    [
        f"{ADAPTED}.weight",
        f"{HEAD}.query.weight",
        "tagging_head.encoder.layer.1.crossattention.self.key.weight",
    ],
)
def test_merged_weights_are_the_official_ones(weights, golden, key):
    assert_close(weights[key], golden[f"out.merged.{key}"], 1e-6)


def test_merging_leaves_its_inputs_and_everything_else_alone(ram, weights, dape):
    assert torch.equal(
        ram[f"{ADAPTED}.weight"], load_file(CASE / "ram_base.safetensors")[f"{ADAPTED}.weight"]
    )
    changed = {key for key in weights if not torch.equal(weights[key], ram[key].float())}
    stems = {
        key.removesuffix(".lora_B")
        for key, value in dape.items()
        if key.endswith("lora_B") and value.any()
    }
    assert changed == {f"{stem}.weight" for stem in stems}


def test_an_eighth_of_b_times_a_is_added_to_q_and_v_only(ram, dape, config):
    width = 8
    a, b = torch.zeros(16, width), torch.zeros(2 * width, 8)
    a[0, 3], b[2, 0] = 4.0, 6.0  # q: row 2, column 3
    a[8 + 5, 1], b[width + 7, 5] = 2.0, -4.0  # v: row 7, column 1
    changed = dape | {f"{ADAPTED}.lora_A": a, f"{ADAPTED}.lora_B": b}
    expected = torch.zeros(3 * width, width)
    expected[2, 3], expected[2 * width + 7, 1] = 3.0, -1.0
    key = f"{ADAPTED}.weight"
    assert torch.allclose(
        merge(ram, changed, config)[key] - merge(ram, None, config)[key], expected, atol=1e-6
    )


def test_an_eighth_of_b_times_a_is_added_to_the_heads_query(ram, dape, config):
    a, b = torch.zeros(8, 32), torch.zeros(32, 8)
    a[1, 30], b[31, 1] = 4.0, 6.0
    changed = dape | {f"{HEAD}.query.lora_A": a, f"{HEAD}.query.lora_B": b}
    key = f"{HEAD}.query.weight"
    difference = merge(ram, changed, config)[key] - merge(ram, None, config)[key]
    assert difference[31, 30] == pytest.approx(3, abs=1e-6)
    assert difference.count_nonzero() == 1


def test_the_published_name_of_the_head_is_understood(ram, dape, config, weights):
    published = {key.replace("tagging_head", "vision_multi"): value for key, value in ram.items()}
    again = merge(published, dape, config)
    assert all(torch.equal(again[key], value) for key, value in weights.items())


def test_a_missing_key_is_refused_by_name(ram, dape, config):
    with pytest.raises(
        ModelUnavailable, match=r"RAM checkpoint lacks 1 of \d+ keys: image_proj\.bias\."
    ):
        merge({key: value for key, value in ram.items() if key != "image_proj.bias"}, dape, config)
    with pytest.raises(
        ModelUnavailable, match=re.escape(f"DAPE checkpoint lacks 1 of 24 keys: {ADAPTED}.lora_B.")
    ):
        merge(
            ram, {key: value for key, value in dape.items() if key != f"{ADAPTED}.lora_B"}, config
        )


def test_only_the_first_missing_keys_are_named():
    with pytest.raises(ModelUnavailable, match=r"label_embed, .*, .* and others\.$"):
        merge({}, None)


def test_a_wrong_shape_is_refused_by_name(ram, dape, config):
    with pytest.raises(ModelUnavailable, match=r"fc\.weight is \(1, 31\), not \(1, 32\)"):
        merge(ram | {"fc.weight": torch.zeros(1, 31)}, dape, config)
    with pytest.raises(ModelUnavailable, match=r"lora_A is \(8, 8\), not \(16, 8\)"):
        merge(ram, dape | {f"{ADAPTED}.lora_A": torch.zeros(8, 8)}, config)


def test_ram_plus_plus_is_recognised():
    with pytest.raises(
        ModelUnavailable, match=r"RAM\+\+.*\(233835, 512\), not \(4585, 512\)"
    ) as caught:
        merge({"label_embed": torch.zeros(233835, 512, device="meta")}, None)
    assert "ram_swin_large_14m.pth" in caught.value.hint


@pytest.mark.parametrize("part", ["tag_encoder.encoder", "text_decoder.bert.encoder"])
def test_corrections_to_what_is_left_out_must_be_zero(ram, dape, config, part):
    key = f"{part}.layer.0.crossattention.self.query.lora_B"
    assert key in dape
    with pytest.raises(ModelUnavailable, match=re.escape(key)):
        merge(ram, dape | {key: torch.full_like(dape[key], 1e-8)}, config)


def test_corrections_that_belong_nowhere_are_refused(ram, dape, config):
    key = "visual_encoder.layers.0.blocks.0.attn.proj.lora_B"
    with pytest.raises(ModelUnavailable, match=re.escape(f"more than the tagger: {key}")):
        merge(ram, dape | {key: torch.zeros(8, 8)}, config)


def test_loading_refuses_missing_and_unknown_keys(config, weights):
    with pytest.raises(ModelUnavailable, match=r"lacks 1 of \d+ keys: fc\.bias"):
        load_tagger(config, {key: value for key, value in weights.items() if key != "fc.bias"})
    with pytest.raises(ModelUnavailable, match="unknown keys: surplus"):
        load_tagger(config, weights | {"surplus": torch.zeros(1)})


def test_a_loaded_tagger_is_whole_frozen_and_in_evaluation_mode(tagger):
    tensors = [*tagger.parameters(), *tagger.buffers()]
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
    assert not any(module.training for module in tagger.modules())


def test_indices_that_other_transformers_store_need_not_be_in_the_file(
    config, weights, monkeypatch
):
    class Classic(SwinModel):
        def __init__(self, layout):
            super().__init__(layout)
            self.register_buffer("relative_position_index", torch.arange(4))

    monkeypatch.setattr("addsr_cli.models.seesr.tagger.SwinModel", Classic)
    assert load_tagger(config, weights).swin.relative_position_index.tolist() == [0, 1, 2, 3]


def test_weights_stored_in_half_precision_are_computed_with_in_float32(
    config, weights, image, golden
):
    tagger = load_tagger(config, {key: value.bfloat16() for key, value in weights.items()})
    assert {parameter.dtype for parameter in tagger.parameters()} == {torch.float32}
    with torch.inference_mode():
        tokens, tags = tagger.read(image)
    assert_close(tokens, golden["out.dape.image_embeds"], 0.1)
    assert len(tags) == 1


def test_autocast_does_not_reach_the_tagger(tagger, image, answer):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        tokens, tags = tagger.read(image)
        logits = tagger.logits(tokens)
    assert (tokens.dtype, logits.dtype) == (torch.float32, torch.float32)
    assert torch.equal(tokens, answer[0])
    assert tags == answer[2]


def test_a_batch_is_read_sample_by_sample(tagger, image, answer):
    with torch.inference_mode():
        tokens, tags = tagger.read(torch.cat([image, image.flip(3)]))
    assert_close(tokens[:1], answer[0])
    assert tags[0] == answer[2][0]
    assert tags[1] != tags[0]


def test_looking_gives_the_tokens_of_the_bicubic_view(tagger, image):
    small = image[..., ::3, ::2]
    with torch.inference_mode():
        assert torch.equal(tagger.encode_image(small), tagger.tokens(psr_view(small)))


def test_tags_are_kept_strictly_above_their_threshold_and_in_order(config):
    few = replace(config, tags=("a", "b", "c"), thresholds=(0.5, 0.5, 1.0))
    tagger = build_tagger(few)
    logits = torch.tensor([[1e-3, 1e-3, 100.0], [0.0, 1.0, -1.0], [-1.0, -1.0, 0.0]])
    assert tagger.tags(logits) == ["a, b", "b", ""]


def test_views_match_the_official_ones():
    golden = load_file(GOLDEN / "preprocess" / "tensors.safetensors")
    small, big = (
        golden[f"in.ram_{size}_u8"].permute(2, 0, 1)[None] / 255 for size in ("small", "big")
    )
    assert_close(first_view(small)[..., ::8, ::8], golden["out.ram_small_bilinear_noaa_sub8"], 1e-5)
    assert_close(first_view(big)[..., ::8, ::8], golden["out.ram_big_noaa_sub8"], 1e-5)
    assert_close(psr_view(small)[..., ::8, ::8], golden["out.ram_small_bicubic_noclamp_sub8"], 1e-5)


def test_the_full_size_needs_exactly_the_official_keys(full_keys):
    dropped = re.compile(
        r"(tag_encoder|text_decoder)\.|.*(lora_[AB]|relative_position_index|attn_mask)$"
    )
    needed = {key: shape for key, shape in full_keys.items() if not dropped.match(key)}
    assert canonical_shapes(FULL) == needed
    assert sum(prod(shape) for shape in needed.values()) == 212_117_045


def test_the_published_checkpoints_merge_at_full_size(full_keys):
    tensors = {key: torch.empty(shape, device="meta") for key, shape in full_keys.items()}
    prefixes = ("visual_encoder", "tagging_head")
    dape = {
        key: value for key, value in tensors.items() if "lora_" in key and key.startswith(prefixes)
    }
    assert len(dape) == 56
    merged = merge(tensors, dape)
    assert {key: tuple(value.shape) for key, value in merged.items()} == canonical_shapes(FULL)


@pytest.mark.parametrize(
    ("classic", "renamed"),
    [
        ("attention.self.query.weight", "attention.q_proj.weight"),
        ("attention.self.key.bias", "attention.k_proj.bias"),
        ("attention.self.value.weight", "attention.v_proj.weight"),
        ("attention.output.dense.bias", "attention.o_proj.bias"),
        (
            "attention.self.relative_position_bias_table",
            "attention.relative_position_bias.relative_position_bias_table",
        ),
        ("intermediate.dense.weight", "mlp.fc1.weight"),
        ("output.dense.weight", "mlp.fc2.weight"),
    ],
)
def test_older_and_newer_transformers_names_mean_the_same(classic, renamed):
    block = "swin.encoder.layers.2.blocks.17."
    assert ram_name(block + classic) == ram_name(block + renamed)


def test_an_unknown_transformers_name_is_refused():
    with pytest.raises(ModelUnavailable, match=r"attention\.mystery"):
        ram_name("swin.encoder.layers.0.blocks.0.attention.mystery.weight")


def test_the_configuration_survives_json(config):
    assert TaggerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [0.5]},
        {"tags": [], "thresholds": []},
        {"depths": [2]},
        {"head_heads": 5},
        {"colour": 1},
    ],
)
def test_a_contradictory_configuration_is_refused(config, change):
    with pytest.raises(ModelUnavailable, match="configuration makes no sense"):
        TaggerConfig.from_json(config.to_json() | change)
