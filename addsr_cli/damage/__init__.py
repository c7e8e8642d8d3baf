"""How damaged a photo is: noise, JPEG compression and blur, from its own pixels. No torch.

Squares that are spread over a photo are looked at, so that the cost hardly depends on its size.
"""

from addsr_cli.damage.estimate import Damage, estimate

__all__ = ["Damage", "estimate"]
