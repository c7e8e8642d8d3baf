"""Few-step sampling with prediction-based self-refinement: one generator of steps, and its pieces.

Inference (``sample``) runs it to its end. Training runs the student through it, with gradients
where the caller enables them. Notation follows ``schedule``: ``z`` is a noisy latent, ``z0`` a
clean one, ``t`` a timestep.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from addsr_cli.models.restorer import Conditioning, Noise, Restorer, batched
from addsr_cli.schedule import T_MAX
from addsr_cli.windowed import pointwise

Number = TypeVar("Number", int, float)
Start = Literal["lr", "noise"]
OnStep = Callable[[int, Tensor], None]
Autocast = Callable[[], AbstractContextManager[object]]
Refine = Callable[[Tensor, Tensor, float | Tensor], Tensor]  # prediction, canvas, weight -> control


@dataclass(frozen=True, kw_only=True)
class InitialState:
    """What the first step of a batch starts from.

    ``z`` (B, C, h, w) is the noisy latent, ``canvas`` (B, 3, H, W) in [0, 1] the LR photo enlarged
    to the output size, and ``cond`` describes the canvas. ``control`` is what the network reads
    beside ``z``, None for the canvas itself (see ``Restorer.latent_control``).
    """

    z: Tensor
    canvas: Tensor
    cond: Conditioning
    control: Tensor | None = None

    @property
    def first_control(self) -> Tensor:
        """The control of the first step."""
        return self.canvas if self.control is None else self.control


@dataclass(frozen=True, kw_only=True)
class SamplingStep:
    """One step after the network's prediction.

    ``k`` counts steps from 0, ``t`` is the timestep (an int, or (B,) with one per sample), ``z0``
    (B, C, h, w) the predicted clean latent, float32, and ``control`` the control that the network
    received: an image (B, 3, H, W) or a latent (B, C, h, w).
    """

    k: int
    t: int | Tensor
    z0: Tensor
    control: Tensor


def cpu_noise(seed: int) -> Noise:
    """Return a source of standard normal float32 tensors on the CPU, the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(list(shape), generator=generator)


def refine(
    prediction: Tensor,
    canvas: Tensor,
    weight: float | Tensor,
) -> Tensor:
    """Prediction-based self-refinement (PSR): the next control image (AddSR section 3.2).

    ``weight * clamp(prediction, 0, 1) + (1 - weight) * canvas``; images are in [0, 1].
    """

    def mixed(canvas: Tensor, prediction: Tensor) -> Tensor:
        return torch.lerp(canvas, prediction.clamp(0, 1), weight)

    return pointwise(mixed, canvas, prediction)


def predict_z0(
    restorer: Restorer,
    z: Tensor,
    t: int | Tensor,
    control: Tensor,
    cond: Conditioning,
    autocast: Autocast = nullcontext,
) -> Tensor:
    """Run the network at ``z`` and ``t`` and convert its output to a clean latent, in float32.

    The network alone runs under ``autocast``.
    """
    timesteps = t if isinstance(t, Tensor) else torch.full((len(z),), t, device=z.device)
    with autocast():
        output = restorer.denoise(z, timesteps, control, cond)
    return restorer.schedule.predict_z0(z, output, t)


def sampling_steps(
    restorer: Restorer,
    initial: InitialState,
    *,
    timesteps: Sequence[int | Tensor],
    noise: Noise,
    psr: float | Tensor | None,
    joining: Mapping[int, InitialState] | None = None,
    forced: Tensor | None = None,
    refine: Refine = refine,
    autocast: Autocast = nullcontext,
) -> Iterator[SamplingStep]:
    """Yield the steps at ``timesteps``, noisiest first.

    After each step the schedule gives the next noisy latent, and PSR with weight ``psr`` gives the
    next control image, from which the network's image tokens are computed anew. With ``psr`` None
    control and tokens stay.

    The other parameters are for training. ``joining[k]`` are samples that enter the batch before
    step ``k``, so that chains of different lengths end together; timesteps and PSR weights are then
    tensors with one entry per sample, in the order of entry. ``forced`` are clean latents that
    replace the predicted ones in the next noisy latent (teacher forcing). ``refine`` replaces PSR's
    formula.

    Each network pass runs in the gradient mode that is active when the caller asks for the step;
    no gradient flows from one step to the step before.
    """
    schedule = restorer.schedule
    z = initial.z
    canvas = initial.canvas
    control = initial.first_control
    cond = initial.cond
    for k, t in enumerate(timesteps):
        z0 = predict_z0(restorer, z, t, control, cond, autocast)
        yield SamplingStep(k=k, t=t, z0=z0, control=control)
        if k + 1 == len(timesteps):
            return

        with torch.no_grad():
            batch = len(z)
            clean = z0 if forced is None else forced[:batch]
            following = _first(timesteps[k + 1], batch)
            z = schedule.advance(
                z,
                clean,
                noise(z.shape).to(z.device),
                t,
                following,
            )
            if psr is not None:
                image = _refined(restorer, z0, canvas, cond, _first(psr, batch), refine)
                control = restorer.encode(image) if restorer.latent_control else image
                cond = restorer.embed(image, cond)

        if joining and k + 1 in joining:
            new = joining[k + 1]
            z = torch.cat([z, new.z])
            canvas = torch.cat([canvas, new.canvas])
            control = torch.cat([control, new.first_control])
            cond = batched([cond, new.cond])


