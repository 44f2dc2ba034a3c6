"""SVG plots: well-formed, escaped, and drawn to scale."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from GradientGuidedRegistrationLib.evaluation.axes import Axes, limits_of, log_ticks, ticks_between
from GradientGuidedRegistrationLib.evaluation.plots import (
    bar_plot,
    box_plot,
    histogram_plot,
    line_plot,
    quantile,
    stacked,
)

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "a <b> & \"c\" 'd'"


def elements(svg, tag):
    return list(xml.fromstring(svg).iter(SVG + tag))


def words(svg):
    return ["".join(item.itertext()) for item in elements(svg, "text")]


def number(item, key):
    return float(item.get(key))


def test_words_are_escaped_and_there_is_a_title():
    svg = bar_plot([NASTY], {NASTY: [1.0], "other": [2.0]}, title=NASTY, x_label=NASTY, y_label=NASTY)
    assert words(svg).count(NASTY) == 5
    assert elements(svg, "title")[0].text == NASTY


def test_bars_are_to_scale():
    svg = bar_plot(["a", "b"], {"before": [1.0, None], "after": [2.0, float("nan")]}, y_limits=(0, 2.5))
    heights = [number(bar, "height") for bar in elements(svg, "rect") if bar.get("fill") in ("#3b6fb6", "#e08a2e")]
    bars = [height for height in heights if height != 10]  # 10: the legend
    assert len(bars) == 2 and bars[1] / bars[0] == pytest.approx(2, abs=0.02)
    assert words(svg).count("–") == 2


def test_bars_that_are_too_long_are_cut_and_say_so():
    svg = bar_plot([str(i) for i in range(30)], {"a": [50.4, *[1.0] * 29]}, y_limits=(0, 2), colours=("#123456",))
    bars = [bar for bar in elements(svg, "rect") if bar.get("fill") == "#123456"]
    heights = [number(bar, "height") for bar in bars]
    assert heights[0] / heights[1] == pytest.approx(2, abs=0.02) and number(bars[0], "y") >= 12
    assert "50.40 ↑" in words(svg) and sum("↑" in word for word in words(svg)) == 1 and "1.00" not in words(svg)


def test_a_single_value_stands_in_the_middle_of_its_group():
    svg = box_plot({"one": [3.0], "three": [1.0, 2.0, 3.0]})
    ticks = [number(item, "x") for item in elements(svg, "text") if item.text in ("one", "three")]
    places = [number(dot, "cx") for dot in elements(svg, "circle")]
    assert places[0] == pytest.approx(ticks[0], abs=0.2) and places[1] == pytest.approx(ticks[1], abs=0.2)
    assert len({round(place) for place in places[1:]}) == 3


def test_line_breaks_at_gaps_and_is_to_scale():
    svg = line_plot({"loss": [(0, 1.0), (1, 2.0), (2, None), (3, 3.0), (4, 1.0), (5, float("inf")), (6, 2.0)]})
    curves = [[tuple(map(float, p.split(","))) for p in c.get("points").split()] for c in elements(svg, "polyline")]
    assert [len(curve) for curve in curves] == [2, 2] and len(elements(svg, "circle")) == 1
    (x0, y0), (x1, y1) = curves[0]
    (x3, y3), (x4, y4) = curves[1]
    assert x3 - x1 == pytest.approx(2 * (x1 - x0), abs=0.3)
    assert y4 - y3 == pytest.approx(2 * (y0 - y1), abs=0.3) and y4 == y0
    logarithmic = line_plot({"e": [(0, 1), (1, 10), (2, 100), (3, 0)]}, y_log=True)
    points = [tuple(map(float, p.split(","))) for p in elements(logarithmic, "polyline")[0].get("points").split()]
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.3) and len(points) == 3


def test_boxes_show_quartiles():
    values = list(np.random.default_rng(0).normal(10, 2, 40)) + [30.0]
    svg = box_plot({"a": values, "few": [9.0, 11.0], "none": [None]})
    box = next(item for item in elements(svg, "rect") if item.get("fill-opacity"))
    dots = elements(svg, "circle")
    assert len(dots) == 43
    positions = sorted(number(dot, "cy") for dot in dots[:41])
    top, bottom = number(box, "y"), number(box, "y") + number(box, "height")
    assert top == pytest.approx(np.quantile(positions, 0.25), abs=0.3)
    assert bottom == pytest.approx(np.quantile(positions, 0.75), abs=0.3)
    assert quantile(sorted(values), 0.75) == pytest.approx(np.quantile(values, 0.75))


def test_histogram_is_to_scale():
    svg = histogram_plot([1, 0, 4], [0, 1, 2, 3], marks={"here": 1.0})
    bars = [item for item in elements(svg, "rect") if item.get("fill") == "#3b6fb6"]
    assert len(bars) == 2
    assert number(bars[1], "height") / number(bars[0], "height") == pytest.approx(4, abs=0.05)
    assert "here" in words(svg)
    with pytest.raises(ValueError, match="edges"):
        histogram_plot([1, 2], [0, 1])


@pytest.mark.parametrize("svg", [line_plot({}), bar_plot([], {}), box_plot({}), line_plot({"a": [(1, 2.0)]})])
def test_nothing_to_show_is_no_trouble(svg):
    assert not re.search("nan|inf", svg)
    xml.fromstring(svg)


def test_ticks():
    assert [text for _, text in ticks_between(0, 1)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [text for _, text in ticks_between(-3, 97)] == ["0", "20", "40", "60", "80"]
    assert [text for _, text in log_ticks(0.5, 20)] == ["0.5", "1", "2", "5", "10", "20"]
    assert [text for _, text in log_ticks(1e-4, 1)] == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert limits_of([]) == (0, 1) and limits_of([None, float("nan")]) == (0, 1)
    low, high = limits_of([2, 4])
    assert low < 2 and high > 4 and limits_of([2, 4], include_zero=True)[0] == 0


def test_everything_stays_inside_the_picture():
    names = [f"a very long structure name {i}" for i in range(20)]
    svg = bar_plot(names, {"before": range(20), "after": range(20)}, title="t", y_label="y", width=500, height=300)
    for item in elements(svg, "rect"):
        assert -0.1 <= number(item, "x") if item.get("x") else True
    axes = Axes(500, 300, (0, 20), (0, 20), x_ticks=[(i + 0.5, n) for i, n in enumerate(names)])
    assert axes.left < 130 and axes.bottom > 100


@pytest.mark.parametrize("count", [60, 150, 400])
def test_bars_have_a_width_however_many_there_are(count):
    svg = bar_plot(
        ["a"] * count, {"before": [0.5] * count, "after": [0.8] * count}, width=560, colours=("#111", "#222")
    )
    bars = [
        item for item in elements(svg, "rect") if item.get("fill") in ("#111", "#222") and item.get("height") != "10"
    ]
    assert len(bars) == 2 * count and all(number(bar, "width") > 0 for bar in bars)


def test_long_names_of_bars_are_shortened_to_their_room():
    svg = bar_plot(["x" * 300, "b" * 28], {"a": [1.0, 2.0]}, width=560, height=300)
    assert "x" * 27 + "…" in words(svg) and "b" * 28 in words(svg)


def test_stacked_plots_are_seen_in_qt_too():
    """Qt draws nothing of an `<svg>` within an `<svg>`."""
    pytest.importorskip("PySide6.QtSvg", reason="PySide6 is not installed")
    from panel.qt_stand_in import application
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    assert application is not None
    curve = [(0.0, 1.0), (1.0, 0.0)]
    svg = stacked([line_plot({"a": curve}, title="upper"), line_plot({"a": curve}, title="lower", height=200)])
    renderer = QSvgRenderer(svg.encode())
    size = renderer.defaultSize()
    assert (size.width(), size.height()) == (640, 320 + 10 + 200)
    image = QImage(size, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFF)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(size.height(), size.width(), 4)
    dark = (pixels[..., :3].min(-1) < 200).sum(1)
    assert dark[:320].sum() > 1000 and dark[330:].sum() > 1000 and not dark[321:329].any()
    assert words(svg).count("upper") == words(svg).count("lower") == 1
