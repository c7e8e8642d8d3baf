"""stablesr: the networks of StableSR and StableSR-Turbo, on Stable Diffusion 2.1."""

from addsr_cli.models.stablesr.architecture import ARCHITECTURE

__all__ = ["ARCHITECTURE"]
