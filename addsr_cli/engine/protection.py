"""``--protect``: where a result has to follow its photo more closely."""

from pathlib import Path

import cv2
import numpy as np

from addsr_cli import imageio
from addsr_cli.damage import estimate
from addsr_cli.detection import Area, detect, mask_of
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray
from addsr_cli.settings import Settings

SOFTNESS = 0.004  # of the edges of a mask, standard deviation by its longer side
LEAST_DRIFT = 2.0  # of 255, what stays where a clean photo is protected
NOISE_SHARE = 2.0  # what stays in a noisy one, by the deviation of its noise: 95 % of that


def protection(photo: Photo, settings: Settings) -> tuple[FloatArray, tuple[Area, ...]]:
    """Return a mask (h, w) in [0, 1] of what is protected, and the areas that were detected.

    There are none where ``settings`` name a mask. Raises UnreadableInput when that is no picture.
    """
    if settings.protected_kinds:
        areas = detect(photo, settings.protected_kinds)
        return mask_of(areas, photo.size), tuple(areas)
    mask = imageio.read(Path(settings.protect)).rgb.mean(axis=2)
    # a soft edge of a few pixels, so that a mask of black and white leaves no seam
    softened = cv2.GaussianBlur(mask, (0, 0), max(1.0, SOFTNESS * max(mask.shape)))
    return np.asarray(softened, np.float32), ()


def protected_drift(photo: Photo) -> float:
    """Return how far protected parts may depart from the photo, in 1/255: as far as its noise."""
    return max(LEAST_DRIFT, NOISE_SHARE * estimate(photo).noise)
