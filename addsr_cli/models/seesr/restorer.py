"""SeeSR's networks behind the ``Restorer`` face: what AddSR, SeeSR and their relatives run on.

UNet and ControlNet predict noise in Stable Diffusion 2's latents, told by text (tags and prompt),
by the image tokens of the tagger, and by the control image in pixels. The formulas between two
predictions live in ``Schedule``.
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
    """The ``Restorer`` of SeeSR and AddSR weights; every part is in evaluation mode, on one device.

    All are in one type but the tagger, which is in float32.
    """

    exact_codec = False
    halo = None  # attention and group norms look at everything

    def __init__(
        self,
        *,
        unet: nn.Module,
        controlnet: nn.Module,
        vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
        text: TextEncoder,
        tagger: Tagger,
        prompt_defaults: PromptDefaults | None = None,
        scheduler: Scheduler = "renoise",
    ) -> None:
        self.unet, self.controlnet, self.vae, self.text, self.tagger = (
            unet,
            controlnet,
            vae,
            text,
            tagger,
        )
        self.prompt_defaults = prompt_defaults or PromptDefaults()
        self.schedule = Schedule(prediction="epsilon", rule=scheduler)
        self.scaling_factor = float(vae.config.scaling_factor)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """[0,1] image (B, 3, H, W) -> ``mean + std * noise``, scaled, float32 (B, 4, H/8, W/8)."""
        posterior = self.vae.encode(self._placed(image * 2 - 1)).latent_dist
        z = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise(z.shape).to(z.device)
        return (z * self.scaling_factor).to(image.device)

    def decode(self, z: Tensor) -> Tensor:
        """Scaled latent -> [0,1] image (B, 3, 8h, 8w), float32, not clamped."""
        picture: Tensor = self.vae.decode(self._placed(z / self.scaling_factor), return_dict=False)[
            0
        ]
        return (picture.float() / 2 + 0.5).to(z.device)

    def describe(self, photo: Tensor, guide: PromptSettings) -> Conditioning:
        """One pass of the tagger gives tags and image tokens; tags and prompt become text tokens."""
        tokens, found = self.tagger.read(photo)
        tags = {"auto": found[0], "none": ""}.get(guide.tags, guide.tags)
        added = (
            self.prompt_defaults.added_prompt if guide.added_prompt is None else guide.added_prompt
        )
        negative = (
            self.prompt_defaults.negative_prompt
            if guide.negative_prompt is None
            else guide.negative_prompt
        )
        prompt = assemble(tags, guide.prompt, added)
        guidance = 1.0 if guide.guidance is None else guide.guidance
        cut = self.text.too_long(prompt)
        note = f"the prompt is {cut} tokens too long; its end was cut off"
        return Conditioning(
            text=self.text.encode(prompt),
            negative=self.text.encode(negative) if guidance > 1 else None,
            image=tokens,
            guidance=guidance,
            conditioning_scale=guide.conditioning_scale,
            tags=tags,
            prompt=prompt,
            notes=(note,) if cut else (),
        )

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Image tokens of the refined picture; words stay."""
        return replace(cond, image=self.tagger.encode_image(image))

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Noise prediction, float32 (B, 4, h, w). Under guidance both branches go through in one batch."""
        if cond.negative is None:
            return self._predict(z, t, control, cond.text, cond.image, cond.conditioning_scale).to(
                z.device
            )
        batch, text = len(z), torch.cat([_rows(cond.negative, len(z)), _rows(cond.text, len(z))])
        both = self._predict(
            z.repeat(2, 1, 1, 1),
            t.repeat(2),
            control.repeat(2, 1, 1, 1),
            text,
            cond.image,
            cond.conditioning_scale,
        )
        without, told = both[:batch], both[batch:]
        return torch.lerp(without, told, cond.guidance).to(z.device)

    def _predict(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        text: Tensor | None,
        image: Tensor | None,
        scale: float,
    ) -> Tensor:
        device = self._weight.device
        sample, t = self._placed(z), t.to(device)
        words, tokens = (self._tokens(_rows(each, len(z))) for each in (text, image))
        told = {
            "encoder_hidden_states": words,
            "cross_attention_kwargs": {IMAGE_TOKENS: tokens},
            "return_dict": False,
        }
        down, middle = self.controlnet(
            sample,
            t,
            controlnet_cond=self._placed(control),
            conditioning_scale=scale,
            **told,
        )
        output: Tensor = self.unet(
            sample,
            t,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **told,
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
    """Tokens for every sample of a batch: the same for all, or those of each, once per guidance branch."""
    if tokens is None:
        raise ValueError("this model needs text and image tokens: call describe first")
    return (
        tokens.expand(count, -1, -1)
        if len(tokens) == 1
        else tokens.repeat(count // len(tokens), 1, 1)
    )
