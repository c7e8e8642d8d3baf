"""Tables and charts of a benchmark's measurements."""

from collections.abc import Sequence

from addsr_cli.bench.metrics import MetricInfo
from addsr_cli.bench.published import Published
from addsr_cli.bench.quality import Quality
from addsr_cli.bench.speed import Speed
from addsr_cli.bench.stages import STAGES
from addsr_cli.report import Axis, Cell, Column, Point, Series, Table, scatter

# Metrics for the charts; the first that was measured is used
DISTORTION_METRICS = ("psnr_y", "psnr")
PERCEPTUAL_METRICS = ("lpips", "niqe", "ssimulacra2", "spec")
PUBLISHED_DIGITS = {"fid": 2, "musiq": 2, "psnr": 2, "seconds": 2, "timesteps": 0}

SPEED_COLUMNS = (
    Column(title="input"),
    Column(title="output"),
    Column(title="settings"),
    Column(title="type"),
    Column(title="median s", digits=3),
    Column(title="p90 s", digits=3),
    Column(title="images/s", digits=2),
    Column(title="Mpixel/s", digits=2),
    Column(title="us/pixel", digits=3),
    Column(title="peak GB", digits=2),
    Column(title="matmul peak %", digits=0),
    Column(title="load s", digits=2),
)


def speed_table(rows: Sequence[Speed]) -> Table:
    """Time, throughput and memory of every case."""
    cells = [
        (
            _size_text(row.size),
            _size_text(row.out),
            row.label,
            row.dtype,
            row.median,
            row.p90,
            row.images_per_second,
            row.megapixels_per_second,
            1 / row.megapixels_per_second,
            row.peak_memory / 1e9,
            100 * row.share if row.share else None,
            row.load or None,
        )
        for row in rows
    ]
    return Table(title="Speed", columns=SPEED_COLUMNS, rows=cells)


def stage_table(rows: Sequence[Speed]) -> Table:
    """Seconds of every case by stage, without stages that took no time anywhere."""
    stages = [stage for stage in STAGES if any(row.stages[stage] for row in rows)]
    columns = [
        Column(title="input"),
        Column(title="settings"),
        Column(title="type"),
        *(Column(title=stage, digits=4) for stage in stages),
        Column(title="sum", digits=3),
    ]
    cells = [
        (
            _size_text(row.size),
            row.label,
            row.dtype,
            *(row.stages[stage] for stage in stages),
            sum(row.stages.values()),
        )
        for row in rows
    ]
    note = (
        "denoise is UNet and ControlNet, or all of a small model; "
        "psr decode and psr tag serve the next step"
    )
    return Table(
        title="Seconds by stage",
        columns=columns,
        rows=cells,
        notes=[note],
    )


def quality_table(
    case: str,
    rows: Sequence[Quality],
    metrics: Sequence[MetricInfo],
    published: Sequence[Published] = (),
    left_out: Sequence[Published] = (),
) -> Table:
    """Every method of one case, with the published rows below; a note names those left out."""
    measured = [metric for metric in metrics if any(metric.name in row.means for row in rows)]
    names = [metric.name for metric in measured]
    published_only = _published_names(published, names)
    columns = [
        Column(title="method"),
        Column(title="photos", digits=0),
        *(
            Column(
                title=f"{m.name} {'+' if m.higher_is_better else '-'}",
                digits=m.digits,
            )
            for m in measured
        ),
        *(Column(title=name, digits=_published_digits(name)) for name in published_only),
        Column(title="s/photo", digits=3),
    ]
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        values = [row.means.get(name) for name in names]
        empty = [None] * len(published_only)
        cells.append((row.method, row.count, *values, *empty, row.seconds))
    notes = ["+ larger is better, - smaller is better"]
    for table in published:
        several = len({each.dataset for each in published if each.dataset}) > 1
        where = f" ({table.dataset})" if several and table.dataset else ""
        for method in table.rows:
            means = table.values(method)
            values = [means.get(name) for name in (*names, *published_only)]
            cells.append((f"published: {method}{where}", None, *values, None))
    notes += dict.fromkeys(_published_note(table) for table in published)
    if left_out:
        notes.append(f"not shown, because they are of other pictures: {_named(left_out)}")
    return Table(
        title=f"Quality, {case}",
        columns=columns,
        rows=cells,
        notes=notes,
    )


def quality_charts(
    case: str,
    rows: Sequence[Quality],
    metrics: Sequence[MetricInfo],
) -> list[str]:
    """Perception against distortion, and each of them against time, where they were measured."""
    by_name = {metric.name: metric for metric in metrics}
    distortion = _first_measured(DISTORTION_METRICS, by_name)
    perceptual = _first_measured(PERCEPTUAL_METRICS, by_name)
    charts = []
    if distortion and perceptual:
        charts.append(_chart(case, rows, distortion, perceptual))
    measured = [metric for metric in (distortion, perceptual) if metric]
    charts += [_chart(case, rows, None, metric) for metric in measured]
    return [chart for chart in charts if chart]


def _chart(
    case: str,
    rows: Sequence[Quality],
    x: MetricInfo | None,
    y: MetricInfo,
) -> str:
    """Methods as points; those that differ only in their steps are joined. ``x`` None is time."""
    series: dict[str, list[Point]] = {}
    for row in rows:
        label = "" if row.steps is None else f"{row.steps} step{'' if row.steps == 1 else 's'}"
        name = row.method.replace(f", {label}", "") if label else row.method
        points = series.setdefault(name, [])
        x_value = row.seconds if x is None else row.means.get(x.name)
        y_value = row.means.get(y.name)
        if x_value is not None and y_value is not None:
            points.append(Point(x=x_value, y=y_value, label=label))
    x_axis = Axis(title="seconds per photo", log=True) if x is None else _axis(x)
    title = f"{case}: {y.name} against {'time' if x is None else x.name}"
    lines = [Series(name=name, points=points) for name, points in series.items()]
    return scatter(title, x_axis, _axis(y), lines)


def _first_measured(names: Sequence[str], metrics: dict[str, MetricInfo]) -> MetricInfo | None:
    return next((metrics[name] for name in names if name in metrics), None)


def _published_names(published: Sequence[Published], measured: Sequence[str]) -> list[str]:
    """Columns of metrics that were published and not measured here."""
    names = dict.fromkeys(
        name for table in published for method in table.rows for name in table.values(method)
    )
    return [name for name in names if name not in measured]


def _published_digits(column: str) -> int:
    return PUBLISHED_DIGITS.get(column.partition(" ")[0].lower(), 4)


def _named(tables: Sequence[Published]) -> str:
    return ", ".join(f"{table.name} of {table.dataset}" for table in tables)


def _published_note(table: Published) -> str:
    """Where a table comes from, how it was measured, and what is uncertain about it."""
    doubts = f"; doubtful: {'; '.join(table.doubts)}" if table.doubts else ""
    return (
        f"published: {table.source}, {table.title}, measured by {table.measured_by}; "
        f"{table.protocol}{doubts}"
    )


def _axis(metric: MetricInfo) -> Axis:
    better = "larger" if metric.higher_is_better else "smaller"
    return Axis(title=f"{metric.name} ({better} is better)")


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
