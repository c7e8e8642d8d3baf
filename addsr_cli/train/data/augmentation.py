"""More kinds of pictures out of the photos at hand.

A folder of sharp, detailed crops teaches that everything fine is texture: a network trained on it
alone keeps the noise of a photo's smooth parts. So some crops are taken from further away, and some
are thrown out of focus, wholly or behind a soft border as in a shallow depth of field; what the
network must give back is the smooth picture. Text is drawn on some, since few photos have any.
"""

import string
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from addsr_cli.degradation import Array
from addsr_cli.imageio import resize

DEFOCUS_ODDS, WHOLE_ODDS = 0.2, 0.4
SIGMA = (1.5, 10.0)  # of the blur, pixels
FURTHER_ODDS, FURTHEST = 0.4, 3.0
LETTER_HEIGHTS = (10, 70)  # pixels
LETTERS = 2 * string.ascii_letters + string.digits + 12 * " " + ".,:;-()/&%$!?"
FONT_FOLDERS = ("/usr/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")
FONT_FAMILIES = (
    "DejaVu",
    "Liberation",
    "Lato-",
    "Roboto",
    "NotoSans-",
    "NotoSerif-",
    "Arial",
    "Times",
)


def defocus(image: Array, rng: np.random.Generator) -> Array:
    """``image`` (H, W, 3) in [0, 1], sometimes blurred, in whole or where a soft random mask says."""
    if rng.random() >= DEFOCUS_ODDS:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(*np.log(SIGMA)))))
    if rng.random() < WHOLE_ODDS:
        return np.asarray(blurred, dtype=np.float32)
    height, width = image.shape[:2]
    field = cv2.resize(
        rng.standard_normal((3, 3), dtype=np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    mask = (1 / (1 + np.exp(-6 * field)))[..., None].astype(np.float32)
    return np.asarray(mask * image + (1 - mask) * blurred, dtype=np.float32)


def lettering(image: Array, rng: np.random.Generator) -> Array:
    """Lines of random letters over ``image`` (H, W, 3) in [0, 1], or on plain paper in its place; 10 to 70 px high."""
    height, width = image.shape[:2]
    paper = rng.random() < 0.5
    if paper:
        shade = rng.uniform(0.6, 1, 3) if rng.random() < 0.7 else rng.uniform(0, 0.4, 3)
        image = np.broadcast_to(shade.astype(np.float32), image.shape)
    dark = bool(image.mean() > 0.5)
    canvas = Image.fromarray(np.round(image * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    top = float(rng.integers(-10, 20))
    while top < height:
        size = int(np.exp(rng.uniform(*np.log(LETTER_HEIGHTS))))
        ink = rng.uniform(0, 0.35, 3) if dark else rng.uniform(0.65, 1, 3)
        letters = rng.choice(list(LETTERS), size=int(rng.integers(2, 30)))
        left = int(rng.integers(-20, max(1, width // 2)))
        draw.text(
            (left, top),
            "".join(letters),
            fill=tuple((ink * 255).astype(int).tolist()),
            font=_font(rng, size),
        )
        top += size * rng.uniform(1, 1.8)
    return np.asarray(canvas, dtype=np.float32) / np.float32(255)


def _font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One of the system's fonts, or Pillow's own where there are none."""
    known = _fonts()
    if not known:
        return ImageFont.load_default(size)
    return ImageFont.truetype(known[int(rng.integers(len(known)))], size)


@cache
def _fonts() -> tuple[str, ...]:
    found = (path for folder in FONT_FOLDERS for path in Path(folder).rglob("*.ttf"))
    return tuple(sorted(str(path) for path in found if path.stem.startswith(FONT_FAMILIES)))


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
