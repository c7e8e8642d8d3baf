"""StableSR's checkpoints in small: as their authors publish them, with golden or random weights."""

import json
import shutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from bundles import GOLDEN
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from addsr_cli.models.bundle import Bundle
from addsr_cli.models.stablesr.conversion import Checkpoints, build_stablesr
from addsr_cli.models.stablesr.sampling_defaults import PROMPTS, StableSRDefaults

STABLESR = GOLDEN / "stablesr"
# All golden cases; the checkout holds those whose weights are small.
SHARED = next(
    (
        folder
        for folder in (parent / "shared/golden/stablesr" for parent in Path(__file__).parents)
        if folder.is_dir()
    ),
    None,
)
SIDE = 128  # pixels per side of a tile
HEAD_WIDTH = 16
CALLBACK = "pytorch_lightning.callbacks.model_checkpoint"


def floats(path):
    return {key: value.float() for key, value in load_file(path).items()}


@cache
def cfw():
    """The checkpoint of the decoder, golden."""
    return floats(STABLESR / "cfw_weights.safetensors")


@cache
def random_main():
    """A checkpoint of UNet, SPADE layers and encoder: the UNet is random, the encoder golden."""
    generator = torch.Generator().manual_seed(0)
    shapes = json.loads((STABLESR / "unet_shapes.json").read_text())
    state = {}
    for key, shape in shapes.items():
        draw = torch.randn(shape, generator=generator)
        fan_in = draw[0].numel() if draw.ndim > 1 else 1
        is_norm = len(shape) == 1 and key.endswith("weight")
        state[key] = 1 + 0.05 * draw if is_norm else 0.3 * draw * fan_in**-0.5
    return state | floats(STABLESR / "structcond_weights.safetensors")


def lightning(state):
    """A checkpoint as the trainer writes it: weights among counters and a class as a key."""
    module = ModuleType(CALLBACK)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": CALLBACK})
    counters = {"epoch": 117, "global_step": 9, "callbacks": {module.ModelCheckpoint: {"best": 1}}}
    return module, counters | {"state_dict": state, "optimizer_states": [{"state": {}}]}


def save_lightning(state, path):
    module, content = lightning(state)
    packages = ("pytorch_lightning", CALLBACK.rpartition(".")[0])
    modules = {name: ModuleType(name) for name in packages} | {CALLBACK: module}
    with patch.dict(sys.modules, modules):
        torch.save(content, path)
    return path


def write_base(folder):
    """Text encoder and tokenizer of Stable Diffusion 2, small."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2}
    special = {"bos_token_id": 522, "eos_token_id": 523, "pad_token_id": 1}
    config = CLIPTextConfig(vocab_size=524, num_hidden_layers=2, **sizes, **special)
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    shutil.copytree(GOLDEN / "models" / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    return folder


def defaults(steps=4, prediction="epsilon", fidelity=0.5):
    bundle = Bundle(
        name="tiny",
        parameters=0,
        arch="stablesr",
        scheduler="linspace",
        default_steps=steps,
        shortest_side=SIDE,
        prompt_defaults=PROMPTS,
    )
    return StableSRDefaults(bundle=bundle, prediction=prediction, fidelity=fidelity)


def write_stablesr(folder, scratch, main=None, decoder=None, **options):
    """Convert checkpoints, by default with random weights, to a bundle in ``folder``."""
    scratch.mkdir(parents=True, exist_ok=True)
    save_file(main or random_main(), scratch / "main.safetensors")
    save_file(decoder or cfw(), scratch / "cfw.safetensors")
    files = Checkpoints(
        main=scratch / "main.safetensors",
        cfw=scratch / "cfw.safetensors",
        base=write_base(scratch / "base"),
    )
    return build_stablesr(
        files,
        output=folder,
        name="tiny",
        licence="random numbers",
        defaults=defaults(**options),
        source={},
        dtype=torch.float32,
        head_width=HEAD_WIDTH,
    )
