"""What a comparison says of its axes, and how its rows are named and laid out."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest
from rich.cells import cell_len

from made_comparisons import grid, judged, made_row, said_of
from offshelf.jobs.compare.axis_effects import balance_of, edge_of, effects_of, paired_p, sentences
from offshelf.jobs.compare.comparison_axes import AXES, common, name_of, naming, varied
from offshelf.jobs.compare.comparison_rows import Row, Score
from offshelf.jobs.compare.comparison_table import common_line, full_table, narrow_table
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.compare.verdicts import _best, _rank
from offshelf.measurement.significance_tests import corrected_t, mcnemar
from offshelf.report.tables.result_rows import Column, Table
from offshelf.report.tables.table_formats import render

REAL, NOT_REAL = "a real difference", "no real difference"


@pytest.mark.parametrize(
    ("axis", "values", "sentence"),
    [
        ("reduction", ("none", "pca:64"), f"PCA to 64 costs 1.0 points, {NOT_REAL}"),
        ("reduction", ("pca:64", "none"), f"PCA to 64 gains 1.0 points, {NOT_REAL}"),
        (
            "reduction",
            ("pca:64", "whiten:64"),
            f"PCA to 64 against whitening to 64: +1.0 points, {NOT_REAL}",
        ),
        (
            "weights",
            ("trained", "random"),
            f"trained against random weights: +1.0 points, {NOT_REAL}",
        ),
        ("layer", ("stage5", "stem"), f"stage5 against stem: +1.0 points, {NOT_REAL}"),
        ("pooling", ("max", "avg"), f"max pooling against avg pooling: +1.0 points, {NOT_REAL}"),
        ("backbone", ("vgg16", "alexnet"), f"vgg16 against alexnet: +1.0 points, {NOT_REAL}"),
        ("resize", (None, "crop"), f"cropping costs 1.0 points, {NOT_REAL}"),
        ("scaling", ("weights", "none"), f"no scaling costs 1.0 points, {NOT_REAL}"),
        ("grey", ("replicate", "luma"), f"no colour (luma) costs 1.0 points, {NOT_REAL}"),
        ("precision", ("int8", "fp32"), f"int8 gains 1.0 points, {NOT_REAL}"),
        ("size", (320, None), f"an input of 320 pixels gains 1.0 points, {NOT_REAL}"),
        ("flips", ("prediction", "none"), f"averaging mirror images gains 1.0 points, {NOT_REAL}"),
        (
            "normalisation",
            ("l2", "none"),
            f"l2 normalisation against no normalisation: +1.0 points, {NOT_REAL}",
        ),
        ("head", ("svm", "knn:5"), f"svm against knn:5: +1.0 points, {NOT_REAL}"),
        ("c", (10.0, 0.1), f"C = 10 against C = 0.1: +1.0 points, {NOT_REAL}"),
        ("c", ("auto", 0.1), f"C auto against C = 0.1: +1.0 points, {NOT_REAL}"),
        ("class_weight", (None, "balanced"), f"class balancing costs 1.0 points, {NOT_REAL}"),
    ],
)
def test_a_sentence_for_each_axis(axis: str, values: tuple[object, ...], sentence: str) -> None:
    assert said_of(grid(180, 2, **{axis: values})) == [sentence]


def test_every_axis_has_a_sentence_in_the_cases_above() -> None:
    assert len(AXES) == 15


def test_a_large_difference_is_real_and_has_no_decimals() -> None:
    rows = grid(190, 142, weights=("trained", "random"))
    assert said_of(rows) == [f"trained against random weights: +71 points, {REAL}"]


def test_an_equal_accuracy_is_said() -> None:
    assert said_of(grid(180, 0, head=("svm", "ridge"))) == ["svm against ridge: the same accuracy"]
    rows = grid(180, 0, reduction=("none", "pca:8"))
    assert said_of(rows) == ["PCA to 8 changes no accuracy"]


def test_a_few_values_are_listed_and_the_rest_counted() -> None:
    rows = grid(180, 4, head=("svm", "ridge", "lda", "knn", "centroid", "fc"))
    assert said_of(rows) == [
        f"svm against ridge: +2.0 points, {NOT_REAL}; against lda: +4.0 points, {REAL}; "
        f"against knn: +6.0 points, {REAL}; 2 more up to 10 points behind"
    ]


def test_pairs_are_equal_in_all_else_and_the_verdict_is_that_of_the_table() -> None:
    rows = judged(
        [
            made_row(180),
            made_row(160, reduction="pca:8"),
            made_row(150, head="ridge"),
            made_row(98, head="ridge", reduction="pca:8"),
        ]
    )
    reduction, head = effects_of(rows, (100, 200))
    assert (reduction.value, reduction.other, reduction.pairs) == ("none", "pca:8", 2)
    assert reduction.difference == pytest.approx(0.1)
    assert reduction.mean == pytest.approx((0.1 + 0.26) / 2)
    assert rows[1].verdict is not None
    assert reduction.p == rows[1].verdict.adjusted
    assert head.difference == pytest.approx(0.15)
    assert said_of(rows) == [
        f"PCA to 8 costs 10 points, {REAL} (18 on average over 2 pairs)",
        f"svm against ridge: +15 points, {REAL} (+23 on average over 2 pairs)",
    ]
    assert str(head) == said_of(rows)[1]
    assert head.to_json()["axis"] == "head"


def test_a_head_without_c_is_like_any_c() -> None:
    rows = judged([made_row(180, c=10.0), made_row(170, c=1.0), made_row(160, head="centroid")])
    assert [axis.name for axis in varied(rows)] == ["head", "C"]
    assert said_of(rows) == [
        f"svm against centroid: +10 points, {REAL}",
        f"C = 10 against C = 1: +5.0 points, {REAL}",
    ]


def test_the_deepest_layers_of_networks_are_alike() -> None:
    rows = judged(
        [
            made_row(180, backbone="efficientnet_lite0", layer="penultimate", depth=0),
            made_row(160, backbone="vgg16", layer="pool5", depth=0),
        ]
    )
    assert said_of(rows) == [f"efficientnet_lite0 against vgg16: +10 points, {REAL}"]


def test_where_nothing_is_like_the_best_row_the_next_is_tested_itself() -> None:
    rows = judged(
        [
            made_row(190, layer="penultimate", depth=1, weights="trained"),
            made_row(180, layer="stem", weights="trained"),
            made_row(178, layer="stem", weights="random"),
        ]
    )
    (effect,) = [one for one in effects_of(rows, (100, 200)) if one.axis == "weights"]
    first, second = (row.score for row in rows[1:])
    assert first is not None
    assert second is not None
    assert effect.p == mcnemar(first.right, second.right).p
    assert effect.real is False


def test_several_folds_are_tested_by_the_t_test() -> None:
    pair = [
        Score(
            accuracies=accuracies,
            balanced=accuracies,
            interval=(0.0, 1.0),
            right=np.empty(0, bool),
            leaks=0,
            without_leaks=None,
        )
        for accuracies in ((0.92, 0.93, 0.91), (0.90, 0.90, 0.90))
    ]
    expected = corrected_t(*(one.accuracies for one in pair), n_train=100, n_test=50).p
    assert paired_p(pair[0], pair[1], (100, 50)) == expected


def test_rows_side_by_side_are_not_a_layer_or_a_backbone_of_their_own() -> None:
    part = Part(Source(backbone="vgg16"), "pool5", "avg")
    both = View((part, dataclasses.replace(part, layer="pool4")))
    single = View((part,))
    rows = judged(
        [
            dataclasses.replace(made_row(190), view=both),
            dataclasses.replace(made_row(180), view=single),
        ]
    )
    assert said_of(rows) == []
    assert list(sentences(())) == []


EVERY = {
    "backbone": ("timm/vit_base_patch14_reg4_dinov2.lvd142m", "efficientnet_lite0"),
    "layer": ("blocks.11.attn.proj", "penultimate"),
    "pooling": ("avg", "max"),
    "weights": ("trained", "random"),
    "resize": (None, "letterbox"),
    "scaling": ("weights", "none"),
    "grey": ("replicate", "summed"),
    "precision": ("fp32", "int8"),
    "flips": ("none", "prediction"),
    "size": (None, 320),
    "normalisation": ("l2", "standard"),
    "reduction": ("none", "random:1024"),
    "head": ("logistic", "svm"),
    "c": (0.0215443469, "auto"),
    "class_weight": (None, "balanced"),
}


def one_by_one() -> tuple[Row, ...]:
    """Return rows of which each differs from the first in one axis, and one in all."""
    first = {name: values[0] for name, values in EVERY.items()}
    rows = [made_row(190, **first)]
    rows += [made_row(150, **{**first, name: values[1]}) for name, values in EVERY.items()]
    rows.append(made_row(90, **{name: values[1] for name, values in EVERY.items()}))
    return judged(rows)


def test_fifteen_axes_fit_into_110_characters() -> None:
    rows = one_by_one()
    assert len(varied(rows)) == 15
    text = narrow_table(rows)
    lines = render(text).splitlines()
    assert max(map(cell_len, lines)) <= 110
    assert [column.name for column in text.columns][:3] == ["row", "accuracy", "95 % interval"]
    assert "verdict" in [column.name for column in text.columns]
    assert len({cells[0] for cells in text.rows}) == len(rows)


@pytest.mark.parametrize("count", range(1, 16))
def test_any_number_of_axes_fits_and_names_every_row(count: int) -> None:
    axes = dict(list(EVERY.items())[-count:])
    rows = grid(180, 1, **dict(list(axes.items())[:6]))
    table = narrow_table(rows)
    assert max(map(cell_len, render(table).splitlines())) <= 110
    named = len(table.columns) - len([c for c in table.columns if c.kind != "text"])
    assert len({cells[:named] for cells in table.rows}) >= min(len(rows), 2)


def test_columns_are_what_varies_and_the_rest_is_said_once() -> None:
    rows = grid(180, 4, weights=("trained", "random"), head=("svm", "ridge"))
    table = narrow_table(rows)
    assert [column.name for column in table.columns] == [
        *("weights", "head", "accuracy", "95 % interval", "balanced", "p (Holm)", "verdict"),
        *("fit", "predict", "stored"),
    ]
    assert list(common_line(rows)) == [
        "all rows: efficientnet_lite0 penultimate, avg pooling, l2 normalisation, C = 1, "
        "1,280 dimensions, 20 ms for an image"
    ]
    assert list(common_line(rows[:1])) == []


def test_what_is_unusual_and_common_is_said() -> None:
    rows = grid(180, 4, head=("svm", "ridge"), weights=("random",), grey=("luma",))
    assert common(rows) == (
        "efficientnet_lite0 penultimate, avg pooling, random weights, no colour (luma), "
        "l2 normalisation, C = 1"
    )


def test_a_row_alone_is_named_by_network_layer_and_head() -> None:
    rows = grid(180, 1, head=("svm",))
    assert [axis.name for axis in naming(rows)] == ["backbone", "layer", "head"]
    assert [column.name for column in narrow_table(rows).columns][:3] == [
        *("backbone", "layer", "head")
    ]


def test_names_leave_out_what_is_usual() -> None:
    assert name_of(made_row(1)) == "efficientnet_lite0 penultimate, svm, C = 1"
    rows = one_by_one()
    assert name_of(rows[-1]) == (
        "efficientnet_lite0 penultimate, max pooling, random weights, letterbox, no scaling, "
        "no colour (summed), an input of 320 pixels, int8, averaging mirror images, "
        "standard normalisation, "
        "random projection to 1,024, svm, C auto, class balancing"
    )
    both = grid(180, 2, weights=("trained", "random"))
    assert [name_of(row, varied(both)) for row in both] == ["trained weights", "random weights"]


def test_p_values_are_readable_and_files_hold_them_whole() -> None:
    rows = grid(190, 60, head=("svm", "ridge", "lda"))
    text = render(narrow_table(rows))
    assert "< 0.001" in text
    assert "e-" not in text
    table = full_table(rows, "given split")
    place = [column.name for column in table.columns].index("p (Holm)")
    written = list(csv.reader(io.StringIO(render(table, "csv"))))
    for row, line in zip(rows, written[1:], strict=True):
        assert row.verdict is not None
        assert float(line[place]) == row.verdict.adjusted
    names = [column.name for column in table.columns]
    assert names[:15] == [axis.name for axis in AXES]
    assert {"low", "high", "predict", "stored"} <= set(names)


def test_long_problems_are_broken_and_stay_whole() -> None:
    problem = "the training images have 170 directions, fewer than the 1000 of pca:1000 " * 2
    rows = (made_row(180), dataclasses.replace(made_row(1), score=None, problem=problem.strip()))
    rows = (*judged([rows[0]]), dataclasses.replace(rows[1], cost=None, verdict=None))
    text = render(narrow_table(rows))
    assert max(map(cell_len, text.splitlines())) <= 110
    words = " ".join(text.split())
    assert words.count("directions,") == 2


def test_columns_of_text_give_way_and_numbers_do_not() -> None:
    table = Table(
        "", (Column("name"), Column("n", "integer")), (("one two three four", 1234567),), width=20
    )
    assert render(table).splitlines() == [
        "name               n",
        "---------  ---------",
        "one two    1,234,567",
        "three",
        "four",
    ]
    wide = dataclasses.replace(table, rows=(("名前" * 8, 1),))
    assert max(map(cell_len, render(wide).splitlines())) <= 20
    assert "".join(line.split("  ")[0] for line in render(wide).splitlines()[2:]) == "名前" * 8


@pytest.mark.parametrize(
    ("cs", "line"),
    [
        (
            (10.0, 1.0, 0.1),
            "C = 10 of the best row is the largest of those given: give 100 and 1000, too, or "
            "auto, which goes on beyond its ends",
        ),
        (
            (0.1, 1.0),
            "C = 0.1 of the best row is the smallest of those given: give 0.01 and 0.001, too, or "
            "auto, which goes on beyond its ends",
        ),
    ],
)
def test_an_end_of_the_given_values_of_c_is_said(cs: tuple[float, ...], line: str) -> None:
    assert list(edge_of(grid(180, 2, c=cs))) == [line]


@pytest.mark.parametrize("cs", [(1.0, 0.1, 10.0), (1.0,), ("auto", 1.0)])
def test_values_of_c_inside_are_no_matter(cs: tuple[object, ...]) -> None:
    assert list(edge_of(grid(180, 2, c=cs))) == []


def test_equal_accuracies_are_no_end() -> None:
    assert list(edge_of(grid(180, 0, c=(10.0, 1.0)))) == []
    assert list(edge_of(grid(180, 2, head=("centroid", "ridge")))) == []


@pytest.mark.parametrize(("c", "word"), [(1e6, "largest"), (1e-6, "smallest")])
def test_the_end_of_auto_is_said(c: float, word: str) -> None:
    best = dataclasses.replace(made_row(180, c="auto"), c=(1.0, c))
    assert list(edge_of(judged([best]))) == [
        f"C auto chose {c:g} for the best row, the {word} that it tries"
    ]


def test_what_auto_chose_stands_beside_the_best_row() -> None:
    row = dataclasses.replace(judged([made_row(180, c="auto")])[0], c=(0.0464158, 1.0, 1.0))
    assert str(row) == (
        "efficientnet_lite0 penultimate, svm, C auto (C 0.0464, 1): accuracy 90.00 % "
        "(95 % interval 85.06 to 93.43 %), = best"
    )
    assert row.chosen == " (C 0.0464, 1)"
    assert made_row(180).chosen == ""


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (60, "worse than the best beyond chance: the only other row"),
        (0, "not distinguishable from the best: the only other row: "),
    ],
)
def test_the_only_other_row_is_not_all_1_rows(step: int, line: str) -> None:
    rows = grid(180, step, head=("svm", "knn:5"))
    assert [*_best(rows)][1].startswith(line)


def balanced_row(right: int, balanced: float, **values: object) -> Row:
    """Return a row with another balanced accuracy than its accuracy."""
    row = made_row(right, **values)
    assert row.score is not None
    return dataclasses.replace(row, score=dataclasses.replace(row.score, balanced=(balanced,)))


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ((0.8, 0.9), "class balancing gains 10 points (mean over 1 pair)"),
        ((0.8, 0.79), "class balancing costs 1.0 points (mean over 1 pair)"),
        ((0.8, 0.8), "class balancing changes nothing (mean over 1 pair)"),
        ((0.8, 0.9, 0.7, 0.72), "class balancing gains 6.0 points (mean over 2 pairs)"),
    ],
)
def test_class_weights_are_judged_by_balanced_accuracy_too(
    figures: tuple[float, ...], said: str
) -> None:
    rows = [
        balanced_row(
            190 - place,
            figure,
            class_weight="balanced" if place % 2 else None,
            head="ridge" if place > 1 else "svm",
        )
        for place, figure in enumerate(figures)
    ]
    start = "balanced accuracy, the mean recall of the classes, which class weights are for: "
    assert [*balance_of(judged(rows))] == [start + said]


def test_of_one_class_weight_nothing_is_said() -> None:
    for weight in (None, "balanced"):
        rows = [made_row(190, class_weight=weight), made_row(180, class_weight=weight, head="lda")]
        assert [*balance_of(judged(rows))] == []


def test_ties_are_broken_and_that_is_said() -> None:
    rows = [
        made_row(190, head="svm"),
        made_row(190, head="ridge", dimension=64),
        balanced_row(190, 0.96, head="lda"),
        made_row(190, head="centroid", dimension=64),
        made_row(189, head="fc"),
    ]
    ordered = sorted(rows, key=_rank)
    assert [row.recipe.head for row in ordered] == ["lda", "ridge", "centroid", "svm", "fc"]
    assert [*_best(judged(ordered))][-1] == (
        "4 rows have the accuracy of the best: the higher balanced accuracy comes first, then "
        "fewer dimensions, then the order in which they were asked for"
    )
    assert not any("have the accuracy" in line for line in _best(judged(rows[3:])))
