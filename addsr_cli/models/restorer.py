"""The seam between sampling and networks: everything a model must offer, and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from addsr_cli.schedule import Schedule
from addsr_cli.settings import PromptSettings

Noise = Callable[[Sequence[int]], Tensor]  # shape -> standard normal draws


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the network is told about one photo besides the control image.

    ``text`` and ``negative`` (1, L, C) and ``image`` (1, N, C) are token sequences, or None for a
    model that reads none; ``negative`` is there only under guidance. ``tags`` is what was read from
    the photo, ``prompt`` the whole text that ``text`` was made of, ``notes`` what a person should
    know about it. For a batch see ``joined``.
    """

    text: Tensor | None = None
    negative: Tensor | None = None
    image: Tensor | None = None
    guidance: float = 1.0
    conditioning_scale: float = 1.0
    tags: str = ""
    prompt: str = ""
    notes: tuple[str, ...] = ()


def batched(told: Sequence[Conditioning]) -> Conditioning:
    """What the photos of one batch are told, their tokens stacked to (B, ...); tags and notes stay with each photo."""
    if len(told) == 1:
        return told[0]

    def stacked(tokens: Sequence[Tensor | None]) -> Tensor | None:
        held = [each for each in tokens if each is not None]
        return torch.cat(held) if held else None

    return replace(
        told[0],
        text=stacked([cond.text for cond in told]),
        negative=stacked([cond.negative for cond in told]),
        image=stacked([cond.image for cond in told]),
    )


class Restorer(Protocol):
    """A network behind one face, so that the sampler, the tiler and the trainer never learn which it is.

    Images are float (B, 3, H, W) in [0, 1] with H and W divisible by ``factor``; latents are
    float32 (B, C, H/factor, W/factor), already scaled to about unit variance. ``exact_codec`` says
    that ``encode`` and ``decode`` treat every ``factor`` x ``factor`` block by itself, so that
    tiles would gain nothing. ``halo`` is how far the network sees: no latent pixel depends on
    another more than so many away, in both directions. It is a multiple of the network's stride.
    None means that everything depends on everything.
    """

    schedule: Schedule
    factor: int
    channels: int
    exact_codec: bool
    halo: int | None

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Scaled latent of an image: a draw from the posterior where there is one, its mean without ``noise``."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Image of a scaled latent; not clamped."""
        ...

    def describe(self, photo: Tensor, guide: PromptSettings) -> Conditioning:
        """Read one photo, once, at its own size (1, 3, H, W), any H and W: text tokens, image tokens and tags."""
        ...

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """``cond`` with the image tokens of a refined image (once per PSR step)."""
        ...

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Network output at timesteps ``t`` (B,), as ``schedule.prediction`` says; ``control`` is an image."""
        ...
