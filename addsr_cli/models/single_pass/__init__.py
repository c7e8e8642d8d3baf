"""Networks that upscale in one pass, without steps or prompts."""

from addsr_cli.models.single_pass.architecture import ARCHITECTURE

__all__ = ["ARCHITECTURE"]
