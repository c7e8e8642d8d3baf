"""``--preset paper --arch tiny``: every part of the recipe takes part; the result upscales."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import CLIPTextModel, Dinov2Model, ViTModel

from addsr_cli.models.seesr.restorer import SeeSR
from addsr_cli.models.seesr.tagger import Tagger
from addsr_cli.train import checkpoint

pytestmark = pytest.mark.usefixtures("one_small_process")
PARTS = {
    "tags": (Tagger, "read"),
    "image tokens": (Tagger, "encode_image"),
    "text": (CLIPTextModel, "forward"),
    "student and teacher": (SeeSR, "denoise"),
    "decoder": (SeeSR, "decode"),
    "dino": (ViTModel, "forward"),
    "dinov2": (Dinov2Model, "forward"),
}


@pytest.fixture
def calls(monkeypatch):
    """How often each part was called."""
    counts = Counter()
    for name, (owner, method) in PARTS.items():
        original = getattr(owner, method)

        def counted(self, *arguments, _name=name, _original=original, **more):
            counts[_name] += 1
            return _original(self, *arguments, **more)

        monkeypatch.setattr(owner, method, counted)
    return counts


@pytest.mark.slow
def test_the_whole_recipe_of_the_paper_runs_on_a_cpu(addsr, photo, calls):
    for name in ("a.png", "b.jpg"):
        photo(f"photos/{name}", (80, 72))
    settings = ("--data", "photos", "--output", "run", "--device", "cpu", "--precision", "fp32")
    small = ("--workers", 0, "--total-batch", 2, "--save-every", 1, "--validation", 0)
    run = ("distill", "--preset", "paper", "--arch", "tiny", *settings, *small)

    assert addsr(*run, "--steps", 1).code == 0
    assert set(calls) == set(PARTS)
    [first] = [checkpoint.load(path) for path in Path("run/checkpoints").iterdir()]
    AcceleratorState._reset_state(True)
    assert addsr(*run, "--steps", 2, "--resume", "latest").code == 0

    recipe = json.loads(Path("run/config.json").read_text())["recipe"]
    assert (recipe["discriminator"], recipe["student_text"]) == ("dino", "lr")
    assert (recipe["rollout"], recipe["teacher_sees"]) == ("refined", ["control", "tagger", "text"])
    for line in Path("run/log.jsonl").read_text().splitlines():
        values = json.loads(line)["values"]
        assert {"distill", "adversarial", "discriminator"} <= set(values)
        assert None not in values.values()
    last = checkpoint.load(max(Path("run/checkpoints").iterdir()))
    moved = [not torch.equal(last["weights"][k], v) for k, v in first["weights"].items()]
    assert sum(moved) > 0.9 * len(moved)
    assert load_file("run/export/delta.safetensors").keys() == last["weights"].keys()

    photo("small.png", (16, 20))
    upscaled = addsr(
        "upscale", "small.png", "--model", "run", "--steps", 2, "--device", "cpu", "-o", "x.png"
    )
    assert upscaled.code == 0, upscaled.err
