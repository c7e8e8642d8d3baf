"""Run the full model (2.25 B parameters) with random weights through the real engine: does it run, how long, how much.

``python scripts/full_size.py [--precision bf16] [--size 128] [--steps 4] [--device auto] [--contiguous]``: writes a
bundle of random weights (4.5 GB, kept for the next call) into ``--folder``, upscales a random photo, and prints seconds
by stage and peak memory as JSON. ``--contiguous`` turns channels_last off, for comparison.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils import logging
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from addsr_cli import Machine, Settings, Upscaler
from addsr_cli.models.assemble import TAGGER_WEIGHTS, WEIGHTS, save_pairs
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.models.pairs import build_controlnet, build_unet
from addsr_cli.models.tagger import RAM_TAGS, TaggerConfig, canonical_shapes

SHAPE = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
}
NETWORK = {**SHAPE, "use_linear_projection": True}
DOWN, UP = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
VAE = {"block_out_channels": (128, 256, 512, 512), "down_block_types": DOWN, "up_block_types": UP, "latent_channels": 4}
TEXT = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-! "


def main() -> None:
    """Make the bundle when it is not there, run, print."""
    options = arguments()
    logging.set_verbosity_error()
    if not (options.folder / RECORD).is_file():
        write_bundle(options.folder)
    if options.contiguous:
        torch.channels_last = torch.contiguous_format
    machine = Machine(device=options.device, precision=options.precision, tile=options.tile)
    upscaler = Upscaler(str(options.folder), machine)
    photo = np.random.default_rng(0).random((options.size, options.size, 3), dtype=np.float32)
    for run in range(options.runs):
        start = time.perf_counter()
        result = upscaler.upscale(photo, Settings(steps=options.steps))
        seconds = {stage: round(value, 2) for stage, value in result.seconds.items()}
        finite = bool(np.isfinite(result.photo.rgb).all())
        record = {"run": run, "seconds": seconds, "total": round(time.perf_counter() - start, 2), "finite": finite}
        record |= {"peak_gb": round(result.peak_memory / 1e9, 2), "plan": result.plan.why, "notes": result.warnings}
        print(json.dumps(record), flush=True)


def arguments() -> argparse.Namespace:
    """The options of the docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "addsr-random-bundle")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--contiguous", action="store_true")
    return parser.parse_args()


def write_bundle(folder: Path) -> None:
    """Random half-precision weights at the published sizes, kernels scaled so that activations stay finite."""
    torch.manual_seed(0)
    for part, build in (("unet", build_unet), ("controlnet", build_controlnet)):
        with torch.device("meta"):
            net = build(NETWORK, 512)
        save_pairs(filled(net), NETWORK, folder / part)
    with torch.device("meta"):
        vae, text = AutoencoderKL(**VAE), CLIPTextModel(CLIPTextConfig(hidden_act="gelu", **TEXT))
    filled(vae).save_pretrained(folder / "vae")
    filled(text).save_pretrained(folder / "text_encoder")
    write_tokenizer(folder / "tokenizer")
    tags = TaggerConfig(tags=tuple(f"tag{k}" for k in range(RAM_TAGS)), thresholds=(0.68,) * RAM_TAGS)
    (folder / "tagger").mkdir()
    state = {key: numbers(key, shape) for key, shape in canonical_shapes(tags).items()}
    save_file(state, folder / "tagger" / TAGGER_WEIGHTS)
    (folder / "tagger" / "config.json").write_text(json.dumps(tags.to_json()))
    count = sum(p.stat().st_size for p in folder.rglob(f"*/{WEIGHTS}")) // 2 + 552_500_000
    Bundle(name="random", parameters=count, licence="random numbers").write(folder)


def filled(net: torch.nn.Module) -> torch.nn.Module:
    """A network of the meta device with numbers in it."""
    state = {key: numbers(key, tuple(value.shape)) for key, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    return net


def numbers(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Ones for norms, nothing for biases, small normal numbers for kernels."""
    if len(shape) == 1:
        return torch.full(shape, 1.0 if key.endswith("weight") else 0.0, dtype=torch.float16)
    fan_in = int(np.prod(shape[1:]))
    return torch.randn(shape).mul_(0.5 * fan_in**-0.5).half()


def write_tokenizer(folder: Path) -> None:
    """CLIP's kind of tokenizer with an alphabet and no merges."""
    folder.mkdir()
    words = ["!", *(c for c in LETTERS if c not in "! "), *(f"{c}</w>" for c in LETTERS if c != " ")]
    vocabulary = {word: k for k, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special | {"pad_token": "!"}))
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | special | {"pad_token": "!"}))


if __name__ == "__main__":
    main()
