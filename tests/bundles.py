"""A bundle of the golden networks: a few MB of random weights that drive the whole program."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file

from addsr_cli.models.bundle import Bundle
from addsr_cli.models.nano.restorer import build_nano, save_nano
from addsr_cli.models.nano.training import TINY
from addsr_cli.models.seesr.loading import save_tagger
from addsr_cli.models.seesr.tagger import TaggerConfig
from addsr_cli.models.seesr.tagger_weights import merge

GOLDEN = Path(__file__).parent / "golden"


def tagger_config() -> TaggerConfig:
    """Sizes and tags of the golden tagger."""
    config = json.loads((GOLDEN / "ram_dape" / "tensors.json").read_text())["config"]
    swin, head = config["swin_config"], config["q2l_config"]
    return TaggerConfig(
        tags=tuple(config["tag_list"]),
        thresholds=tuple(config["tag_thresholds"]),
        embed_dim=swin["embed_dim"],
        depths=tuple(swin["depths"]),
        num_heads=tuple(swin["num_heads"]),
        head_hidden=head["hidden_size"],
        head_intermediate=head["intermediate_size"],
        head_layers=head["num_hidden_layers"],
        head_heads=head["num_attention_heads"],
    )


def write_bundle(folder: Path, shortest: int = 64) -> Path:
    """UNet, ControlNet, VAE, text encoder and tagger of the golden cases as one model folder."""
    shutil.copytree(_template(shortest).name, folder, dirs_exist_ok=True)
    return folder


@cache
def _template(shortest: int) -> tempfile.TemporaryDirectory:
    """Return the folder that is copied, written once per process."""
    temporary = tempfile.TemporaryDirectory()
    folder = Path(temporary.name)
    for part in ("unet", "controlnet", "vae", "text_encoder", "tokenizer"):
        shutil.copytree(GOLDEN / "models" / part, folder / part)
    config = tagger_config()
    ram = {
        key: value.float()
        for key, value in load_file(GOLDEN / "ram_dape" / "ram_base.safetensors").items()
    }
    merged = merge(ram, load_file(GOLDEN / "ram_dape" / "dape_lora.safetensors"), config)
    save_tagger(merged, config, folder / "tagger")
    Bundle(
        name="golden", parameters=2_000_000, licence="random numbers", shortest_side=shortest
    ).write(folder)
    return temporary


def write_nano(folder: Path) -> str:
    """Write a small network of nano's kind with random weights, which takes up to four steps."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_nano(build_nano(TINY).net, folder / "nano.safetensors")
    return str(folder)
