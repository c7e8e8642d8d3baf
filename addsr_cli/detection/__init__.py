"""Where a photo shows faces and text: rectangles, and a smooth mask of them. No network, no torch.

Photos are looked at in a reduced copy, so that the cost hardly depends on their size.
"""

from addsr_cli.detection.areas import KINDS, Area, Kind, mask_of
from addsr_cli.detection.detector import detect

__all__ = ["KINDS", "Area", "Kind", "detect", "mask_of"]
