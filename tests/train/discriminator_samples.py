"""Discriminators for tests: the official small one with golden weights, and published sizes."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from addsr_cli.train.discriminators.backbones import backbone_from
from addsr_cli.train.discriminators.projected import ProjectedDiscriminator

CASE = Path(__file__).parent.parent / "golden" / "discriminator"
BACKBONE = "dino.model.model."
NAMES = {
    **{
        "main.0.0.": "first.0.",
        "main.0.1.": "first.1.",
        "main.1.fn.0.": "wide.0.",
        "main.1.fn.1.": "wide.1.",
    },
    **{"cls.": "match.", "cmapper.weight": "wanted", "cmapper.bias": "wanted_bias"},
}


def our_name(key):
    """The official name of a head's tensor -> ours."""
    for theirs, ours in NAMES.items():
        key = key.replace(theirs, ours)
    return key


def golden_weights(name):
    return {key: value.float() for key, value in load_file(CASE / f"{name}.safetensors").items()}


def golden_backbone():
    """DINO's weights of the golden case, in the authors' naming."""
    return {
        k.removeprefix(BACKBONE): v
        for k, v in golden_weights("discriminator").items()
        if k.startswith(BACKBONE)
    }


def official(*, raw=True):
    """The discriminator of the golden files, before its first forward."""
    backbone, condition_encoder = (
        backbone_from(golden_backbone(), heads=2),
        backbone_from(golden_weights("dinov2"), heads=3),
    )
    discriminator = ProjectedDiscriminator(backbone, condition_encoder, raw=raw)
    weights = golden_weights("discriminator")
    discriminator.load_state_dict(
        {our_name(key): value for key, value in weights.items() if key.startswith("heads.")}
    )
    return discriminator


def full_width(layers=12):
    """Heads at full width on random backbones; ``layers`` sizes the condition encoder."""
    sizes = {"hidden_size": 384, "num_attention_heads": 6}
    backbone = ViTModel(ViTConfig(**sizes, intermediate_size=1536), add_pooling_layer=False)
    condition_encoder = Dinov2Model(
        Dinov2Config(**sizes, patch_size=14, image_size=518, num_hidden_layers=layers)
    )
    return ProjectedDiscriminator(backbone, condition_encoder)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)
