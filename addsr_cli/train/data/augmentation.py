"""Random crops, defocus and drawn text.

A network trained on sharp, detailed crops alone takes all fine structure for texture, and keeps the
noise in smooth parts of a photo. Some crops are therefore downscaled from larger ones, and some are
defocused, entirely or behind a soft border as with a shallow depth of field. Text is drawn on some,
because few photos have any.
"""

import string
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from addsr_cli.degradation_recipes import Array
from addsr_cli.imageio import resize

DEFOCUS_PROBABILITY = 0.2
FULL_DEFOCUS_PROBABILITY = 0.4  # of those
DEFOCUS_SIGMA = (1.5, 10.0)  # pixels
DOWNSCALE_PROBABILITY = 0.4
MAX_DOWNSCALE = 3.0
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
    """Blur ``image`` (H, W, 3) in [0, 1] sometimes, entirely or through a soft random mask."""
    if rng.random() >= DEFOCUS_PROBABILITY:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(*np.log(DEFOCUS_SIGMA)))))
    if rng.random() < FULL_DEFOCUS_PROBABILITY:
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
    """Draw lines of random letters, 10 to 70 px high, on ``image`` (H, W, 3) in [0, 1].

    Half of the time plain paper replaces the image.
    """
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
    """Return one of the system's fonts, or Pillow's own if there are none."""
    paths = _font_paths()
    if not paths:
        return ImageFont.load_default(size)
    return ImageFont.truetype(paths[int(rng.integers(len(paths)))], size)


@cache
def _font_paths() -> tuple[str, ...]:
    paths = [path for folder in FONT_FOLDERS for path in Path(folder).rglob("*.ttf")]
    return tuple(sorted(str(path) for path in paths if path.stem.startswith(FONT_FAMILIES)))


def crop(
    photo: np.ndarray,
    side: int,
    rng: np.random.Generator,
) -> Array:
    """Return a random square of an 8-bit photo (H, W, 3), rotated and flipped, float32 in [0, 1].

    It is sometimes downscaled from a larger square.
    """
    size = side
    if rng.random() < DOWNSCALE_PROBABILITY:
        size = min(*photo.shape[:2], round(side * rng.uniform(1, MAX_DOWNSCALE)))
    top, left = (int(rng.integers(0, length - size + 1)) for length in photo.shape[:2])
    part = np.rot90(photo[top : top + size, left : left + size], k=int(rng.integers(0, 4)))
    part = part[:, ::-1] if rng.random() < 0.5 else part
    image = np.ascontiguousarray(part, dtype=np.float32) / np.float32(255)
    return image if size == side else np.clip(resize(image, (side, side)), 0, 1)


def plain_crop(
    photo: np.ndarray,
    side: int,
    rng: np.random.Generator,
) -> Array:
    """Return a random square of an 8-bit photo (H, W, 3), float32 in [0, 1], as AddSR does.

    It is flipped half of the time.
    """
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    part = photo[top : top + side, left : left + side]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.ascontiguousarray(part, dtype=np.float32) / np.float32(255)
