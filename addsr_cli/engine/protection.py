"""``--protect``: where a result has to follow its photo more closely."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from addsr_cli import imageio
from addsr_cli.damage import estimate
from addsr_cli.detection import Area, detect, mask_of
from addsr_cli.engine.drift import follow
from addsr_cli.engine.letters import sharpen_letters
from addsr_cli.engine.provenance import digest_of
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import FloatArray, Samples
from addsr_cli.settings import Settings

SOFTNESS = 0.004  # of the edges of a mask, standard deviation by its longer side
LEAST_DRIFT = 2.0  # of 255, what stays where a clean photo is protected
NOISE_SHARE = 2.0  # what stays in a noisy one, by the deviation of its noise: 95 % of that


@dataclass(frozen=True, kw_only=True, eq=False)
class Protection:
    """What is protected: a ``mask`` (h, w) in [0, 1], of any size.

    ``areas`` are those that were detected; ``sha256`` is that of the pixels of the user's own mask.
    One of the two is empty.
    """

    mask: FloatArray
    areas: tuple[Area, ...] = ()
    sha256: str = ""


def protect(
    samples: Samples,
    photo: Photo,
    settings: Settings,
    bit_depth: int,
) -> Protection:
    """Bring the protected parts of samples (H, W, 1 or 3; uint16) to an opaque photo, in place.

    Lines of text are brought to their two tones too. ``bit_depth`` is that of the file. Raises
    UnreadableInput when ``settings`` name a mask that is no picture.
    """
    parts = protection(photo, settings)
    noise = estimate(photo).noise
    bound = max(LEAST_DRIFT, NOISE_SHARE * noise)
    lines = [area for area in parts.areas if area.kind == "text"]
    sharpen_letters(samples, photo, lines, max(LEAST_DRIFT, noise), noise)
    follow(samples, photo, parts.mask, bound, bit_depth)
    return parts


def protection(photo: Photo, settings: Settings) -> Protection:
    """Return what ``settings`` protect in a photo.

    Raises UnreadableInput when they name a mask that is no picture.
    """
    if settings.protected_kinds:
        areas = detect(photo, settings.protected_kinds)
        return Protection(mask=mask_of(areas, photo.size), areas=tuple(areas))
    picture = imageio.read(Path(settings.protect))
    mask = picture.rgb.mean(axis=2)
    # a soft edge of a few pixels, so that a mask of black and white leaves no seam
    softened = cv2.GaussianBlur(mask, (0, 0), max(1.0, SOFTNESS * max(mask.shape)))
    return Protection(mask=np.asarray(softened, np.float32), sha256=digest_of(picture))
