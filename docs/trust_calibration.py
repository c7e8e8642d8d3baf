"""Hold the trust map to the true error: the figures and the chart of docs/trust.md.

``python docs/trust_calibration.py VAL`` takes a folder that contains originals in ``HR`` and the
same photos reduced four times in ``LR_bicubic`` (clean) and ``LR_blind`` (damaged). Every photo is
enlarged, and its map is compared with the error in blocks of 16 x 16 pixels. It prints the rank
correlations; for nano it also writes docs/trust_calibration.csv and .png. Without a folder the
chart is drawn again from the table. It needs SciPy.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from addsr_cli import Settings, Upscaler, imageio
from addsr_cli.engine.trust import CELL

TABLE = Path("docs/trust_calibration.csv")
FIELDS = ("input", "photo", "invented", "spearman", "tenth", "map", "error")
INPUTS = {"bicubic": "LR_bicubic", "blind": "LR_blind"}
BLOCK = 16
TENTHS = 10
COLOURS = ((47, 111, 222), (217, 98, 43), (42, 157, 92))
SIDE, LEFT, BOTTOM, TOP = 360, 60, 44, 12
ENOUGH = 0.5  # rank correlation

Row = dict[str, str]


def main() -> None:
    """Measure where a folder is given; report, and for nano draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="folder: HR, LR_bicubic, LR_blind")
    parser.add_argument("--model", default="nano", help="name or file")
    options = parser.parse_args()
    if options.photos is None:
        with TABLE.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    else:
        upscaler = Upscaler(options.model)
        rows = [
            row
            for name, folder in INPUTS.items()
            for path in sorted((options.photos / folder).iterdir())
            for row in measure(upscaler, name, path, options.photos / "HR")
        ]
    texts = report(rows)
    if options.model != "nano":
        return
    draw(rows, texts)
    if options.photos is not None:
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, FIELDS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


def measure(upscaler: Upscaler, name: str, path: Path, originals: Path) -> Iterator[Row]:
    """Yield ten rows for a photo: means of map and error, in tenths of the map's blocks."""
    original = imageio.read(next(originals.glob(f"{path.stem}.*"))).to_array(8).astype(float)
    result = upscaler.upscale(path, Settings(trust_map=True))
    error = np.abs(result.photo.to_array(8) - original).mean(axis=2)
    height, width = (side // BLOCK * BLOCK for side in error.shape)
    errors = blocks(error[:height, :width], BLOCK)
    departure = result.trust.departure[: height // CELL, : width // CELL]
    maps = blocks(departure, BLOCK // CELL)
    rho = spearmanr(maps, errors).statistic
    for number, part in enumerate(np.array_split(np.argsort(maps), TENTHS)):
        yield {
            "input": name,
            "photo": path.stem,
            "invented": f"{100 * result.trust.invented:.2f}",
            "spearman": f"{rho:.4f}",
            "tenth": str(number),
            "map": f"{maps[part].mean():.3f}",
            "error": f"{errors[part].mean():.3f}",
        }


def report(rows: list[Row]) -> list[str]:
    """Print the rank correlations of every kind of input; return the texts of the chart."""
    texts = []
    for name in dict.fromkeys(row["input"] for row in rows):
        rho = {row["photo"]: float(row["spearman"]) for row in rows if row["input"] == name}
        values = np.array(list(rho.values()))
        texts.append(f"{name}: {len(rho)} photos, mean rank correlation {values.mean():.2f}")
        above = f"{(values > ENOUGH).sum()} of {len(rho)} above {ENOUGH:g}"
        print(f"{texts[-1]} ({values.min():.2f} to {values.max():.2f}), {above}")
    return texts


def blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Return the means of square blocks, flat."""
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).mean(axis=(1, 3)).ravel()


def draw(rows: list[Row], texts: list[str]) -> None:
    """Draw every tenth of every photo as a point, map against error, on logarithmic axes."""
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
        for row in own:
            x = LEFT + pixel(float(row["map"]))
            y = TOP + SIDE - pixel(float(row["error"]))
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), outline=COLOURS[number])
        place = (LEFT + 8, TOP + 6 + 16 * number)
        pen.text(place, texts[number], fill=COLOURS[number], font_size=13)
    title = "map: departure from what the photo tells, of 255"
    pen.text((LEFT + SIDE / 2, TOP + SIDE + 22), title, fill="black", anchor="ma", font_size=13)
    side = Image.new("RGB", (SIDE, 20), "white")
    error = "true error |result - original|, of 255"
    ImageDraw.Draw(side).text((SIDE / 2, 2), error, fill="black", anchor="ma", font_size=13)
    picture.paste(side.rotate(90, expand=True), (2, TOP))
    picture.save("docs/trust_calibration.png", optimize=True)


if __name__ == "__main__":
    main()
