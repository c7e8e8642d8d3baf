"""Hold the trust map to the true error, and draw docs/trust_calibration.png.

``python docs/trust_calibration.py measure HR LR --name bicubic`` upscales every photo of the folder
LR by nano and compares its map with the error against the photo of the same stem in HR, in blocks
of 16 x 16 pixels; lines are added to docs/trust_calibration.csv. ``... draw`` draws that. It needs
SciPy.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from addsr_cli import Settings, Upscaler, imageio
from addsr_cli.engine.trust import CELL

TABLE = Path("docs/trust_calibration.csv")
FIELDS = ("input", "photo", "invented", "spearman", "tenth", "map", "error")
BLOCK = 16
TENTHS = 10
COLOURS = ((47, 111, 222), (217, 98, 43), (42, 157, 92))
SIDE, LEFT, BOTTOM, TOP = 360, 60, 44, 12


def main() -> None:
    """Measure or draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("hr", type=Path)
    measuring.add_argument("lr", type=Path)
    measuring.add_argument("--name", required=True)
    commands.add_parser("draw")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.hr, options.lr, options.name)
    else:
        draw()


def measure(hr: Path, lr: Path, name: str) -> None:
    """Add ten lines for every photo: means of map and error, in tenths of the map's blocks."""
    upscaler = Upscaler("nano")
    is_new = not TABLE.exists()
    with TABLE.open("a", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        if is_new:
            table.writerow(FIELDS)
        for path in sorted(lr.iterdir()):
            original = imageio.read(next(hr.glob(f"{path.stem}.*"))).to_array(8).astype(float)
            result = upscaler.upscale(path, Settings(trust_map=True))
            error = np.abs(result.photo.to_array(8) - original).mean(axis=2)
            height, width = (side // BLOCK * BLOCK for side in error.shape)
            errors = blocks(error[:height, :width], BLOCK)
            departure = result.trust.departure[: height // CELL, : width // CELL]
            maps = blocks(departure, BLOCK // CELL)
            rho = spearmanr(maps, errors).statistic
            for number, part in enumerate(np.array_split(np.argsort(maps), TENTHS)):
                invented = f"{100 * result.trust.invented:.2f}"
                means = (f"{maps[part].mean():.3f}", f"{errors[part].mean():.3f}")
                table.writerow((name, path.stem, invented, f"{rho:.4f}", number, *means))
            file.flush()


def blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Return the means of square blocks, flat."""
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).mean(axis=(1, 3)).ravel()


def draw() -> None:
    """Draw every tenth of every photo as a point, map against error, on logarithmic axes."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    picture = Image.new("RGB", (LEFT + SIDE + 16, TOP + SIDE + BOTTOM), "white")
    pen = ImageDraw.Draw(picture)
    low, high = np.log10(0.2), np.log10(64)

    def pixel(value: float) -> float:
        return (np.log10(np.clip(value, 0.2, 64)) - low) / (high - low) * SIDE

    for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        x, y = LEFT + pixel(tick), TOP + SIDE - pixel(tick)
        pen.line((x, TOP, x, TOP + SIDE), fill=(225, 225, 225))
        pen.line((LEFT, y, LEFT + SIDE, y), fill=(225, 225, 225))
        pen.text((x, TOP + SIDE + 4), f"{tick:g}", fill="black", anchor="ma", font_size=12)
        pen.text((LEFT - 6, y), f"{tick:g}", fill="black", anchor="rm", font_size=12)
    for number, name in enumerate(dict.fromkeys(row["input"] for row in rows)):
        own = [row for row in rows if row["input"] == name]
        rho = {row["photo"]: float(row["spearman"]) for row in own}
        for row in own:
            x = LEFT + pixel(float(row["map"]))
            y = TOP + SIDE - pixel(float(row["error"]))
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), outline=COLOURS[number])
        mean = np.mean(list(rho.values()))
        text = f"{name}: {len(rho)} photos, mean rank correlation {mean:.2f}"
        pen.text((LEFT + 8, TOP + 6 + 16 * number), text, fill=COLOURS[number], font_size=13)
        print(text, f"(least {min(rho.values()):.2f})")
    title = "map: departure from what the photo tells, of 255"
    pen.text((LEFT + SIDE / 2, TOP + SIDE + 22), title, fill="black", anchor="ma", font_size=13)
    side = Image.new("RGB", (SIDE, 20), "white")
    error = "true error |result - original|, of 255"
    ImageDraw.Draw(side).text((SIDE / 2, 2), error, fill="black", anchor="ma", font_size=13)
    picture.paste(side.rotate(90, expand=True), (2, TOP))
    picture.save("docs/trust_calibration.png", optimize=True)


if __name__ == "__main__":
    main()
