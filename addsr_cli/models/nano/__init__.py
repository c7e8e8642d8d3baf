"""nano: the small networks that ship with the package."""

from addsr_cli.models.nano.architecture import ARCHITECTURE

__all__ = ["ARCHITECTURE"]
