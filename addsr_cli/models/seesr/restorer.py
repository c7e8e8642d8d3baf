"""SeeSR's networks as a ``Restorer``: AddSR, SeeSR and SeeSR-Turbo run on them.

UNet and ControlNet predict noise in Stable Diffusion 2's latents, conditioned on text (tags and
prompt), on the image tokens of the tagger, and on the control image in pixels.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from addsr_cli.models.bundle import PromptDefaults
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.seesr import official_decoder
from addsr_cli.models.seesr.dual_cross_attention import IMAGE_TOKENS
from addsr_cli.models.seesr.stable_diffusion import StableDiffusion
from addsr_cli.models.seesr.tagger import Tagger
from addsr_cli.models.seesr.text_encoder import TextEncoder, assemble
from addsr_cli.schedule import Schedule
from addsr_cli.schedulers import Scheduler
from addsr_cli.settings import PromptSettings


class SeeSR(StableDiffusion):
    """The ``Restorer`` of SeeSR and AddSR weights; all networks are in evaluation mode.

    They are on one device and in one dtype, except for the tagger, which is in float32.
    """

    latent_control = False
    decoder_tile = official_decoder.TILE

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
        super().__init__(
            vae=vae,
            text=text,
            prompt_defaults=prompt_defaults or PromptDefaults(),
        )
        self.unet = unet
        self.controlnet = controlnet
        self.tagger = tagger
        self.schedule = Schedule(prediction="epsilon", scheduler=scheduler)

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Read tags and image tokens in one pass of the tagger, and encode the prompts."""
        tokens, tags_read = self.tagger.read(photo)
        tags = {"auto": tags_read[0], "none": ""}.get(prompts.tags, prompts.tags)
        return replace(
            self._read_prompts(prompts, tags),
            image=tokens,
            conditioning_scale=prompts.conditioning_scale,
        )

    def assemble(
        self,
        tags: str,
        prompt: str,
        added: str,
    ) -> str:
        """Join tags, prompt and quality words like the official code."""
        return assemble(tags, prompt, added)

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Return ``cond`` with the image tokens of a refined image; the text stays."""
        return replace(cond, image=self.tagger.encode_image(image))

    def _decoded(
        self,
        latent: Tensor,
        canvas: Tensor | None,
        cond: Conditioning | None,
    ) -> Tensor:
        """Decode in one piece or, where that is asked for, in the official code's tiles.

        Tiles wait for one another where the canvas is.
        """
        if cond is None or not cond.official_tiles:
            return super()._decoded(latent, canvas, cond)
        return official_decoder.decode(
            self.vae,
            latent,
            tile=self.decoder_tile,
            waiting=None if canvas is None else canvas.device,
        )

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


def _rows(tokens: Tensor | None, count: int) -> Tensor:
    """Repeat tokens for ``count`` samples: one sequence for all, or one per sample and branch."""
    if tokens is None:
        raise ValueError("this model needs text and image tokens: call describe first")
    if len(tokens) == 1:
        return tokens.expand(count, -1, -1)
    return tokens.repeat(count // len(tokens), 1, 1)
