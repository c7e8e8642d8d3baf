"""Draw docs/trust_map.png: a face enlarged by nano, and the map of what was invented in it.

Run it from the repository root: ``python docs/trust_map.py``. It needs scikit-image, which carries
the photo: ``astronaut`` by NASA, in the public domain.
"""

from PIL import Image, ImageDraw
from skimage import data

from addsr_cli import Settings, Upscaler

LEFT, TOP, SIDE = 130, 0, 256  # of the part of the photo that is shown
REDUCTION = 2
LABEL_HEIGHT = 26
GAP = 8


def main() -> None:
    """Shrink a part of the photo, enlarge it by nano, and paste input, result and map."""
    part = Image.fromarray(data.astronaut()).crop((LEFT, TOP, LEFT + SIDE, TOP + SIDE))
    low = part.resize((SIDE // REDUCTION, SIDE // REDUCTION), Image.Resampling.BICUBIC)
    result = Upscaler("nano").upscale(low, Settings(trust_map=True))
    invented = f"invented detail: {100 * result.trust.invented:.1f} %"
    pictures = {
        "photo": low.resize((SIDE, SIDE), Image.Resampling.NEAREST),
        "addsr, nano": result.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS),
        invented: Image.fromarray(result.trust.picture).resize(
            (SIDE, SIDE), Image.Resampling.BILINEAR
        ),
    }
    width = 3 * SIDE + 2 * GAP
    sheet = Image.new("RGB", (width, SIDE + LABEL_HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (label, picture) in enumerate(pictures.items()):
        sheet.paste(picture, (column * (SIDE + GAP), LABEL_HEIGHT))
        draw.text((column * (SIDE + GAP) + 4, 4), label, fill="black", font_size=16)
    sheet.save("docs/trust_map.png", optimize=True)


if __name__ == "__main__":
    main()
