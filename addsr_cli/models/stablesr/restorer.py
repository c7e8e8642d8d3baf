"""StableSR's networks as a ``Restorer``: StableSR, StableSR-Turbo and StableSR-768v run on them.

The control is the LR latent: one draw of the canvas's latent, which the time-aware encoder reads at
every step. Text is the empty prompt unless the user gives one.
"""

from typing import Any

import torch
from torch import Tensor

from addsr_cli.models.bundle import PromptDefaults
from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.seesr.stable_diffusion import StableDiffusion
from addsr_cli.models.seesr.text_encoder import TextEncoder
from addsr_cli.models.stablesr.conditioned_unet import ConditionedUNet
from addsr_cli.models.stablesr.fused_decoder import FusedDecoder
from addsr_cli.schedule import Prediction, Schedule
from addsr_cli.settings import PromptSettings


class StableSR(StableDiffusion):
    """The ``Restorer`` of StableSR's weights; all networks are in evaluation mode.

    They are on one device and in one dtype.
    """

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
        super().__init__(
            vae=vae,
            text=text,
            prompt_defaults=prompt_defaults or PromptDefaults(added_prompt=""),
            fused=fused,
            fidelity=fidelity,
        )
        self.unet = unet
        self.schedule = Schedule(prediction=prediction, scheduler="linspace")

    def describe(self, photo: Tensor, prompts: PromptSettings) -> Conditioning:
        """Encode the prompts; nothing is read from the photo."""
        tags = "" if prompts.tags in ("auto", "none") else prompts.tags
        return self._read_prompts(prompts, tags)

    def assemble(
        self,
        tags: str,
        prompt: str,
        added: str,
    ) -> str:
        """Join what there is: the official prompt is empty."""
        return ", ".join(part for part in (tags, prompt, added) if part)

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
        text = self._tokens(cond.text).expand(batch, -1, -1)
        if cond.negative is None:
            return self.unet(sample, t, text, maps).float().to(z.device)
        both = self.unet(
            torch.cat([sample, sample]),
            torch.cat([t, t]),
            torch.cat([self._tokens(cond.negative).expand(batch, -1, -1), text]),
            [torch.cat([each, each]) for each in maps],
        ).float()
        unconditional, conditional = both.chunk(2)
        return torch.lerp(unconditional, conditional, cond.guidance).to(z.device)

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = next(self.unet.unet.parameters())
        return weight
