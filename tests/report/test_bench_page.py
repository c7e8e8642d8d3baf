import re
import sys

import numpy as np
import pytest

from addsr_cli import imageio
from addsr_cli.report import Axis, Column, Picture, Point, Scene, Series, Table, bench_page, scatter

TABLE = Table(title="Quality", columns=[Column(title="method")], rows=[("nano",)])


@pytest.fixture
def limit(monkeypatch):
    """Set how many bytes of pictures a page may hold."""
    module = sys.modules["addsr_cli.report.bench_page"]
    return lambda size: monkeypatch.setattr(module, "MAX_PICTURE_BYTES", size)


def scene(name, count=2, side=64):
    pixels = np.random.default_rng(len(name)).random((side, side, 3), dtype=np.float32)
    photo = imageio.from_array(pixels)
    return Scene(
        title=name, pictures=[Picture(photo=photo, label=f"{name} {k}") for k in range(count)]
    )


def test_a_page_holds_charts_tables_protocol_and_pictures():
    chart = scatter(
        "chart", Axis(title="x"), Axis(title="y"), [Series(name="m", points=[Point(x=1, y=1)])]
    )
    page = bench_page("Bench <1>", [chart], [TABLE], {"seed": "7 & 8"}, [scene("cat")])
    for words in (
        "Bench &lt;1&gt;",
        'class="chart"',
        "<td>nano</td>",
        "7 &amp; 8",
        "cat 1",
        "data:image/jpeg",
    ):
        assert words in page
    assert "http" not in re.sub(r"http-equiv|data:[^\"]*", "", page)


def test_without_pictures_and_charts_there_is_still_a_page():
    page = bench_page("b", [], [TABLE], {}, [])
    assert "charts" not in page.split("</style>")[1].split("<script>")[0]


def test_pictures_lose_quality_before_they_are_left_out(limit):
    scenes = [scene("cat"), scene("giraffe")]
    best = bench_page("b", [], [TABLE], {}, scenes)
    limit(int(0.7 * (len(best) - len(bench_page("b", [], [TABLE], {}, [])))))
    fewer_bytes = bench_page("b", [], [TABLE], {}, scenes)
    assert len(fewer_bytes) < len(best)
    assert "not shown" not in fewer_bytes
    assert fewer_bytes.count('class="viewer"') == 2
    limit(0)
    assert "2 more photos were measured; they are not shown" in bench_page(
        "b", [], [TABLE], {}, scenes
    )


def test_of_many_methods_the_reference_is_among_those_shown():
    page = bench_page("b", [], [TABLE], {}, [scene("cat", 11)])
    assert "cat 6" in page
    assert "cat 7" not in page
    assert "cat 10" in page
