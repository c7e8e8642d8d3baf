"""seesr: the networks of SeeSR, AddSR and SeeSR-Turbo, on Stable Diffusion 2."""

from addsr_cli.models.seesr.architecture import ARCHITECTURE

__all__ = ["ARCHITECTURE"]
