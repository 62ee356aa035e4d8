"""Ridge and LDA in closed form: scikit-learn's scores, and errors of really leaving rows out."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier

from made_features import made_features
from offshelf.heads.class_balance import row_weights
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head, fit_prepared
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.kinds.lda import Scatter
from offshelf.heads.numerics import regularised
from offshelf.heads.numerics.centred import Centred
from offshelf.heads.numerics.regularised import _ByColumns, _ByRows
from offshelf.heads.numerics.row_scaling import BLOCK_VALUES, WIDE_VALUES, scale_rows, scaled_block
from offshelf.heads.options import GRID, Options
from offshelf.heads.preparation.prepare import prepare

SHAPES = pytest.mark.parametrize(("n", "dimension"), [(70, 12), (40, 60)], ids=["long", "wide"])
CLASSES = pytest.mark.parametrize("k", [2, 4])
C = pytest.mark.parametrize("c", [0.01, 1.0, 100.0])


def _wrong_without(model, rows: np.ndarray, targets: np.ndarray) -> float:
    """The share of rows that *model*, trained without them, labels wrongly."""
    wrong = 0
    for row in range(len(targets)):
        model.fit(np.delete(rows, row, axis=0), np.delete(targets, row))
        wrong += model.predict(rows[row : row + 1])[0] != targets[row]
    return wrong / len(targets)


@pytest.mark.slow
@SHAPES
@CLASSES
@C
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_ridge_is_ridge_classifier_and_leaves_out_exactly(n, dimension, k, c, normalisation):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    head = fit_head(
        Recipe(kind="ridge", c=c, normalisation=normalisation), features, targets, classes
    )
    rows = scaled_block(features, normalisation)
    model = RidgeClassifier(alpha=1 / (2 * c)).fit(rows, targets)
    expected = model.decision_function(rows)
    if k == 2:
        expected = np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(decision(head, features), expected, atol=1e-5)
    assert head.parameters == {
        "C": c,
        "alpha": 1 / (2 * c),
        "left_out_error": _wrong_without(model, rows, targets),
    }


@SHAPES
@CLASSES
@C
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_lda_has_the_posteriors_of_scikit_learn(n, dimension, k, c, normalisation):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    head = fit_head(
        Recipe(kind="lda", c=c, normalisation=normalisation), features, targets, classes
    )
    rows = scaled_block(features, normalisation)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1 / (1 + c)).fit(rows, targets)
    scores = decision(head, features).astype(np.float64)
    posteriors = np.exp(scores - scores.max(axis=1, keepdims=True))
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posteriors, model.predict_proba(rows), atol=2e-4)
    if k == 2:
        assert np.array_equal(scores[:, 0], -scores[:, 1])


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
def test_lda_labels_digits_as_scikit_learn_does(solver):
    features, targets = load_digits(return_X_y=True)
    features = features.astype(np.float32)
    train, test = np.arange(1797) % 2 == 0, np.arange(1797) % 2 == 1
    head = fit_head(
        Recipe(kind="lda", c=9.0), features[train], targets[train], [str(i) for i in range(10)]
    )
    model = LinearDiscriminantAnalysis(solver=solver, shrinkage=0.1)
    model.fit(scaled_block(features[train], "l2"), targets[train])
    expected = model.predict(scaled_block(features[test], "l2"))
    assert np.array_equal(decision(head, features[test]).argmax(axis=1), expected)


@pytest.mark.slow
@SHAPES
@CLASSES
@C
@pytest.mark.parametrize("classes", ["uneven", "balanced", "balanced and even"])
def test_lda_leaves_out_exactly_but_for_the_scale_of_the_target(n, dimension, k, c, classes):
    features, targets, _ = made_features(k, n, dimension, uneven=True)
    balanced = classes != "uneven"
    if classes == "balanced and even":
        targets = np.arange(n) % k
    rows = scaled_block(features, "l2")
    shrinkage = 1 / (1 + c)
    weights = row_weights(targets, k, "balanced" if balanced else None)
    scatter = Scatter.of(scale_rows(features, "l2"), targets, weights)
    weights = np.ones(n) if weights is None else weights
    wrong = 0
    for row in range(n):
        kept = np.arange(n) != row
        means = np.stack([rows[kept & (targets == j)].mean(axis=0) for j in range(k)])
        centred = rows[kept] - means[targets[kept]]
        whole = (centred.T * weights[kept]) @ centred
        whole += scatter.ridge(c) * np.eye(dimension)
        away = rows[row] - means
        squares = np.einsum("kd,dk->k", away, np.linalg.solve(whole, away.T))
        counts = np.bincount(targets[kept], minlength=k)
        priors = np.zeros(k) if balanced else np.log(counts)
        scores = priors - squares * (n - 1) / (2 * (1 - shrinkage))
        wrong += scores.argmax() != targets[row]
    assert scatter.left_out_errors([c]) == [wrong / n]
    if not balanced:
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        assert abs(_wrong_without(model, rows, targets) - wrong / n) <= 2 / n


@pytest.mark.parametrize("kind", ["ridge", "lda"])
def test_auto_takes_the_c_with_the_fewest_errors_and_records_all(kind):
    features, targets, classes = made_features(4, 90, 40, uneven=True)
    head = fit_head(Recipe(kind=kind, c="auto"), features, targets, classes)
    errors = [
        fit_head(Recipe(kind=kind, c=c), features, targets, classes).parameters["left_out_error"]
        for c in GRID
    ]
    assert head.parameters["left_out_errors"] == errors
    assert head.parameters["left_out_error"] == min(errors)
    assert head.parameters["C_grid"] == list(GRID)
    assert head.parameters["C"] == GRID[errors.index(min(errors))]
    arrays, document = pack_head(head)
    again = unpack_head(arrays, json.loads(json.dumps(document, allow_nan=False)))
    assert decision(again, features).tobytes() == decision(head, features).tobytes()


@pytest.mark.parametrize("kind", ["ridge", "lda"])
def test_parts_of_the_rows_give_what_all_give(kind, monkeypatch):
    features, targets, classes = made_features(4, 90, 40, uneven=True)
    whole = fit_head(Recipe(kind=kind), features, targets, classes)
    monkeypatch.setattr("offshelf.heads.numerics.row_scaling.BLOCK_VALUES", 300)
    parts = fit_head(Recipe(kind=kind), features, targets, classes)
    np.testing.assert_allclose(parts.arrays["weight"], whole.arrays["weight"], atol=1e-5)
    assert parts.parameters == whole.parameters


@pytest.mark.parametrize("kind", ["ridge", "lda"])
@pytest.mark.parametrize("dimension", [2, 30])
def test_classes_without_spread_and_with_one_row_are_no_trouble(kind, dimension):
    features = np.zeros((5, dimension), dtype=np.float32)
    features[:2, 0], features[2:, 1] = 1, 2
    targets = np.array([0, 0, 1, 1, 1])
    head = fit_head(Recipe(kind=kind), features, targets, ["a", "b"])
    assert decision(head, features).argmax(axis=1).tolist() == targets.tolist()
    assert head.parameters["left_out_error"] == 0
    lonely = fit_head(
        Recipe(kind=kind, normalisation="none"), features[1:], targets[1:], ["a", "b"]
    )
    assert np.isfinite(decision(lonely, features)).all()
    assert lonely.parameters["left_out_error"] == 0.25


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 40)], ids=["alike", "weighted"])
@pytest.mark.parametrize("groups", [np.zeros(40, dtype=np.int64), np.arange(40) % 3])
def test_both_decompositions_see_the_same(weights, groups):
    features, _, _ = made_features(3, 40, 40, uneven=True)
    centred = Centred(scale_rows(features, "l2"), groups, weights)
    first, second = _ByRows(centred), _ByColumns(centred)
    assert first.total == pytest.approx(second.total, rel=1e-12)
    draw = np.random.default_rng(0)
    targets = centred.centre(draw.standard_normal((40, 2)))
    vectors, ts = centred.means - features.mean(axis=0), [0.003, 2.0]
    for t in ts:
        for ask, what in (("weights", targets), ("solve", vectors)):
            one, other = (getattr(each, ask)(what, t) for each in (first, second))
            np.testing.assert_allclose(one, other, atol=1e-9 * np.abs(other).max())
    np.testing.assert_allclose(first.products(vectors, ts), second.products(vectors, ts), rtol=1e-9)
    for ask, what in (("residuals", targets), ("scores", vectors)):
        one, other = (_whole(getattr(each, ask)(what, ts)) for each in (first, second))
        np.testing.assert_allclose(one[0], other[0], atol=1e-9 * np.abs(other[0]).max())
        np.testing.assert_allclose(one[1], other[1], atol=1e-11)


def _whole(parts) -> tuple[np.ndarray, np.ndarray]:
    places, _, values, own = zip(*sorted(parts, key=lambda part: part.place), strict=True)
    assert set(places) == {0, 1}
    return np.concatenate(values), np.concatenate(own)


@pytest.mark.parametrize("kind", ["ridge", "lda"])
def test_heads_are_the_same_by_either_decomposition(kind, monkeypatch):
    features, targets, _ = made_features(3, 40, 40, uneven=True)
    heads = []
    for decomposition in (_ByRows, _ByColumns):
        monkeypatch.setattr(regularised, "_ByRows", decomposition)
        heads.append(fit_head(Recipe(kind=kind, c=3.0), features, targets, ["a", "b", "c"]))
    first, second = (decision(head, features) for head in heads)
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert heads[0].parameters == heads[1].parameters


@pytest.mark.parametrize("c", [1e4, 1e7])
def test_ridge_leaves_out_exactly_where_little_is_left_of_a_row(c):
    """At a large C nearly all of a row's own target is fitted, and 1 less that is small."""
    draw = np.random.default_rng(1)
    features, targets = draw.standard_normal((30, 90)), np.arange(30) % 3
    rows, signs = scale_rows(features, "none"), np.where(targets[:, None] == np.arange(3), 1.0, -1)
    decomposed = _ByRows(Centred(rows, np.zeros(30, dtype=np.int64)))
    centred = decomposed.centred.centre(signs)
    ((_, _, residuals, own),) = decomposed.residuals(centred, [1 / (2 * c)])
    left_out = signs - residuals / own[:, None]
    for row in range(30):
        kept = np.arange(30) != row
        inner, outer = features[kept], signs[kept]
        z, y = inner - inner.mean(axis=0), outer - outer.mean(axis=0)
        dual = np.linalg.solve(z @ z.T + np.eye(29) / (2 * c), y)
        expected = outer.mean(axis=0) + (features[row] - inner.mean(axis=0)) @ z.T @ dual
        np.testing.assert_allclose(left_out[row], expected, atol=1e-7)


