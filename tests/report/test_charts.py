import math
import xml.etree.ElementTree as ElementTree

import pytest

from addsr_cli.report import Axis, Point, Series, scatter


def drawn(*series, x_log=False):
    return ElementTree.fromstring(
        scatter("A & B", Axis(title="x", log=x_log), Axis(title="y"), list(series))
    )


def circles(figure):
    return [(float(c.get("cx")), float(c.get("cy"))) for c in figure.findall("svg/circle")]


def test_points_lie_where_their_numbers_say():
    (left, low), (right, high) = circles(
        drawn(Series(name="m", points=[Point(x=1, y=1), Point(x=2, y=5)]))
    )
    assert left < right
    assert low > high  # pixels count downwards


def test_equal_factors_are_equal_steps_on_a_log_axis():
    points = [Point(x=10.0**k, y=0) for k in range(3)]
    a, b, c = (x for x, _ in circles(drawn(Series(name="m", points=points), x_log=True)))
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_names_and_labels_are_escaped_and_shown():
    figure = drawn(Series(name="<m>", points=[Point(x=1, y=1, label="4 & 1")]))
    text = "".join(figure.itertext())
    assert all(word in text for word in ("<m>", "4 & 1", "A & B", "x", "y"))


def test_points_that_are_not_numbers_are_omitted():
    bad = [Point(x=math.inf, y=1), Point(x=1, y=math.nan), Point(x=0, y=1)]
    assert (
        scatter("t", Axis(title="x", log=True), Axis(title="y"), [Series(name="m", points=bad)])
        == ""
    )
    assert len(circles(drawn(Series(name="m", points=[*bad, Point(x=1, y=2)]), x_log=True))) == 1


@pytest.mark.parametrize("value", [0, 1e-9, -45.5, 12345])
def test_one_point_has_a_scale_too(value):
    ((x, y),) = circles(drawn(Series(name="m", points=[Point(x=value, y=value)])))
    assert 60 < x < 560
    assert 0 < y < 360


def test_a_series_keeps_its_colour_where_others_have_no_points():
    here = Series(name="b", points=[Point(x=1, y=1)])
    both = drawn(Series(name="a", points=[Point(x=2, y=2)]), here).findall("svg/circle")
    alone = drawn(Series(name="a", points=[]), here).findall("svg/circle")
    assert [circle.get("fill") for circle in alone] == [both[1].get("fill")]


def test_a_log_axis_has_round_numbers():
    points = [Point(x=0.3, y=1), Point(x=4, y=2)]
    text = "".join(drawn(Series(name="m", points=points), x_log=True).itertext())
    assert all(number in text for number in ("0.5", "1", "2"))
    assert "3.16" not in text
