"""Pictures of comparisons: what was varied is drawn, and labels hide nothing."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from made_comparisons import grid, judged, made_row
from offshelf.jobs.compare import axis_charts, comparison_charts
from offshelf.jobs.compare.comparison_charts import available, picture
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.pictures import charts, dot_plot
from offshelf.report.pictures.charts import Axis, Dot, Series, chart

pytestmark = pytest.mark.slow


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn in a test."""
    figures: list[Figure] = []
    kept = charts.picture_bytes

    def remember(figure: Figure, form: str) -> bytes:
        figures.append(figure)
        return kept(figure, form)

    monkeypatch.setattr(charts, "picture_bytes", remember)
    monkeypatch.setattr(dot_plot, "picture_bytes", remember)
    return figures


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def row_names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


LAYERS = tuple((name, depth) for depth, name in enumerate(("stem", "stage3", "penultimate")))


def by_layer(**axes: tuple[Any, ...]) -> tuple[Row, ...]:
    rows = [
        made_row(180 - 5 * number, layer=layer, depth=depth, **dict(zip(axes, values, strict=True)))
        for number, (values, (layer, depth)) in enumerate(
            itertools.product(itertools.product(*axes.values()), LAYERS)
        )
    ]
    return judged(rows)


def test_every_axis_that_varies_has_a_picture() -> None:
    rows = by_layer(weights=("trained", "random"), c=(0.1, 1.0), class_weight=(None, "balanced"))
    assert available(rows) == (
        *("depth", "weights", "C", "class_weight"),
        "rows",
    )
    for kind in available(rows):
        assert picture(rows, kind)[1:4] == b"PNG"


def test_costs_are_drawn_where_they_differ() -> None:
    rows = judged([made_row(180), made_row(170, dimension=64, ms=3.0, head="ridge")])
    assert available(rows) == ("head", "cost", "dimension", "rows")
    assert available(judged([made_row(180)])) == ("cost", "dimension", "rows")
    assert available(grid(180, 1, head=("svm", "ridge"))) == ("head", "rows")


def test_random_weights_are_drawn_beside_trained_ones(drawn: list[Figure]) -> None:
    rows = by_layer(weights=("trained", "random"))
    picture(rows, "depth")
    assert legend(drawn[0]) == ["trained weights", "random weights"]
    ticks = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert ticks == ["stem", "stage3", "penultimate"]
    picture(rows, "weights")
    assert legend(drawn[1]) == ["trained weights", "random weights"]
    assert row_names(drawn[1]) == ["stem", "stage3", "penultimate"]
    trained, random = drawn[1].axes[0].lines
    assert len(trained.get_xdata()) == len(random.get_xdata()) == 3


def test_c_is_a_curve_on_a_logarithmic_axis(drawn: list[Figure]) -> None:
    rows = grid(180, 2, head=("svm", "ridge"), c=(0.1, 10.0, 1.0, "auto"))
    picture(rows, "C")
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == "log"
    assert legend(drawn[0]) == ["svm", "ridge", "auto: the C that it chose"]
    assert list(axes.lines[0].get_xdata()) == [0.1, 1.0, 10.0]


def test_rows_are_named_by_what_varies_the_best_at_the_top(drawn: list[Figure]) -> None:
    rows = grid(190, 60, head=("svm", "ridge"), reduction=("none", "pca:8"))
    picture(rows, "rows")
    assert row_names(drawn[0]) == ["svm", "PCA to 8, svm", "ridge", "PCA to 8, ridge"]
    assert legend(drawn[0]) == ["cannot be told from the best", "worse than the best"]
    low, high = drawn[0].axes[0].get_ylim()
    assert low > high


def test_one_axis_alone_has_a_name_for_each_value(drawn: list[Figure]) -> None:
    picture(grid(190, 4, pooling=("max", "avg", "gem")), "pooling")
    assert row_names(drawn[0]) == ["max pooling", "avg pooling", "gem pooling"]
    assert legend(drawn[0]) == []


