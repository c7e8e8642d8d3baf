"""The seam between sampling and networks: all that a model has to offer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from addsr_cli.schedule import Schedule
from addsr_cli.settings import PromptSettings

Noise = Callable[[Sequence[int]], Tensor]  # shape -> standard normal samples
# z, t and control of a strip, and whether it is the last -> the output as far as it is complete
DenoiseStrip = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a network reads of one photo besides the control.

    ``text`` and ``negative`` (1, L, C) and ``image`` (1, N, C) are token sequences, None for a
    model that reads none; ``negative`` is None without guidance. ``fidelity``, 0..1, is how much a
    decoder that reads the canvas takes from it, None for the model's own share. With
    ``official_tiles`` the decoder cuts large latents as the model's own program does; other
    restorers do not look at it. ``tags`` were read
    from the photo, ``prompt`` is the whole text behind ``text``, ``notes`` are remarks for the
    user. For a batch see ``batched``.
    """

    text: Tensor | None = None
    negative: Tensor | None = None
    image: Tensor | None = None
    guidance: float = 1.0
    conditioning_scale: float = 1.0
    fidelity: float | None = None
    official_tiles: bool = False
    tags: str = ""
    prompt: str = ""
    notes: tuple[str, ...] = ()


def batched(conditions: Sequence[Conditioning]) -> Conditioning:
    """Concatenate the tokens of several photos to (B, ...).

    All other fields are those of the first photo.
    """
    if len(conditions) == 1:
        return conditions[0]
    return replace(
        conditions[0],
        text=_concatenated([cond.text for cond in conditions]),
        negative=_concatenated([cond.negative for cond in conditions]),
        image=_concatenated([cond.image for cond in conditions]),
    )


def _concatenated(tokens: Sequence[Tensor | None]) -> Tensor | None:
    present = [sequence for sequence in tokens if sequence is not None]
    return torch.cat(present) if present else None


class Unconditional:
    """``describe`` and ``embed`` of a ``Restorer`` that reads neither text nor image tokens."""

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Return empty conditioning."""
        return Conditioning()

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` unchanged."""
        return cond


class Restorer(Protocol):
    """A network, or several, as sampler, tiler and trainer see it.

    Images are float (B, 3, H, W) in [0, 1] with H and W divisible by ``factor``; latents are
    float32 (B, C, H/factor, W/factor), scaled to about unit variance. ``exact_codec`` says that
    ``encode`` and ``decode`` treat every block of ``factor`` x ``factor`` pixels by itself, so that
    tiles would save nothing. ``halo`` is the network's reach in latent pixels, a multiple of its
    stride: no latent pixel depends on another that is farther away. None means that every pixel
    depends on every other. ``latent_control`` says that the control is a latent of the canvas
    (StableSR), not the canvas itself.
    """

    schedule: Schedule
    factor: int
    channels: int
    exact_codec: bool
    halo: int | None
    latent_control: bool

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the scaled latent of an image.

        Where there is a posterior, ``noise`` draws from it; without ``noise`` it is the mean.
        """
        ...

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Return the image (B, 3, H, W) of a scaled latent; not clamped.

        ``canvas``, of the same size as the image, and ``cond`` are for decoders that read the photo
        too; without them the latent alone is decoded.
        """
        ...

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Read one photo (1, 3, H, W) of any size, once: text tokens, image tokens and tags."""
        ...

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` with the image tokens of a refined image; called once per PSR step."""
        ...

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Return the network's output at timesteps ``t`` (B,), see ``schedule.prediction``.

        ``control`` is an image of the size of the canvas or, with ``latent_control``, the scaled
        latent of one, of the size of ``z``.
        """
        ...


class RestorerWrapper:
    """A ``Restorer`` that runs another one, ``inner``; subclasses replace some of its methods."""

    def __init__(self, restorer: Restorer) -> None:
        self.inner = restorer
        self.schedule = restorer.schedule
        self.factor = restorer.factor
        self.channels = restorer.channels
        self.exact_codec = restorer.exact_codec
        self.halo = restorer.halo
        self.latent_control = restorer.latent_control

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Call the inner restorer."""
        return self.inner.encode(image, noise)

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Call the inner restorer."""
        return self.inner.decode(z, canvas, cond)

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Call the inner restorer."""
        return self.inner.describe(photo, prompts)

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Call the inner restorer."""
        return self.inner.embed(image, cond)


class RowStreaming(Restorer, Protocol):
    """A ``Restorer`` that can also take a picture in strips of rows, without text or image tokens.

    Its codec is exact.
    """

    def denoise_in_strips(self) -> DenoiseStrip:
        """Return ``denoise`` for one picture whose strips come from the top.

        It keeps what it needs of the strips before. Its output, equal to that for the whole
        picture, lags behind its input: it begins where that of the strip before ended, and is empty
        until enough rows have come. With the last strip it is complete.
        """
        ...
