"""The report of a benchmark: its type, and the files it is written to."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from addsr_cli import imageio
from addsr_cli.bench.metrics import MetricInfo, Picture
from addsr_cli.bench.options import ReportFiles
from addsr_cli.bench.published import Published, beside
from addsr_cli.bench.quality import Quality
from addsr_cli.bench.report_tables import quality_charts, quality_table, speed_table, stage_table
from addsr_cli.bench.speed import Speed
from addsr_cli.report import Picture as LabelledPicture
from addsr_cli.report import Scene, Table, bench_page

CSV_LEFT_OUT = ("photos", "settings")  # nested values that do not fit into a cell


@dataclass(kw_only=True)
class Report:
    """All measurements and how they were made.

    ``published`` tables stand beside the test sets whose pictures they name (see ``beside``), by
    the name of the data's ``folder``.
    ``scenes`` maps (case, stem) to (method, picture) pairs of the photos that a page shows.
    """

    protocol: dict[str, str]
    published: Sequence[Published] = ()
    folder: str = ""
    speed: list[Speed] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    metrics: list[MetricInfo] = field(default_factory=list)
    scenes: dict[tuple[str, str], list[tuple[str, Picture]]] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """The test sets whose quality was measured, in order."""
        return list(dict.fromkeys(row.case for row in self.quality))

    def tables(self) -> list[Table]:
        """Speed, its stages, and the quality of each case with published rows below."""
        tables = []
        if self.speed:
            tables += [speed_table(self.speed), stage_table(self.speed)]
        for case in self.cases:
            rows = [row for row in self.quality if row.case == case]
            shown = beside(self.published, case, self.folder)
            left_out = [table for table in self.published if table not in shown]
            tables.append(quality_table(case, rows, self.metrics, shown, left_out))
        return tables

    def charts(self) -> list[str]:
        """SVG charts of the quality of each case."""
        charts = []
        for case in self.cases:
            rows = [row for row in self.quality if row.case == case]
            charts += quality_charts(case, rows, self.metrics)
        return charts

    def records(self) -> Iterator[dict[str, Any]]:
        """The protocol, then one JSON object per row: NaN becomes null, infinity a string."""
        yield {"kind": "protocol"} | self.protocol
        for speed in self.speed:
            yield _json_data({"kind": "speed"} | asdict(speed) | speed.rates())
        for row in self.quality:
            yield _json_data({"kind": "quality"} | asdict(row))
        for table in self.published:
            origin = {
                "table": table.name,
                "dataset": table.dataset,
                "source": table.source,
                "measured_by": table.measured_by,
                "protocol": table.protocol,
                "doubts": "; ".join(table.doubts),
            }
            for method in table.rows:
                means = table.values(method)
                yield {"kind": "published", "method": method, "means": means} | origin

    def markdown(self) -> str:
        """All tables, and the protocol as a list."""
        protocol = "\n".join(f"- {name}: `{text}`" for name, text in self.protocol.items())
        return "\n\n".join([*(table.markdown() for table in self.tables()), protocol]) + "\n"

    def text(self) -> str:
        """All tables aligned with spaces, and the protocol."""
        tables = [table.text() for table in self.tables()]
        return "\n\n".join([*tables, self.protocol_text()])

    def protocol_text(self) -> str:
        """The protocol, one aligned line per entry."""
        return "\n".join(f"{name:10} {text}" for name, text in self.protocol.items())

    def csv(self) -> str:
        """One line per row under the union of all columns; each line holds the whole protocol."""
        lines = []
        for record in self.records():
            if record["kind"] != "protocol":
                flat = {k: v for k, v in record.items() if k not in CSV_LEFT_OUT}
                lines.append(_flattened(flat) | self.protocol)
        columns = dict.fromkeys(key for line in lines for key in line)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()

    def html(self) -> str:
        """One page with charts, tables, protocol and pictures."""
        title = f"addsr bench: {self.protocol['model']}"
        scenes = [_scene(case, stem, pictures) for (case, stem), pictures in self.scenes.items()]
        return bench_page(
            title,
            self.charts(),
            self.tables(),
            self.protocol,
            scenes,
        )


def write_report(report: Report, files: ReportFiles) -> list[tuple[Path, int]]:
    """Write the files that were asked for; returns the size of each. Raises OutputRefused."""
    contents = []
    if files.csv:
        contents.append((files.csv, report.csv()))
    if files.markdown_path:
        contents.append((files.markdown_path, report.markdown()))
    if files.html:
        contents.append((files.html, report.html()))
    sizes = []
    for path, text in contents:
        data = text.encode("utf-8", "replace")
        sizes.append((path, imageio.write_bytes(path, data, overwrite=files.overwrite)))
    return sizes


def _scene(
    case: str,
    stem: str,
    pictures: Sequence[tuple[str, Picture]],
) -> Scene:
    """One photo as every method made it, the reference last."""
    ordered = sorted(pictures, key=lambda entry: entry[0] == "reference")
    labelled = [
        LabelledPicture(photo=imageio.from_array(picture), label=method)
        for method, picture in ordered
    ]
    return Scene(title=f"{stem}, {case}", pictures=labelled)


def _json_data(value: Any) -> Any:  # noqa: ANN401 (any JSON data)
    """The value without numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinity"
    return value


def _flattened(record: dict[str, Any]) -> dict[str, Any]:
    """Nested records as one level: ``means`` under the metrics' names, others as ``stages.io``."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            prefix = "" if key == "means" else f"{key}."
            flat |= {f"{prefix}{name}": item for name, item in value.items()}
        elif isinstance(value, list):
            flat[key] = "x".join(map(str, value))
        else:
            flat[key] = value
    return flat
