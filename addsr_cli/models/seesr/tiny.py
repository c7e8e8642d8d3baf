"""``--arch tiny``: every network of the full model, tiny and random, to try the whole recipe."""

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from addsr_cli.models.architecture import TrainingCost, TrainingOptions, Workload
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.measurement import PROBE, measured_pass
from addsr_cli.models.pretrained import no_progress_bars
from addsr_cli.models.seesr.dual_cross_attention import outer_name
from addsr_cli.models.seesr.loading import WEIGHTS, save_tagger
from addsr_cli.models.seesr.random_weights import Sizes, random_seesr, random_tagger_weights
from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.models.seesr.tagger import TaggerConfig
from addsr_cli.models.seesr.training import TrainableSeeSR
from addsr_cli.settings import PromptSettings

TAGS = ("tree", "sky", "house", "face", "water", "street", "grass", "text")
SIZES = Sizes(
    unet={
        "block_out_channels": (16, 32, 32, 32),
        "attention_head_dim": 2,
        "cross_attention_dim": 32,
        "norm_num_groups": 8,
        "layers_per_block": 1,
        "use_linear_projection": True,
    },
    vae={"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
    text={
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    tagger=TaggerConfig(
        tags=TAGS,
        thresholds=(0.5,) * len(TAGS),  # random probabilities lie around it
        embed_dim=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 4),
        tokens=32,
        head_hidden=16,
        head_intermediate=16,
        head_heads=2,
    ),
)
PASSES = 3  # cost of a trained pass in forward passes: one forward, two backward


class TrainableTiny(TrainableSeeSR):
    """A student of a tiny random teacher, whose files live as long as this object.

    The teacher is the same in every run and process.
    """

    def __init__(self, options: TrainingOptions) -> None:
        folder = Path(tempfile.mkdtemp(prefix="addsr-tiny-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        write_tiny(folder)
        super().__init__(
            folder,
            dtype=options.dtype,
            lora=options.lora,
            checkpointing=options.checkpointing,
        )


def write_tiny(folder: Path) -> None:
    """Write the bundle of the tiny random networks."""
    seesr = random_seesr("cpu", torch.float32, SIZES)
    for part, network in (("unet", seesr.unet), ("controlnet", seesr.controlnet)):
        (folder / part).mkdir()
        state = {
            outer_name(name): value.contiguous() for name, value in network.state_dict().items()
        }
        save_file(state, folder / part / WEIGHTS, {"format": "pt"})
        config = json.dumps(dict(SIZES.unet), indent=1)
        (folder / part / "config.json").write_text(config, encoding="utf-8")
    text: Any = seesr.text
    with no_progress_bars():
        seesr.vae.save_pretrained(folder / "vae")
        text.model.save_pretrained(folder / "text_encoder")
        text.tokenizer.save_pretrained(folder / "tokenizer")
    save_tagger(random_tagger_weights(SIZES.tagger), SIZES.tagger, folder / "tagger")
    Bundle(
        name="tiny",
        parameters=_parameters(seesr),
        licence="random numbers",
        shortest_side=PROBE,
    ).write(folder)


def tiny_cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    """Measure student and teacher by one pass; image tokens and tags are left out."""
    model = TrainableTiny(options)
    dtype = torch.float32 if work.bytes_per_number == 4 else torch.bfloat16
    cond = model.full.describe(torch.rand(1, 3, PROBE, PROBE), PromptSettings())
    saved, flop = measured_pass(model.student, dtype, cond)
    passes = PASSES + work.earlier_passes + work.accumulates + work.teacher_passes
    trained = sum(p.numel() for p in model.parameters.values())
    total = _parameters(model.full)
    pixels = work.crop**2
    return TrainingCost(
        parameters=total,
        trained=trained,
        frozen=work.bytes_per_number * total,
        copies=0,
        activations=int(saved * pixels * work.batch_size),
        tflop=pixels * passes * flop / 1e12,
    )


def _parameters(seesr: SeeSR) -> int:
    networks: tuple[nn.Module, ...] = (
        seesr.unet,
        seesr.controlnet,
        seesr.vae,
        seesr.text.model,
        seesr.tagger,
    )
    return sum(p.numel() for network in networks for p in network.parameters())
