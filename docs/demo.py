"""Draw docs/demo.png: a crop of the example photo, enlarged by bicubic, nano and small.

Run it from the repository root: ``python docs/demo.py``.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from addsr_cli import Upscaler

PHOTO = Path("examples/cat.jpg")
SCALE = 4
CROP = (190, 60, 510, 380)  # left, top, right, bottom in the enlarged photo
LABELS = ("bicubic", "nano", "small")
LABEL_HEIGHT = 28
GAP = 10


def main() -> None:
    """Enlarge the photo three ways and paste the crops side by side."""
    photo = Image.open(PHOTO).convert("RGB")
    size = (SCALE * photo.width, SCALE * photo.height)
    pictures = [
        photo.resize(size, Image.Resampling.BICUBIC),
        Upscaler("nano").upscale(photo).image,
        Upscaler("small").upscale(photo).image,
    ]
    side = CROP[2] - CROP[0]
    sheet = Image.new("RGB", (3 * side + 2 * GAP, side + LABEL_HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (picture, label) in enumerate(zip(pictures, LABELS, strict=True)):
        left = column * (side + GAP)
        sheet.paste(picture.crop(CROP), (left, LABEL_HEIGHT))
        draw.text((left + 4, 4), label, fill="black", font_size=17)
    sheet.save("docs/demo.png", optimize=True)


if __name__ == "__main__":
    main()
