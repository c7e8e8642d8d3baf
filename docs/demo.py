"""Draw docs/demo.png: a piece of the example photo, enlarged by bicubic interpolation and by nano in 1 and 4 steps.

Run it from the repository: ``python docs/demo.py``.
"""

from pathlib import Path

from PIL import Image, ImageDraw

from addsr_cli import Settings, Upscaler

PHOTO = Path("examples/cat.jpg")
PIECE = (190, 60, 510, 380)  # of the enlarged photo
LABELS = ("bicubic", "addsr, 1 step", "addsr, 4 steps")


def main() -> None:
    """Make the three pictures and lay them side by side."""
    photo = Image.open(PHOTO).convert("RGB")
    upscaler = Upscaler("nano")
    pictures = [photo.resize((4 * photo.width, 4 * photo.height), Image.Resampling.BICUBIC)]
    pictures += [upscaler.upscale(photo, Settings(steps=steps)).photo.to_pil() for steps in (1, 4)]
    side = PIECE[2] - PIECE[0]
    sheet = Image.new("RGB", (3 * side + 20, side + 28), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, LABELS, strict=True)):
        left = number * (side + 10)
        sheet.paste(picture.crop(PIECE), (left, 28))
        draw.text((left + 4, 4), label, fill="black", font_size=17)
    sheet.save("docs/demo.png", optimize=True)


if __name__ == "__main__":
    main()
