"""StableSR's networks as a ``Restorer``: StableSR, StableSR-Turbo and StableSR-768v run on them.

The control is the LR latent: one draw of the canvas's latent, which the time-aware encoder reads at
every step. Text is the empty prompt unless the user gives one.
"""

from typing import Any

import torch
from torch import Tensor

from addsr_cli.models.bundle import PromptDefaults
from addsr_cli.models.restorer import Conditioning, Noise
from addsr_cli.models.seesr.text_encoder import TextEncoder
from addsr_cli.models.stablesr.conditioned_unet import ConditionedUNet
from addsr_cli.models.stablesr.fused_decoder import FusedDecoder
from addsr_cli.schedule import Prediction, Schedule
from addsr_cli.settings import PromptSettings


class StableSR:
    """The ``Restorer`` of StableSR's weights; all networks are in evaluation mode.

    They are on one device and in one dtype. ``fidelity`` is the decoder's share of the canvas where
    the user asks for none.
    """

    exact_codec = False
    halo = None  # attention and group norms see the whole picture
    latent_control = True

    def __init__(
        self,
        *,
        unet: ConditionedUNet,
        vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
        fused: FusedDecoder,
        text: TextEncoder,
        prediction: Prediction = "epsilon",
        fidelity: float = 0.5,
        prompt_defaults: PromptDefaults | None = None,
    ) -> None:
        self.unet = unet
        self.vae = vae
        self.fused = fused
        self.text = text
        self.fidelity = fidelity
        self.prompt_defaults = prompt_defaults or PromptDefaults(added_prompt="")
        self.schedule = Schedule(prediction=prediction, scheduler="linspace")
        self.scaling_factor = float(vae.config.scaling_factor)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Return ``mean + std * noise`` of an image, scaled, float32 (B, 4, H/8, W/8)."""
        posterior = self.vae.encode(self._placed(image * 2 - 1)).latent_dist
        z = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise(z.shape).to(z.device)
        return (z * self.scaling_factor).to(image.device)

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Return the image (B, 3, 8h, 8w) of a scaled latent, float32, not clamped.

        With a canvas its features are fused into the decoder's, weighted by the fidelity.
        """
        latent = self._placed(z / self.scaling_factor)
        weight = self.fidelity
        if cond is not None and cond.fidelity is not None:
            weight = cond.fidelity
        if canvas is None or weight == 0:
            picture: Tensor = self.vae.decode(latent, return_dict=False)[0]
        else:
            seen = self._placed(canvas * 2 - 1)
            picture = self.fused.decode(self.vae, latent, seen, weight)
        return (picture.float() / 2 + 0.5).to(z.device)

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Encode the prompts; nothing is read from the photo."""
        tags = "" if prompts.tags in ("auto", "none") else prompts.tags
        added = prompts.added_prompt
        if added is None:
            added = self.prompt_defaults.added_prompt
        negative = prompts.negative_prompt
        if negative is None:
            negative = self.prompt_defaults.negative_prompt
        guidance = 1.0 if prompts.guidance is None else prompts.guidance
        prompt = ", ".join(part for part in (tags, prompts.prompt, added) if part)
        excess = self.text.too_long(prompt)
        note = f"the prompt is {excess} tokens too long; its end was cut off"
        return Conditioning(
            text=self.text.encode(prompt),
            negative=self.text.encode(negative) if guidance > 1 else None,
            guidance=guidance,
            fidelity=self.fidelity,
            tags=tags,
            prompt=prompt,
            notes=(note,) if excess else (),
        )

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` unchanged: there are no image tokens."""
        return cond

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Predict noise or velocity, float32 (B, 4, h, w); ``control`` is the LR latent.

        With guidance the unconditional and the conditional branch run as one batch on the same
        maps.
        """
        if cond.text is None:
            raise ValueError("this model needs text tokens: call describe first")
        batch = len(z)
        sample = self._placed(z)
        t = t.to(sample.device)
        maps = self.unet.encode(self._placed(control), t)
        text = self._tokens(cond.text, batch)
        if cond.negative is None:
            return self.unet(sample, t, text, maps).float().to(z.device)
        both = self.unet(
            torch.cat([sample, sample]),
            torch.cat([t, t]),
            torch.cat([self._tokens(cond.negative, batch), text]),
            [torch.cat([each, each]) for each in maps],
        ).float()
        unconditional, conditional = both.chunk(2)
        return torch.lerp(unconditional, conditional, cond.guidance).to(z.device)

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = next(self.unet.unet.parameters())
        return weight

    def _placed(self, picture: Tensor) -> Tensor:
        weight = self._weight
        return picture.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)

    def _tokens(self, tokens: Tensor, count: int) -> Tensor:
        """Return tokens on the networks' device; one sequence is repeated ``count`` times."""
        weight = self._weight
        return tokens.to(weight.device, weight.dtype).expand(count, -1, -1)
