"""How results are drawn: self-contained HTML pages with viewer, charts and tables. No torch."""

from addsr_cli.report.bench_page import Scene, bench_page
from addsr_cli.report.charts import Axis, Point, Series, scatter
from addsr_cli.report.page import Page
from addsr_cli.report.tables import Cell, Column, Table
from addsr_cli.report.viewer import Embedding, Picture, check_count, compare_page, viewer_html

__all__ = [
    "Axis",
    "Cell",
    "Column",
    "Embedding",
    "Page",
    "Picture",
    "Point",
    "Scene",
    "Series",
    "Table",
    "bench_page",
    "check_count",
    "compare_page",
    "scatter",
    "viewer_html",
]
