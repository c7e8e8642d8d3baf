"""The numbers of ``addsr bench`` as tables, charts, records and files."""

import csv
import io
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from addsr_cli import imageio
from addsr_cli.bench.metrics import Metric, Picture
from addsr_cli.bench.published import Published
from addsr_cli.bench.quality import Quality
from addsr_cli.bench.speed import Speed
from addsr_cli.bench.stages import STAGES
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.report import Axis, Cell, Column, Point, Scene, Series, Table, bench_page, scatter
from addsr_cli.report import Picture as Shown

if TYPE_CHECKING:
    from addsr_cli.cli.bench_run import Outputs

GRID = 20  # photos that a page shows
DISTORTION = ("psnr_y", "psnr")  # for the charts, the first that was measured
DIGITS = {"fid": 2, "musiq": 2}
PERCEPTION = ("lpips", "niqe", "ssimulacra2", "spec")


@dataclass(kw_only=True)
class Report:
    """All that was measured, and how. ``scenes`` maps (case, stem) to pictures by method."""

    protocol: dict[str, str]
    published: Published | None = None
    speed: list[Speed] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    scenes: dict[tuple[str, str], list[tuple[str, Picture]]] = field(default_factory=dict)


def deliver(report: Report, outputs: "Outputs", console: Console) -> None:
    """Write the files that were asked for, and the data to stdout. Raises OutputRefused."""
    made = tables(report)
    if outputs.csv:
        _write(outputs.csv, _csv(report), console, overwrite=outputs.overwrite)
    text = _markdown(report, made)
    if outputs.markdown and outputs.markdown != "-":
        _write(Path(outputs.markdown), text, console, overwrite=outputs.overwrite)
    if outputs.html:
        title = f"addsr bench: {report.protocol['model']}"
        page = bench_page(title, charts(report), made, report.protocol, _scenes(report))
        _write(outputs.html, page, console, overwrite=outputs.overwrite)
    if console.json:
        for record in records(report):
            console.result("", record)
    elif outputs.markdown == "-":
        print(text, end="", flush=True)
    else:
        _print(report, made)


def tables(report: Report) -> list[Table]:
    """Speed, its stages, quality by case, with published rows below where they belong."""
    made = [_speed_table(report.speed), _stage_table(report.speed)] if report.speed else []
    made += [
        _quality_table(report, case) for case in dict.fromkeys(row.case for row in report.quality)
    ]
    return made


def _speed_table(rows: Sequence[Speed]) -> Table:
    titles = (
        *(
            ("input", None),
            ("output", None),
            ("settings", None),
            ("type", None),
            ("median s", 3),
            ("p90 s", 3),
        ),
        *(
            ("images/s", 2),
            ("Mpixel/s", 2),
            ("us/pixel", 3),
            ("peak GB", 2),
            ("matmul peak %", 0),
            ("load s", 2),
        ),
    )
    cells = [
        (
            *(_size(row.size), _size(row.out), row.label, row.dtype, row.median, row.p90),
            *(row.images_per_second, row.megapixels_per_second, 1 / row.megapixels_per_second),
            *(row.peak_memory / 1e9, 100 * row.share if row.share else None, row.load or None),
        )
        for row in rows
    ]
    return Table(
        title="Speed",
        columns=_columns(titles),
        rows=cells,
    )


def _stage_table(rows: Sequence[Speed]) -> Table:
    used = [stage for stage in STAGES if any(row.stages[stage] for row in rows)]
    titles = (
        ("input", None),
        ("settings", None),
        ("type", None),
        *((stage, 4) for stage in used),
        ("sum", 3),
    )
    cells = [
        (
            _size(row.size),
            row.label,
            row.dtype,
            *(row.stages[stage] for stage in used),
            sum(row.stages.values()),
        )
        for row in rows
    ]
    notes = [
        "denoise is UNet and ControlNet, or all of a small model; psr decode and psr tag serve the next step"
    ]
    return Table(
        title="Seconds by stage",
        columns=_columns(titles),
        rows=cells,
        notes=notes,
    )


def _quality_table(report: Report, case: str) -> Table:
    rows = [row for row in report.quality if row.case == case]
    found = [metric for metric in report.metrics if any(metric.name in row.means for row in rows)]
    extra = _published_only(report, found)
    titles = [
        ("method", None),
        ("photos", 0),
        *((f"{m.name} {'+' if m.larger else '-'}", m.digits) for m in found),
    ]
    titles += [*((name, DIGITS.get(name, 4)) for name in extra), ("s/photo", 3)]
    cells: list[tuple[Cell, ...]] = [
        (
            row.method,
            row.count,
            *(row.means.get(m.name) for m in found),
            *(None for _ in extra),
            row.seconds,
        )
        for row in rows
    ]
    notes = ["+ larger is better, - smaller is better"]
    if report.published:
        for method, values in report.published.rows.items():
            numbers = [values.get(name) for name in (*(m.name for m in found), *extra)]
            cells.append((f"published: {method}", None, *numbers, None))
        notes += [f"published: {report.published.source}; {report.published.protocol}"]
    return Table(
        title=f"Quality, {case}",
        columns=_columns(titles),
        rows=cells,
        notes=notes,
    )