@pytest.mark.parametrize("decomposition", [_ByRows, _ByColumns])
@pytest.mark.parametrize("dimension", [5, 12])
def test_something_is_always_left_of_a_row(decomposition, dimension):
    """Six points of five or more dimensions are fitted as they are where t is next to nothing."""
    draw = np.random.default_rng(3)
    rows = scale_rows(1e3 * draw.standard_normal((6, dimension)), "none")
    decomposed = decomposition(Centred(rows, np.zeros(6, dtype=np.int64)))
    targets = decomposed.centred.centre(draw.standard_normal((6, 1)))
    for t in (1e-300, 1e-9, 1e-3):
        ((_, _, residuals, own),) = decomposed.residuals(targets, [t])
        assert ((own > 0) & (own <= 1)).all()
        assert np.isfinite(residuals / own[:, None]).all()


def test_what_is_left_of_a_row_stays_what_it_can_be_after_rounding():
    own, parts = np.array([-1e-17, 0.0, 0.5, 2.0]), np.array([0.1, 0.1, 0.1, 0.25])
    assert regularised._inside(own, parts).tolist() == [2**-52, 2**-52, 0.5, 0.75]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_lda_knows_classes_of_equal_rows_from_rounding(scale, normalisation):
    """Far from 0 rounding leaves a spread around the means, of either sign."""
    points = np.random.default_rng(0).standard_normal((30, 1000)) + 100
    features = (scale * np.repeat(points, 3, axis=0)).astype(np.float32)
    targets, names = np.repeat(np.arange(30), 3), [str(i) for i in range(30)]
    rows = Centred(scale_rows(features, normalisation), targets)
    assert (_ByRows(rows).total, _ByColumns(rows).total) == (0, 0)
    head = fit_head(Recipe(kind="lda", normalisation=normalisation), features, targets, names)
    assert head.parameters["left_out_error"] == 0
    assert np.array_equal(decision(head, features).argmax(axis=1), targets)


