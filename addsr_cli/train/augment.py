"""More kinds of pictures out of the photos at hand.

A folder of sharp, detailed crops teaches that everything fine is texture: a network trained on it alone keeps the noise
of a photo's smooth parts. So some crops are taken from further away, and some are thrown out of focus, wholly or behind
a soft border as in a shallow depth of field; what the network must give back is the smooth picture.
"""

import cv2
import numpy as np

from addsr_cli.degradation import Array
from addsr_cli.imageio import resize

DEFOCUS_ODDS, WHOLE_ODDS = 0.45, 0.4
SIGMA = (1.5, 10.0)  # of the blur, pixels
FURTHER_ODDS, FURTHEST = 0.4, 3.0


def defocus(image: Array, rng: np.random.Generator) -> Array:
    """``image`` (H, W, 3) in [0, 1], sometimes blurred, in whole or where a soft random mask says."""
    if rng.random() >= DEFOCUS_ODDS:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(*np.log(SIGMA)))))
    if rng.random() < WHOLE_ODDS:
        return np.asarray(blurred, dtype=np.float32)
    height, width = image.shape[:2]
    field = cv2.resize(rng.standard_normal((3, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    mask = (1 / (1 + np.exp(-6 * field)))[..., None].astype(np.float32)
    return np.asarray(mask * image + (1 - mask) * blurred, dtype=np.float32)


def crop(photo: np.ndarray, side: int, rng: np.random.Generator) -> Array:
    """Random square of an 8-bit photo (H, W, 3), turned and mirrored, float32 in [0, 1]; sometimes shrunk from more."""
    taken = side
    if rng.random() < FURTHER_ODDS:
        taken = min(*photo.shape[:2], round(side * rng.uniform(1, FURTHEST)))
    top, left = (int(rng.integers(0, length - taken + 1)) for length in photo.shape[:2])
    part = np.rot90(photo[top : top + taken, left : left + taken], k=int(rng.integers(0, 4)))
    part = part[:, ::-1] if rng.random() < 0.5 else part
    image = np.ascontiguousarray(part, dtype=np.float32) / np.float32(255)
    return image if taken == side else np.clip(resize(image, (side, side)), 0, 1)


def plain_crop(photo: np.ndarray, side: int, rng: np.random.Generator) -> Array:
    """Random square of an 8-bit photo (H, W, 3) as it is, mirrored half of the time, float32 in [0, 1] (AddSR's)."""
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    part = photo[top : top + side, left : left + side]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.ascontiguousarray(part, dtype=np.float32) / np.float32(255)