def charts(report: Report) -> list[str]:
    """Perception against distortion, and each of them against time, by case, as far as they were measured."""
    named = {metric.name: metric for metric in report.metrics}
    across = next((named[name] for name in DISTORTION if name in named), None)
    upward = next((named[name] for name in PERCEPTION if name in named), None)
    pairs: list[tuple[Metric | None, Metric]] = [
        (None, metric) for metric in (across, upward) if metric
    ]  # None stands for time
    if across and upward:
        pairs.insert(0, (across, upward))
    made = []
    for case in dict.fromkeys(row.case for row in report.quality):
        rows = [row for row in report.quality if row.case == case]
        made += [_chart(case, rows, x, y) for x, y in pairs]
    return [chart for chart in made if chart]


def _chart(
    case: str,
    rows: Sequence[Quality],
    x: Metric | None,
    y: Metric,
) -> str:
    """Methods as points, those that differ by steps alone joined; ``x`` None is time."""
    series: dict[str, list[Point]] = {}
    for row in rows:
        word = "" if row.steps is None else f"{row.steps} step{'' if row.steps == 1 else 's'}"
        name = row.method.replace(f", {word}", "") if word else row.method
        points = series.setdefault(name, [])
        place = row.seconds if x is None else row.means.get(x.name)
        height = row.means.get(y.name)
        if place is not None and height is not None:
            points.append(
                Point(
                    x=place,
                    y=height,
                    label=word,
                )
            )
    across = Axis(title="seconds per photo", log=True) if x is None else _axis(x)
    title = f"{case}: {y.name} against {'time' if x is None else x.name}"
    return scatter(
        title,
        across,
        _axis(y),
        [Series(name=name, points=points) for name, points in series.items()],
    )


def records(report: Report) -> Iterator[dict[str, Any]]:
    """The protocol, then one record per row, as JSON data: no NaN, and infinity as a word."""
    yield {"kind": "protocol"} | report.protocol
    for speed in report.speed:
        more = {
            "images_per_second": speed.images_per_second,
            "megapixels_per_second": speed.megapixels_per_second,
        }
        yield _plain(
            {"kind": "speed"} | asdict(speed) | more | {"matmul_share": speed.share or None}
        )
    for row in report.quality:
        yield _plain({"kind": "quality"} | asdict(row))
    if report.published:
        source = {"source": report.published.source, "protocol": report.published.protocol}
        for method, values in report.published.rows.items():
            yield {"kind": "published", "method": method, "means": values} | source


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON data)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinity"
    return value


def _csv(report: Report) -> str:
    """One line per row under the union of all columns; each line carries the whole protocol."""
    lines = []
    for record in records(report):
        if record["kind"] != "protocol":
            record = {
                key: value for key, value in record.items() if key not in ("photos", "settings")
            }
            lines.append(_flat(record) | report.protocol)
    columns = dict.fromkeys(key for line in lines for key in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Nested records as one level: values of ``means`` under their own names, others as ``stages.io``."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= {
                name if key == "means" else f"{key}.{name}": item for name, item in value.items()
            }
        else:
            found[key] = "x".join(map(str, value)) if isinstance(value, list) else value
    return found


def _markdown(report: Report, made: Sequence[Table]) -> str:
    told = "\n".join(f"- {name}: `{words}`" for name, words in report.protocol.items())
    return "\n\n".join([*(table.markdown() for table in made), told]) + "\n"


def _print(report: Report, made: Sequence[Table]) -> None:
    """Tables on stdout, drawn where a terminal shows them."""
    told = "\n".join(f"{name:10} {words}" for name, words in report.protocol.items())
    if not sys.stdout.isatty():
        print("\n\n".join([*(table.text() for table in made), told]), flush=True)
        return
    from rich.console import Console as RichConsole

    screen = RichConsole()
    for table in made:
        screen.print(table.rich())
    screen.print(told, highlight=False, markup=False)


def _write(
    path: Path,
    text: str,
    console: Console,
    *,
    overwrite: bool,
) -> None:
    size = imageio.write_bytes(path, text.encode("utf-8", "replace"), overwrite=overwrite)
    console.info(f"{path}: {format_bytes(size)}")


def _scenes(report: Report) -> list[Scene]:
    """The remembered photos, the reference last."""
    scenes = []
    for (case, stem), pictures in report.scenes.items():
        ordered = sorted(pictures, key=lambda named: named[0] == "reference")
        shown = [
            Shown(photo=imageio.from_array(picture), label=method) for method, picture in ordered
        ]
        scenes.append(Scene(title=f"{stem}, {case}", pictures=shown))
    return scenes


def _published_only(report: Report, found: Sequence[Metric]) -> list[str]:
    """Metrics that were published and not measured here."""
    rows = report.published.rows.values() if report.published else ()
    here = {metric.name for metric in found}
    return list(dict.fromkeys(name for values in rows for name in values if name not in here))


def _columns(titles: Sequence[tuple[str, int | None]]) -> list[Column]:
    return [Column(title=title, digits=digits) for title, digits in titles]


def _axis(metric: Metric) -> Axis:
    return Axis(title=f"{metric.name} ({'larger' if metric.larger else 'smaller'} is better)")


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
