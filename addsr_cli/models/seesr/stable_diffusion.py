"""What the restorers on Stable Diffusion 2 share: its VAE, its prompts, and where tensors go."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from addsr_cli.models.bundle import PromptDefaults
from addsr_cli.models.restorer import Conditioning, Noise
from addsr_cli.models.seesr.text_encoder import TextEncoder
from addsr_cli.settings import PromptSettings

if TYPE_CHECKING:
    from addsr_cli.models.stablesr.fused_decoder import FusedDecoder


class StableDiffusion:
    """Encoding, decoding and text of a ``Restorer`` whose latents are Stable Diffusion's.

    All networks are in evaluation mode, on one device and in one dtype: those of ``_weight``. With
    ``fused`` the decoder reads the canvas too; ``fidelity`` is the share that it takes from it
    where the user asks for none.
    """

    exact_codec = False
    halo = None  # attention and group norms see the whole picture

    def __init__(
        self,
        *,
        vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
        text: TextEncoder,
        prompt_defaults: PromptDefaults,
        fused: "FusedDecoder | None" = None,
        fidelity: float | None = None,
    ) -> None:
        self.vae = vae
        self.fused = fused
        self.fidelity = fidelity
        self.notes: tuple[str, ...] = ()  # remarks for the user, about the networks
        self.text = text
        self.prompt_defaults = prompt_defaults
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
        picture = self._decoded(latent, canvas, cond)
        return (picture.float() / 2 + 0.5).to(z.device)

    def assemble(
        self,
        tags: str,
        prompt: str,
        added: str,
    ) -> str:
        """Return the whole prompt."""
        raise NotImplementedError

    def _decoded(
        self,
        latent: Tensor,
        canvas: Tensor | None,
        cond: Conditioning | None,
    ) -> Tensor:
        """Return the picture in [-1, 1] of an unscaled latent.

        With a fused decoder, features of the canvas enter, weighted by the fidelity.
        """
        weight = self.fidelity
        if cond is not None and cond.fidelity is not None:
            weight = cond.fidelity
        if self.fused is None or canvas is None or not weight:
            picture: Tensor = self.vae.decode(latent, return_dict=False)[0]
            return picture
        return self.fused.decode(self.vae, latent, self._placed(canvas * 2 - 1), weight)

    def _read_prompts(self, prompts: PromptSettings, tags: str) -> Conditioning:
        """Encode the prompts with ``tags``; the bundle's defaults stand in for what is not set."""
        added = prompts.added_prompt
        if added is None:
            added = self.prompt_defaults.added_prompt
        negative = prompts.negative_prompt
        if negative is None:
            negative = self.prompt_defaults.negative_prompt
        guidance = 1.0 if prompts.guidance is None else prompts.guidance
        prompt = self.assemble(tags, prompts.prompt, added)
        excess = self.text.too_long(prompt)
        too_long = f"the prompt is {excess} tokens too long; its end was cut off"
        return Conditioning(
            text=self.text.encode(prompt),
            negative=self.text.encode(negative) if guidance > 1 else None,
            guidance=guidance,
            fidelity=None if self.fused is None else self.fidelity,
            tags=tags,
            prompt=prompt,
            notes=(*self.notes, *((too_long,) if excess else ())),
        )

    @property
    def _weight(self) -> Tensor:
        """A weight of the network that denoises."""
        raise NotImplementedError

    def _placed(self, picture: Tensor) -> Tensor:
        weight = self._weight
        return picture.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)

    def _tokens(self, tokens: Tensor) -> Tensor:
        weight = self._weight
        return tokens.to(weight.device, weight.dtype)