@pytest.mark.parametrize("c", [1e-300, 1e-17, 1e-13, 1e-6])
def test_lda_of_next_to_no_covariance_goes_by_the_nearest_mean(c):
    features, targets, classes = made_features(4, 40, 60, uneven=True)
    head = fit_head(Recipe(kind="lda", c=c, class_weight="balanced"), features, targets, classes)
    rows = scaled_block(features, "l2")
    means = np.stack([rows[targets == j].mean(axis=0) for j in range(4)])
    nearest = ((rows[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(decision(head, features).argmax(axis=1), nearest)


def test_rows_that_are_shared_are_decomposed_for_each_weighting():
    features, targets, classes = made_features(3, 40, 60, uneven=True)
    prepared = prepare(features)
    for class_weight in (None, "balanced"):
        for kind in ("ridge", "lda"):
            shared = fit_prepared(
                kind, prepared, targets, classes, Options(class_weight=class_weight)
            )
            alone = fit_head(
                Recipe(kind=kind, class_weight=class_weight), features, targets, classes
            )
            np.testing.assert_allclose(
                decision(shared, features), decision(alone, features), atol=1e-5
            )


def test_many_classes_keep_no_matrix_of_classes_and_rows():
    features = np.random.default_rng(0).standard_normal((4000, 8))
    groups, rows = np.arange(4000) % 1000, scale_rows(features, "none")
    Centred(rows, groups)
    tracemalloc.start()
    try:
        centred = Centred(rows, groups)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1000 * 4000 / 10
    np.testing.assert_allclose(centred.means[7], features[7::1000].mean(axis=0), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ridge", "lda"])
def test_one_matrix_of_inner_products_is_all_that_is_kept(kind):
    n = 2200
    features = np.random.default_rng(0).standard_normal((n, 2300)).astype(np.float32)
    targets, names = np.arange(n) % 3, ["a", "b", "c"]
    fit_head(Recipe(kind=kind), features[:9], targets[:9], names)
    tracemalloc.start()
    try:
        fit_head(Recipe(kind=kind, c="auto"), features, targets, names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Blocks of rows and columns do not grow with n.
    assert peak < 8 * n**2 + 8 * (WIDE_VALUES + 4 * BLOCK_VALUES)