def test_many_rows_are_cut_and_counted(drawn: list[Figure]) -> None:
    rows = grid(200, 1, c=tuple(float(n) for n in range(1, 61)))
    picture(rows, "rows")
    assert len(row_names(drawn[0])) == axis_charts.MOST_ROWS
    assert "(40 of 60 rows)" in drawn[0].get_suptitle()
    rows = grid(200, 1, head=("svm", "ridge"), c=tuple(float(n) for n in range(1, 31)))
    picture(rows, "head")
    assert len(row_names(drawn[1])) == axis_charts.MOST_NAMES
    assert "(16 of 30 lines)" in drawn[1].get_suptitle()


def labels_of(figure: Figure) -> list[Annotation]:
    return [one for one in figure.axes[0].texts if isinstance(one, Annotation)]


@pytest.mark.parametrize("count", [5, 30])
def test_labels_hide_neither_points_nor_one_another(drawn: list[Figure], count: int) -> None:
    draw = np.random.default_rng(count)
    dots = tuple(
        Dot(float(x), float(y), (float(y) - 0.02, float(y) + 0.02), f"a label {number}")
        for number, (x, y) in enumerate(draw.uniform(0.4, 0.6, (count, 2)))
    )
    chart("A title", Axis(name="x"), Axis(name="y"), [Series(name="one", dots=dots, line=False)])
    (figure,) = drawn
    labels = labels_of(figure)
    assert len(labels) >= min(count, 5)
    boxes = [Text.get_window_extent(label) for label in labels]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = figure.axes[0].transData.transform([(dot.x, dot.y) for dot in dots])
    assert not any(box.contains(*point) for box in boxes for point in points)
    inside = figure.axes[0].get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


def test_labels_keep_off_lines(drawn: list[Figure]) -> None:
    front = Series(name="front", dots=(Dot(0, 0), Dot(1, 1)), markers=False)
    point = Series(name="one", dots=(Dot(0.5, 0.5, None, "a long name of a point"),), line=False)
    chart("A title", Axis(name="x"), Axis(name="y"), [point, front])
    (label,) = labels_of(drawn[0])
    box = Text.get_window_extent(label)
    line = drawn[0].axes[0].transData.transform([(n / 500, n / 500) for n in range(501)])
    assert not any(box.contains(*place) for place in line)


def test_the_legend_is_below_the_axes(drawn: list[Figure]) -> None:
    rows = by_layer(weights=("trained", "random"))
    for kind in available(rows):
        picture(rows, kind)
    for figure in drawn:
        for one in figure.legends:
            assert one.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0


def test_names_are_no_formulas(drawn: list[Figure]) -> None:
    rows = judged([made_row(180, backbone="timm/a$b$c"), made_row(170, backbone="b")])
    for kind in available(rows):
        picture(rows, kind)
    assert row_names(drawn[-1]) == ["timm/a$b$c", "b"]
    texts = [text for figure in drawn for text in figure.findobj(Text)]
    assert sum("a$b$c" in text.get_text() for text in texts) >= 3
    assert not any(text.get_parse_math() for text in texts if "a$b$c" in text.get_text())


@pytest.mark.parametrize("form", ["png", "svg"])
def test_equal_calls_give_equal_bytes(form: str) -> None:
    rows = by_layer(weights=("trained", "random"))
    for kind in available(rows):
        assert picture(rows, kind, form) == picture(rows, kind, form)
    assert comparison_charts.kind_of(axis_charts.varied(rows)[0]) == "layer"


def test_a_dot_plot_grows_with_its_names() -> None:
    few, many = (
        Image.open(io.BytesIO(picture(grid(190, 1, c=tuple(map(float, range(1, n)))), "rows")))
        for n in (3, 30)
    )
    assert few.width == many.width
    assert few.height < many.height