def sample(
    restorer: Restorer,
    canvas: Tensor,
    cond: Conditioning,
    *,
    timesteps: Sequence[int],
    noise: Noise,
    psr: float | None = 0.4,
    start: Start = "lr",
    on_step: OnStep | None = None,
) -> Tensor:
    """Restore ``canvas``: the LR photo enlarged to the output size, (B, 3, H, W) in [0, 1].

    See ``sample_latent`` for the parameters. Returns the decoded last prediction, (B, 3, H, W),
    float32, not clamped.
    """
    with torch.inference_mode():
        z0 = sample_latent(
            restorer,
            canvas,
            cond,
            timesteps=timesteps,
            noise=noise,
            psr=psr,
            start=start,
            on_step=on_step,
        )
        return restorer.decode(z0, canvas, cond)


@torch.inference_mode()
def sample_latent(
    restorer: Restorer,
    canvas: Tensor,
    cond: Conditioning,
    *,
    timesteps: Sequence[int],
    noise: Noise,
    psr: float | None = 0.4,
    start: Start = "lr",
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the last predicted clean latent (B, C, h, w) for a canvas.

    ``start`` is "lr" for the noised latent of the canvas, "noise" for noise alone; for the other
    parameters see ``sampling_steps``. ``on_step(k, z0)`` is called after every step.
    """
    initial = _initial_state(restorer, canvas, cond, noise, start)
    for step in sampling_steps(
        restorer,
        initial,
        timesteps=timesteps,
        noise=noise,
        psr=psr,
    ):
        if on_step:
            on_step(step.k, step.z0)
    return step.z0


def select(cond: Conditioning, chosen: Tensor) -> Conditioning:
    """Return the conditioning of some samples of a batch; ``chosen`` (B,) is a boolean mask.

    Tokens that the whole batch shares stay as they are.
    """

    def chosen_tokens(tokens: Tensor | None) -> Tensor | None:
        if tokens is None or len(tokens) != len(chosen):
            return tokens
        return tokens[chosen.to(tokens.device)]

    return replace(
        cond,
        text=chosen_tokens(cond.text),
        negative=chosen_tokens(cond.negative),
        image=chosen_tokens(cond.image),
    )


def _initial_state(
    restorer: Restorer,
    canvas: Tensor,
    cond: Conditioning,
    noise: Noise,
    start: Start,
) -> InitialState:
    """Return what sampling starts from.

    One draw from the posterior of the canvas serves both as start and, with ``latent_control``, as
    the control of all steps.
    """
    batch, _, height, width = canvas.shape
    shape = (batch, restorer.channels, height // restorer.factor, width // restorer.factor)
    z = noise(shape).to(canvas.device)
    control = None
    if start == "lr" or restorer.latent_control:
        latent = restorer.encode(canvas, noise)
        control = latent if restorer.latent_control else None
        z = restorer.schedule.add_noise(latent, z, T_MAX) if start == "lr" else z
    return InitialState(z=z, canvas=canvas, cond=cond, control=control)


def _refined(
    restorer: Restorer,
    z0: Tensor,
    canvas: Tensor,
    cond: Conditioning,
    weight: float | Tensor,
    refine: Refine,
) -> Tensor:
    if not isinstance(weight, Tensor) and weight == 0:
        return canvas  # decoding is the most expensive part of this, and would not count
    return refine(restorer.decode(z0, canvas, cond), canvas, weight)


def _first(value: Number | Tensor, count: int) -> Number | Tensor:
    """The first ``count`` entries of a tensor; a number is one for all samples."""
    return value[:count] if isinstance(value, Tensor) else value
