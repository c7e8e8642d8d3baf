"""The seam between sampling and networks: everything a model must offer, and nothing else."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from addsr_cli.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the network is told about one photo besides the control image.

    ``text`` (B, L, C) and ``image`` (B, N, C) are token sequences, or None for a model that reads none;
    ``tags`` is the tag string they were made from.
    """

    text: Tensor | None = None
    image: Tensor | None = None
    tags: str = ""


class Restorer(Protocol):
    """A network behind one face, so that the sampler, the tiler and the trainer never learn which it is.

    Images are float (B, 3, H, W) in [0, 1] with H and W divisible by ``factor``; latents are float32
    (B, C, H/factor, W/factor), already scaled to about unit variance.
    """

    schedule: Schedule
    factor: int
    channels: int

    def encode(self, image: Tensor) -> Tensor:
        """Scaled latent of an image."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Image of a scaled latent; not clamped."""
        ...

    def describe(self, image: Tensor, prompt: str) -> Condition:
        """Read one photo, once: text tokens, image tokens and tags."""
        ...

    def embed(self, image: Tensor, cond: Condition) -> Condition:
        """``cond`` with the image tokens of a refined image (once per PSR step)."""
        ...

    def denoise(self, z: Tensor, t: Tensor, control: Tensor, cond: Condition) -> Tensor:
        """Network output at timesteps ``t`` (B,), as ``schedule.prediction`` says; ``control`` is an image."""
        ...
