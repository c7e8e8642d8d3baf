"""Draw docs/demo.png, and docs/beside-PHOTO.jpg for three photos that scikit-image carries.

Run it from the repository root: ``python docs/demo.py --peer NAME=FILE``. Peers are networks of
others, as files that ``--model`` takes; each gets a column in the pictures beside.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import skimage
from PIL import Image, ImageDraw

from addsr_cli import Settings, Upscaler

SCALE = 4
LABEL_HEIGHT = 28
GAP = 10
QUALITY = 85  # of the JPEG files that are enlarged

Box = tuple[int, int, int, int]  # left, top, right, bottom in the enlarged photo

EXAMPLE = Path("examples/cat.jpg")
EXAMPLE_CROP: Box = (190, 60, 510, 380)
# Chelsea by S. van der Walt and coffee by R. Michetti are CC0; NASA's portrait is public domain.
PHOTOS: dict[str, Box] = {
    "chelsea": (120, 40, 360, 280),
    "coffee": (190, 90, 430, 330),
    "astronaut": (120, 20, 360, 260),
}

Column = tuple[str, Image.Image]  # label, enlarged photo


def main() -> None:
    """Enlarge the photos and paste the crops side by side."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE")
    peers = [argument.partition("=")[::2] for argument in parser.parse_args().peer]
    draw_example()
    models = [("nano", "nano"), ("small", "small"), *peers]
    upscalers = {name: Upscaler(model) for name, model in models}
    for photo, crop in PHOTOS.items():
        draw_beside(photo, crop, upscalers)


def draw_example() -> None:
    """Draw the example photo: bicubic, nano and small."""
    photo = Image.open(EXAMPLE).convert("RGB")
    columns = [
        ("bicubic", bicubic(photo)),
        ("nano", Upscaler("nano").upscale(photo).image),
        ("small", Upscaler("small").upscale(photo).image),
    ]
    sheet(columns, EXAMPLE_CROP).save("docs/demo.png", optimize=True)


def draw_beside(
    name: str,
    crop: Box,
    upscalers: dict[str, Upscaler],
) -> None:
    """Shrink a photo to a quarter, save it as JPEG, and enlarge that with every model."""
    photo = damaged(Path(skimage.data_dir) / f"{name}.png")
    columns = [("bicubic", bicubic(photo))]
    for label, upscaler in upscalers.items():
        result = upscaler.upscale(photo, Settings(scale=SCALE)).image
        columns.append((label, result))
    sheet(columns, crop).save(f"docs/beside-{name}.jpg", quality=92, subsampling=0)


def damaged(path: Path) -> Image.Image:
    """Return a photo as a small JPEG file holds it."""
    photo = Image.open(path).convert("RGB").reduce(SCALE)
    with BytesIO() as file:
        photo.save(file, "JPEG", quality=QUALITY)
        return Image.open(file).convert("RGB")


def bicubic(photo: Image.Image) -> Image.Image:
    """Return the plain enlargement."""
    return photo.resize((SCALE * photo.width, SCALE * photo.height), Image.Resampling.BICUBIC)


def sheet(columns: Sequence[Column], crop: Box) -> Image.Image:
    """Return the crops of all columns at 100 %, with their labels above."""
    side = crop[2] - crop[0]
    size = (len(columns) * (side + GAP) - GAP, side + LABEL_HEIGHT)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, (label, picture) in enumerate(columns):
        left = column * (side + GAP)
        canvas.paste(picture.crop(crop), (left, LABEL_HEIGHT))
        draw.text((left + 4, 4), label, fill="black", font_size=17)
    return canvas


if __name__ == "__main__":
    main()
