"""Settings of AddSR's own training run (section 4.1), for the networks that follow it.

What the paper does not say is what the released trainer does: weights averaged with a decay of
0.99, targets sharpened as in Real-ESRGAN, crops that are only flipped.
"""

from typing import Any

RUN: dict[str, Any] = {
    "steps": 50_000,
    "crop": 512,
    "batch_size": 2,
    "lr": 2e-5,
    "warmup": 0,
    "decay": "constant",
    "ema": 0.99,
    "augmentation": "plain",
    "mix": (("strong", 1.0),),
    "scales": (4.0, 4.0),
    "lettering": 0.0,
    "usm": True,
}
# Adam and six samples a step: two on each of three GPUs, or three batches of two on one
PAPER: dict[str, Any] = {"accumulate": 3, "weight_decay": 0.0}
# AdamW and two samples a step and GPU: accumulation has no effect in the released trainer
OFFICIAL: dict[str, Any] = {"weight_decay": 0.01}
