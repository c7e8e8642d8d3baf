"""Draw docs/failures.jpg: what nano does to a face, lettering, sky, noise, JPEG blocks and a drawing.

Run it from the repository: ``python docs/failures.py`` (needs scikit-image, which carries the
photos: ``astronaut`` by NASA, ``rocket`` by SpaceX and ``chelsea`` by Stefan van der Walt, all
public domain or CC0; the rest is drawn here). Every row: the input enlarged by bicubic
interpolation, nano in 1 and in 4 steps, and the original.
"""

import io

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from addsr_cli import Settings, Upscaler

SIDE, SCALE = 192, 4
GAP, TOP, LEFT = 6, 24, 96
COLUMNS = ("bicubic", "nano, 1 step", "nano, 4 steps", "original")


def main() -> None:
    """Degrade, restore and lay out."""
    rows = {
        "face": (photo(data.astronaut(), 150, 20), shrunk),
        "lettering": (lettering(), shrunk),
        "sky": (photo(data.rocket(), 330, 60), compressed),
        "noise": (photo(data.chelsea(), 130, 40), noisy),
        "JPEG blocks": (photo(data.astronaut(), 320, 250), compressed),
        "drawing": (drawing(), compressed),
    }
    upscaler = Upscaler("nano")
    sheet = Image.new("RGB", (LEFT + 4 * (SIDE + GAP), TOP + len(rows) * (SIDE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(COLUMNS):
        draw.text((LEFT + column * (SIDE + GAP), 4), label, fill="black", font_size=15)
    for row, (label, (original, damage)) in enumerate(rows.items()):
        top = TOP + row * (SIDE + GAP)
        draw.text((4, top + SIDE // 2), label, fill="black", font_size=15)
        small = damage(original)
        pictures = [small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)]
        pictures += [
            upscaler.upscale(small, Settings(steps=steps)).photo.to_pil() for steps in (1, 4)
        ]
        for column, picture in enumerate([*pictures, original]):
            sheet.paste(picture, (LEFT + column * (SIDE + GAP), top))
    sheet.save("docs/failures.jpg", quality=92, subsampling=0, optimize=True)


def photo(pixels: np.ndarray, left: int, top: int) -> Image.Image:
    """A square of a photo."""
    return Image.fromarray(pixels).convert("RGB").crop((left, top, left + SIDE, top + SIDE))


def lettering() -> Image.Image:
    """Lines of type from large to small."""
    page = Image.new("RGB", (SIDE, SIDE), (244, 240, 230))
    draw, y = ImageDraw.Draw(page), 6
    for size in (40, 30, 24, 20, 16, 13, 11):
        draw.text((8, y), "Hamburg 1897", fill=(30, 30, 60), font_size=size)
        y += size + 5
    return page


def drawing() -> Image.Image:
    """A face in flat colours with dark outlines, drawn large and reduced for smooth edges."""
    big = Image.new("RGB", (4 * SIDE, 4 * SIDE), (150, 205, 235))
    draw = ImageDraw.Draw(big)
    draw.ellipse((120, 60, 650, 620), fill=(60, 40, 80), outline=(20, 10, 30), width=10)
    draw.ellipse((190, 150, 580, 640), fill=(252, 224, 200), outline=(40, 20, 30), width=8)
    draw.polygon(
        [(180, 330), (230, 130), (300, 290), (390, 120), (430, 300), (520, 140), (590, 340)],
        fill=(60, 40, 80),
    )
    for x in (270, 430):
        draw.ellipse((x, 350, x + 80, 470), fill="white", outline=(30, 20, 40), width=8)
        draw.ellipse((x + 18, 375, x + 66, 465), fill=(70, 140, 90))
        draw.ellipse((x + 30, 385, x + 52, 415), fill="white")
    draw.arc((340, 500, 440, 570), 20, 160, fill=(150, 50, 60), width=8)
    return big.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def shrunk(picture: Image.Image) -> Image.Image:
    """A quarter as large."""
    return picture.resize((SIDE // SCALE, SIDE // SCALE), Image.Resampling.BICUBIC)


def noisy(picture: Image.Image) -> Image.Image:
    """A quarter as large, with Gaussian noise of 20/255."""
    small = np.asarray(shrunk(picture), np.float32)
    dirty = small + np.random.default_rng(0).normal(0, 20, small.shape)
    return Image.fromarray(np.clip(dirty, 0, 255).astype(np.uint8))


def compressed(picture: Image.Image) -> Image.Image:
    """A quarter as large, as JPEG of quality 30."""
    file = io.BytesIO()
    shrunk(picture).save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    main()
