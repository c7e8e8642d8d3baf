"""How results are drawn: self-contained HTML pages with viewer, charts and tables. No torch."""

from addsr_cli.report.bench_page import Scene, bench_page
from addsr_cli.report.charts import Axis, Point, Series, scatter
from addsr_cli.report.embedding import Embedding, EncodedPicture, data_url, encode_picture
from addsr_cli.report.page import VIEWER_SCRIPTS, VIEWER_STYLES, Page, asset
from addsr_cli.report.tables import Cell, Column, Table
from addsr_cli.report.viewer import (
    Picture,
    check_count,
    compare_page,
    empty_viewer_html,
    viewer_html,
)

__all__ = [
    "VIEWER_SCRIPTS",
    "VIEWER_STYLES",
    "Axis",
    "Cell",
    "Column",
    "Embedding",
    "EncodedPicture",
    "Page",
    "Picture",
    "Point",
    "Scene",
    "Series",
    "Table",
    "asset",
    "bench_page",
    "check_count",
    "compare_page",
    "data_url",
    "empty_viewer_html",
    "encode_picture",
    "scatter",
    "viewer_html",
]
