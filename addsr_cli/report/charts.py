"""Small charts as inline SVG: points and lines on two axes, in the colours of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f6fde", "#d9622b", "#2a9d5c", "#a445b8", "#b8912a", "#c43d5c", "#3aa0b0", "#7a7f87")
WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 16, 46
MARGIN = 0.08  # of the range, around the points
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where, and what it says beside it."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one kind, joined in their order."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A title, and whether equal steps are equal factors."""

    title: str
    log: bool = False

    def value(self, number: float) -> float:
        """A number's place on an even scale."""
        return math.log10(number) if self.log else number


def scatter(
    title: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
) -> str:
    """A ``figure`` with the chart; points that are no finite numbers (or not above 0 on a log axis) are left out.

    Empty when nothing remains. A series keeps the colour of its place in the list, with points or
    without.
    """
    usable = [[p for p in each.points if _usable(p, x, y)] for each in series]
    shown = [
        (each.name, points, COLOURS[number % len(COLOURS)])
        for number, (each, points) in enumerate(zip(series, usable, strict=True))
        if points
    ]
    if not shown:
        return ""
    across = _Scale.of([x.value(p.x) for points in usable for p in points], LEFT, WIDTH - RIGHT)
    upward = _Scale.of([y.value(p.y) for points in usable for p in points], HEIGHT - BOTTOM, TOP)
    parts = [_frame(x, y, across, upward)]
    for name, points, colour in shown:
        places = [(across.place(x.value(p.x)), upward.place(y.value(p.y)), p.label) for p in points]
        parts.append(_drawn(places, name, colour))
    keys = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="5" '
        f'fill="{colour}"/></svg> {escape(name)}</li>'
        for name, _, colour in shown
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
        f"<ul>{keys}</ul></figure>"
    )


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Values ``low`` to ``high`` onto pixels ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> "_Scale":
        spread = max(values) - min(values) or abs(max(values)) or 1.0
        return cls(
            low=min(values) - MARGIN * spread,
            high=max(values) + MARGIN * spread,
            start=start,
            end=end,
        )

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, axis: Axis) -> list[float]:
        """About five round numbers; on a log axis the 1, 2 and 5 of every power of ten, where they are not too many."""
        if axis.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            factors = (1, 2, 5) if self.high - self.low < 2 else (1,)
            places = (power + math.log10(factor) for power in powers for factor in factors)
            return [place for place in places if self.low <= place <= self.high]
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
        return [
            k * step for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        ]


def _usable(point: Point, x: Axis, y: Axis) -> bool:
    numbers = ((point.x, x), (point.y, y))
    return all(math.isfinite(number) and (number > 0 or not axis.log) for number, axis in numbers)


def _frame(
    x: Axis,
    y: Axis,
    across: _Scale,
    upward: _Scale,
) -> str:
    lines = []
    for value in across.ticks(x):
        place = across.place(value)
        lines.append(f'<line x1="{place:.1f}" y1="{TOP}" x2="{place:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        lines.append(_text(place, HEIGHT - BOTTOM + 16, _number(value, x), "middle"))
    for value in upward.ticks(y):
        place = upward.place(value)
        lines.append(f'<line x1="{LEFT}" y1="{place:.1f}" x2="{WIDTH - RIGHT}" y2="{place:.1f}"/>')
        lines.append(_text(LEFT - 6, place + 4, _number(value, y), "end"))
    lines.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x.title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y.title)}</text>'
    )
    return f'<g class="frame">{"".join(lines)}</g>'


def _drawn(places: Sequence[tuple[float, float, str]], name: str, colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(f"{name} {label}")}</title></circle>'
        + (_text(x + 8, y - 7, label, "start") if label else "")
        for x, y, label in places
    )
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def _text(
    x: float,
    y: float,
    words: str,
    anchor: str,
) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _number(value: float, axis: Axis) -> str:
    return f"{10**value:.3g}" if axis.log else f"{value:.4g}"
