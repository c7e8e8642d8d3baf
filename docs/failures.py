"""Draw docs/failures.jpg: nano and small on a face, lettering, sky, noise, JPEG and a drawing.

Run it from the repository root: ``python docs/failures.py``. It needs scikit-image, which carries
the photos: ``astronaut`` by NASA, ``rocket`` by SpaceX and ``chelsea`` by Stefan van der Walt, all
public domain or CC0. Lettering and drawing are drawn here. Each row shows the input enlarged by
bicubic interpolation, by nano and by small, and the original.
"""

import io

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from addsr_cli import Upscaler

SIDE = 192
SCALE = 4
GAP = 6
TOP = 24
LEFT = 96
COLUMNS = ("bicubic", "nano", "small", "original")


def main() -> None:
    """Degrade, restore and paste every example."""
    rows = {
        "face": (crop(data.astronaut(), 150, 20), downsample),
        "lettering": (lettering(), downsample),
        "sky": (crop(data.rocket(), 330, 60), compress),
        "noise": (crop(data.chelsea(), 130, 40), add_noise),
        "JPEG blocks": (crop(data.astronaut(), 320, 250), compress),
        "drawing": (drawing(), compress),
    }
    nano, small = Upscaler("nano"), Upscaler("small")
    sheet = Image.new("RGB", (LEFT + 4 * (SIDE + GAP), TOP + len(rows) * (SIDE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(COLUMNS):
        draw.text((LEFT + column * (SIDE + GAP), 4), label, fill="black", font_size=15)
    for row, (label, (original, degrade)) in enumerate(rows.items()):
        top = TOP + row * (SIDE + GAP)
        draw.text((4, top + SIDE // 2), label, fill="black", font_size=15)
        low = degrade(original)
        pictures = [
            low.resize((SIDE, SIDE), Image.Resampling.BICUBIC),
            nano.upscale(low).image,
            small.upscale(low).image,
            original,
        ]
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (LEFT + column * (SIDE + GAP), top))
    sheet.save("docs/failures.jpg", quality=92, subsampling=0, optimize=True)


def crop(pixels: np.ndarray, left: int, top: int) -> Image.Image:
    """Return a square of a photo, ``SIDE`` pixels wide."""
    return Image.fromarray(pixels).convert("RGB").crop((left, top, left + SIDE, top + SIDE))


def lettering() -> Image.Image:
    """Return lines of type from large to small."""
    page = Image.new("RGB", (SIDE, SIDE), (244, 240, 230))
    draw = ImageDraw.Draw(page)
    y = 6
    for size in (40, 30, 24, 20, 16, 13, 11):
        draw.text((8, y), "Hamburg 1897", fill=(30, 30, 60), font_size=size)
        y += size + 5
    return page


def drawing() -> Image.Image:
    """Return a face in flat colours with dark outlines, reduced for smooth edges."""
    page = Image.new("RGB", (4 * SIDE, 4 * SIDE), (150, 205, 235))
    draw = ImageDraw.Draw(page)
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
    return page.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def downsample(picture: Image.Image) -> Image.Image:
    """Reduce a picture to a quarter of its size."""
    return picture.resize((SIDE // SCALE, SIDE // SCALE), Image.Resampling.BICUBIC)


def add_noise(picture: Image.Image) -> Image.Image:
    """Reduce a picture and add Gaussian noise with a deviation of 20/255."""
    low = np.asarray(downsample(picture), np.float32)
    noisy = low + np.random.default_rng(0).normal(0, 20, low.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def compress(picture: Image.Image) -> Image.Image:
    """Reduce a picture and compress it as JPEG of quality 30."""
    buffer = io.BytesIO()
    downsample(picture).save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
