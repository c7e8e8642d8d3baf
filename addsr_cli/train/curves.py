"""The log of a run as one SVG picture: a small chart for every figure over the steps."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT, PAD = 360, 150, 28
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
Series = dict[str, list[tuple[float, float]]]


def curves(log: Path) -> str:
    """Draw ``log.jsonl`` as SVG: losses by timestep, the discriminator's logits, the rest."""
    charts: dict[str, Series] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for t, loss in row["by_timestep"].items():
            charts.setdefault("distance by timestep", {}).setdefault(f"t={t}", []).append(
                (row["step"], loss)
            )
        for name, value in row["values"].items():
            chart = "mean logits" if name in ("real", "fake") else name.replace("_", " ")
            points = charts.setdefault(chart, {}).setdefault(name, [])
            if value is not None:  # in half precision the norm of a skipped step is not
                points.append((row["step"], value))
    columns = 2
    height = math.ceil(len(charts) / columns) * HEIGHT
    drawn = [
        f'<g transform="translate({number % columns * WIDTH},{number // columns * HEIGHT})">'
        f"{_chart(title, series)}</g>"
        for number, (title, series) in enumerate(charts.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {height}" '
        f'font-family="sans-serif" font-size="10">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>'
    )


def _chart(title: str, series: Series) -> str:
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    last, reach = max(x for x, _ in points) or 1, (high - low) or 1
    inner_width, inner_height = WIDTH - 2 * PAD, HEIGHT - 2 * PAD
    parts = [f'<text x="{PAD}" y="14" font-weight="bold">{escape(title)}</text>']
    for number, (name, line) in enumerate(series.items()):
        path = " ".join(
            f"{PAD + x / last * inner_width:.1f},{PAD + (high - y) / reach * inner_height:.1f}"
            for x, y in _thin(line)
        )
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        if len(series) > 1:
            parts.append(
                f'<text x="{WIDTH - PAD - 48 * (number + 1)}" y="14" fill="{colour}">'
                f"{escape(name)}</text>"
            )
    parts.append(
        f'<text x="{PAD}" y="{HEIGHT - 8}">{low:.4g} .. {high:.4g}, {last:.0f} steps</text>'
    )
    parts.append(
        f'<rect x="{PAD}" y="{PAD}" width="{inner_width}" height="{inner_height}" '
        f'fill="none" stroke="#ccc"/>'
    )
    return "".join(parts)


def _thin(line: Sequence[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """Means of neighbours, so that a long run stays a small picture."""
    size = math.ceil(len(line) / most)
    groups = [line[start : start + size] for start in range(0, len(line), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
