"""SeeSR's networks as a ``Restorer``: AddSR, SeeSR and SeeSR-Turbo run on them.

UNet and ControlNet predict noise in Stable Diffusion 2's latents, conditioned on text (tags and
prompt), on the image tokens of the tagger, and on the control image in pixels.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from addsr_cli.models.bundle import PromptDefaults
from addsr_cli.models.restorer import Conditioning, Noise
from addsr_cli.models.seesr.dual_cross_attention import IMAGE_TOKENS
from addsr_cli.models.seesr.tagger import Tagger
from addsr_cli.models.seesr.text_encoder import TextEncoder, assemble
from addsr_cli.schedule import Schedule
from addsr_cli.schedulers import Scheduler
from addsr_cli.settings import PromptSettings


class SeeSR:
    """The ``Restorer`` of SeeSR and AddSR weights; all networks are in evaluation mode.

    They are on one device and in one dtype, except for the tagger, which is in float32.
    """

    exact_codec = False
    latent_control = False
    halo = None  # attention and group norms see the whole picture

    def __init__(
        self,
        *,
        unet: nn.Module,
        controlnet: nn.Module,
        vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
        text: TextEncoder,
        tagger: Tagger,
        prompt_defaults: PromptDefaults | None = None,
        scheduler: Scheduler = "consistency",
    ) -> None:
        self.unet = unet
        self.controlnet = controlnet
        self.vae = vae
        self.text = text
        self.tagger = tagger
        self.prompt_defaults = prompt_defaults or PromptDefaults()
        self.schedule = Schedule(prediction="epsilon", scheduler=scheduler)
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
        """Return the image (B, 3, 8h, 8w) of a scaled latent, float32, not clamped."""
        latent = self._placed(z / self.scaling_factor)
        picture: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return (picture.float() / 2 + 0.5).to(z.device)

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Read tags and image tokens in one pass of the tagger, and encode the prompts."""
        tokens, tags_read = self.tagger.read(photo)
        tags = {"auto": tags_read[0], "none": ""}.get(prompts.tags, prompts.tags)
        added = prompts.added_prompt
        if added is None:
            added = self.prompt_defaults.added_prompt
        negative = prompts.negative_prompt
        if negative is None:
            negative = self.prompt_defaults.negative_prompt
        guidance = 1.0 if prompts.guidance is None else prompts.guidance
        prompt = assemble(tags, prompts.prompt, added)
        excess = self.text.too_long(prompt)
        note = f"the prompt is {excess} tokens too long; its end was cut off"
        return Conditioning(
            text=self.text.encode(prompt),
            negative=self.text.encode(negative) if guidance > 1 else None,
            image=tokens,
            guidance=guidance,
            conditioning_scale=prompts.conditioning_scale,
            tags=tags,
            prompt=prompt,
            notes=(note,) if excess else (),
        )

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` with the image tokens of a refined image; the text stays."""
        return replace(cond, image=self.tagger.encode_image(image))

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Predict the noise, float32 (B, 4, h, w).

        With guidance the unconditional and the conditional branch run as one batch.
        """
        scale = cond.conditioning_scale
        if cond.negative is None:
            output = self._predict(z, t, control, cond.text, cond.image, scale)
            return output.to(z.device)
        batch = len(z)
        text = torch.cat([_rows(cond.negative, batch), _rows(cond.text, batch)])
        both = self._predict(
            z.repeat(2, 1, 1, 1),
            t.repeat(2),
            control.repeat(2, 1, 1, 1),
            text,
            cond.image,
            scale,
        )
        unconditional, conditional = both.chunk(2)
        return torch.lerp(unconditional, conditional, cond.guidance).to(z.device)

    def _predict(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        text: Tensor | None,
        image: Tensor | None,
        scale: float,
    ) -> Tensor:
        sample = self._placed(z)
        t = t.to(self._weight.device)
        conditioning = {
            "encoder_hidden_states": self._tokens(_rows(text, len(z))),
            "cross_attention_kwargs": {IMAGE_TOKENS: self._tokens(_rows(image, len(z)))},
            "return_dict": False,
        }
        down, middle = self.controlnet(
            sample,
            t,
            controlnet_cond=self._placed(control),
            conditioning_scale=scale,
            **conditioning,
        )
        output: Tensor = self.unet(
            sample,
            t,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **conditioning,
        )[0]
        return output.float()

    @property
    def _weight(self) -> Tensor:
        return next(self.unet.parameters())

    def _placed(self, picture: Tensor) -> Tensor:
        weight = self._weight
        return picture.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)

    def _tokens(self, tokens: Tensor) -> Tensor:
        weight = self._weight
        return tokens.to(weight.device, weight.dtype)


def _rows(tokens: Tensor | None, count: int) -> Tensor:
    """Repeat tokens for ``count`` samples: one sequence for all, or one per sample and branch."""
    if tokens is None:
        raise ValueError("this model needs text and image tokens: call describe first")
    if len(tokens) == 1:
        return tokens.expand(count, -1, -1)
    return tokens.repeat(count // len(tokens), 1, 1)
