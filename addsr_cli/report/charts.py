"""Scatter charts as inline SVG: points and lines on two axes, in the colours of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f6fde", "#d9622b", "#2a9d5c", "#a445b8", "#b8912a", "#c43d5c", "#3aa0b0", "#7a7f87")
WIDTH = 560
HEIGHT = 360
LEFT = 62
RIGHT = 24
TOP = 16
BOTTOM = 46
MARGIN = 0.08  # of the range, around the points
TICKS = 5  # per axis, about


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point in data coordinates, and the label beside it."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one colour, joined by a line in their order."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The title of an axis, and whether it is logarithmic."""

    title: str
    log: bool = False

    def transform(self, number: float) -> float:
        """Return the position of a number on a linear scale."""
        return math.log10(number) if self.log else number

    def can_show(self, number: float) -> bool:
        """Whether a number is finite and, on a logarithmic axis, positive."""
        return math.isfinite(number) and (number > 0 or not self.log)

    def format(self, position: float) -> str:
        """Return the number at a position of the linear scale as text."""
        return f"{10**position:.3g}" if self.log else f"{position:.4g}"


def scatter(
    title: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
) -> str:
    """Return a ``figure`` with the chart; an empty string when there is nothing to show.

    Points that an axis cannot show are left out. A series has the colour of its position in the
    list, whether or not the series before it have points.
    """
    visible = [_points_on(entry, x, y) for entry in series]
    shown = [point for points in visible for point in points]
    if not shown:
        return ""
    x_scale = _Scale.of([x.transform(point.x) for point in shown], LEFT, WIDTH - RIGHT)
    y_scale = _Scale.of([y.transform(point.y) for point in shown], HEIGHT - BOTTOM, TOP)
    lines = []
    keys = []
    for number, (entry, points) in enumerate(zip(series, visible, strict=True)):
        if not points:
            continue
        colour = COLOURS[number % len(COLOURS)]
        places = [
            (x_scale.pixel(x.transform(point.x)), y_scale.pixel(y.transform(point.y)), point.label)
            for point in points
        ]
        lines.append(_line(places, entry.name, colour))
        keys.append(
            f'<li><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="5" '
            f'fill="{colour}"/></svg> {escape(entry.name)}</li>'
        )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{_grid(x, y, x_scale, y_scale)}{''.join(lines)}</svg>"
        f"<ul>{''.join(keys)}</ul></figure>"
    )


def _points_on(
    series: Series,
    x: Axis,
    y: Axis,
) -> list[Point]:
    return [point for point in series.points if x.can_show(point.x) and y.can_show(point.y)]


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Map the values ``low`` to ``high`` to the pixels ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        start: float,
        end: float,
    ) -> "_Scale":
        spread = max(values) - min(values) or abs(max(values)) or 1.0
        return cls(
            low=min(values) - MARGIN * spread,
            high=max(values) + MARGIN * spread,
            start=start,
            end=end,
        )

    def pixel(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, axis: Axis) -> list[float]:
        """Return about five round positions.

        On a logarithmic axis these are 1, 2 and 5 times every power of ten, over two decades or
        more the powers alone.
        """
        if axis.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            factors = (1, 2, 5) if self.high - self.low < 2 else (1,)
            positions = (power + math.log10(factor) for power in powers for factor in factors)
            return [position for position in positions if self.low <= position <= self.high]
        target = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(target))
        steps = [factor * power for factor in (1, 2, 5, 10)]
        step = min(steps, key=lambda size: abs(size - target))
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [k * step for k in range(first, last + 1)]


def _grid(
    x: Axis,
    y: Axis,
    x_scale: _Scale,
    y_scale: _Scale,
) -> str:
    """Return grid lines, tick labels and axis titles."""
    bottom = HEIGHT - BOTTOM
    right = WIDTH - RIGHT
    lines = []
    for value in x_scale.ticks(x):
        pixel = x_scale.pixel(value)
        lines.append(f'<line x1="{pixel:.1f}" y1="{TOP}" x2="{pixel:.1f}" y2="{bottom}"/>')
        lines.append(
            _text(
                pixel,
                bottom + 16,
                x.format(value),
                "middle",
            )
        )
    for value in y_scale.ticks(y):
        pixel = y_scale.pixel(value)
        lines.append(f'<line x1="{LEFT}" y1="{pixel:.1f}" x2="{right}" y2="{pixel:.1f}"/>')
        lines.append(_text(LEFT - 6, pixel + 4, y.format(value), "end"))
    lines.append(
        _text(
            (LEFT + right) / 2,
            HEIGHT - 8,
            x.title,
            "middle",
        )
    )
    middle = (TOP + bottom) / 2
    lines.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.title)}</text>"
    )
    return f'<g class="frame">{"".join(lines)}</g>'


def _line(
    places: Sequence[tuple[float, float, str]],
    name: str,
    colour: str,
) -> str:
    """Return a line through ``places`` (x, y, label), with a labelled dot at each."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dots = []
    for x, y, label in places:
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}">'
            f"<title>{escape(f'{name} {label}')}</title></circle>"
        )
        if label:
            dots.append(_text(x + 8, y - 7, label, "start"))
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return line + "".join(dots)


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str,
) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
