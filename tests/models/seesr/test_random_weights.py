from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import tagger_config

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.models.seesr import random_weights
from addsr_cli.models.seesr.architecture import FOOTPRINT
from addsr_cli.models.seesr.dual_cross_attention import build_controlnet, build_unet
from addsr_cli.models.seesr.random_weights import Sizes, random_seesr
from addsr_cli.models.seesr.tagger_weights import canonical_shapes
from addsr_cli.weights import loader


@pytest.fixture
def small():
    """The same kinds of networks, narrow."""
    unet = {
        "block_out_channels": (16, 32, 32, 32),
        "attention_head_dim": 2,
        "cross_attention_dim": 32,
        "norm_num_groups": 8,
        "layers_per_block": 1,
        "use_linear_projection": True,
    }
    vae = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return Sizes(unet=unet, vae=vae, text=text, tagger=tagger_config())


def test_random_weights_run_through_the_engine(small, monkeypatch):
    monkeypatch.setattr(random_weights, "Sizes", lambda: small)
    located = loader.random_weights()
    located = replace(located, spec=replace(located.spec, shortest_side=64))
    upscaler = Upscaler(located, Machine(device="cpu", precision="fp32", max_memory=10**11))
    result = upscaler.upscale(
        np.random.default_rng(0).random((16, 24, 3), dtype=np.float32), Settings(steps=2)
    )
    assert result.photo.size == (96, 64)
    assert np.isfinite(result.photo.rgb).all()
    assert result.photo.rgb.std() > 0
    assert (result.model, result.model_sha256, result.tags is not None) == ("random", "", True)


def test_random_weights_are_reproducible_and_in_the_requested_dtype(small):
    first, again = (random_seesr("cpu", torch.bfloat16, small) for _ in range(2))
    pairs = zip(first.unet.state_dict().items(), again.unet.state_dict().values(), strict=True)
    assert all(
        torch.equal(value, other) and value.dtype == torch.bfloat16 for (_, value), other in pairs
    )


def test_the_footprint_counts_weights_that_stay_in_float32():
    shapes = canonical_shapes(Sizes().tagger).values()
    assert sum(int(np.prod(shape)) for shape in shapes) == FOOTPRINT.always_fp32


def test_at_full_size_it_has_the_parameters_of_the_full_model():
    sizes = Sizes()
    with torch.device("meta"):
        nets = [build(sizes.unet, sizes.tagger.tokens) for build in (build_unet, build_controlnet)]
    count = sum(value.numel() for net in nets for value in net.parameters())
    assert count == 1_126_760_324 + 489_031_440
    count += sum(int(np.prod(shape)) for shape in canonical_shapes(sizes.tagger).values())
    assert count == pytest.approx(
        FOOTPRINT.parameters - 34_160_000 - 49_490_000 - 340_387_840, rel=0.002
    )
