"""fit_head and decision: scikit-learn's LinearSVC on normalised rows, row by row the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from made_features import made_features
from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.registry import NAMES, get_fitter
from offshelf.heads.numerics.row_scaling import scale_rows, scaled_block
from offshelf.heads.preparation.prepare import apply, prepare
from offshelf.heads.svm import newton


def _names(k: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(k))


def _reference(rows: np.ndarray, targets: np.ndarray, c: float) -> np.ndarray:
    """LinearSVC's decision in two columns at least, from the primal run to a tight end."""
    model = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000)
    scores = model.fit(rows.astype(np.float64), targets).decision_function(rows)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


@pytest.mark.slow
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize(
    ("n", "dimension"), [(210, 20), (210, 100), (210, 600)], ids=["factored", "dense", "wide"]
)
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_scores_and_labels_are_those_of_linear_svc(normalisation, n, dimension, k, c):
    features, targets, _ = made_features(k, n, dimension, seed=0)
    # Long rows would keep LinearSVC, not this head, from its minimum.
    features *= np.float32(0.1)
    head = fit_head(Recipe(c=c, normalisation=normalisation), features, targets, _names(k))
    rows = scaled_block(features, normalisation)
    expected = _reference(rows, targets, c)
    scores = decision(head, features)
    assert scores.shape == (n, k)
    assert scores.dtype == np.float32
    assert head.notes == ()
    np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)
    assert np.array_equal(scores.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_real_digits_agree_with_linear_svc(c):
    features, targets = load_digits(return_X_y=True)
    train, test = np.arange(len(targets)) % 3 > 0, np.arange(len(targets)) % 3 == 0
    features = features.astype(np.float32)
    names = [str(i) for i in range(10)]
    head = fit_head(Recipe(c=c), features[train], targets[train], names)
    rows = scaled_block(features, "l2")
    model = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000)
    model.fit(rows[train], targets[train])
    scores = decision(head, features[test])
    np.testing.assert_allclose(scores, model.decision_function(rows[test]), atol=1e-4)
    assert np.array_equal(scores.argmax(axis=1), model.predict(rows[test]))


@pytest.mark.slow
@pytest.mark.parametrize("c", [10.0, 100.0])
def test_scores_are_right_where_rows_are_long_and_c_is_large(c):
    """A row's slack is then little beside its score, and a rough solution looks like a fine one."""
    draw = np.random.default_rng(103)
    targets, centres = np.arange(500) % 5, 0.3 * draw.normal(size=(5, 2000))
    features = np.maximum(centres[targets] + draw.normal(size=(500, 2000)), 0).astype(np.float32)
    head = fit_head(Recipe(c=c, normalisation="standard"), features, targets, _names(5))
    assert not head.notes
    rows = apply(prepare(features, normalisation="standard").preparation, features).astype(
        np.float64
    )
    model = LinearSVC(C=c, dual=True, tol=1e-8, max_iter=100_000).fit(rows, targets)
    np.testing.assert_allclose(decision(head, features), model.decision_function(rows), atol=1e-4)


def test_linear_svc_as_it_comes_agrees_too():
    features, targets, _ = made_features(5, 150, 400, seed=0)
    head = fit_head(Recipe(), features, targets, _names(5))
    rows = normalize(features)
    model = LinearSVC(random_state=0).fit(rows, targets)
    np.testing.assert_allclose(decision(head, features), model.decision_function(rows), atol=1e-3)
    assert np.array_equal(decision(head, features).argmax(axis=1), model.predict(rows))


def test_the_head_says_what_it_is():
    features, targets, _ = made_features(3, 60, 12, seed=0)
    head = fit_head(Recipe(c=2, seed=5), features, targets, list(_names(3)))
    assert (head.kind, head.classes, head.normalisation) == ("svm", _names(3), "l2")
    assert head.parameters == {
        "C": 2.0,
        "seed": 5,
        "loss": "squared_hinge",
        "tolerance": 2e-5,
    }
    assert (head.dimension, head.notes) == (12, ())
    assert {name: (a.shape, a.dtype.name) for name, a in head.arrays.items()} == {
        "weight": ((3, 12), "float32"),
        "bias": ((3,), "float32"),
    }
    with pytest.raises(ValueError, match="read-only"):
        head.arrays["weight"][0, 0] = 1


@pytest.mark.parametrize("dimension", [20, 600])
def test_training_is_deterministic(dimension):
    features, targets, _ = made_features(3, 90, dimension, seed=0)
    first, second = (fit_head(Recipe(seed=4), features, targets, _names(3)) for _ in range(2))
    assert first.arrays["weight"].tobytes() == second.arrays["weight"].tobytes()
    assert first.arrays["bias"].tobytes() == second.arrays["bias"].tobytes()


def test_two_classes_give_mirrored_columns_and_a_tie_goes_to_the_first():
    features, targets, _ = made_features(2, 80, 30, seed=0)
    head = fit_head(Recipe(), features, targets, _names(2))
    scores = decision(head, features)
    assert np.array_equal(scores[:, 0], -scores[:, 1])
    tied = fit_head(Recipe(), np.float32([[1.0], [-1.0]]), np.array([0, 1]), _names(2))
    assert decision(tied, np.zeros((1, 1), np.float32)).tolist() == [[0.0, 0.0]]


@given(
    n=st.integers(1, 300),
    dimension=st.sampled_from([1, 5, 64, 1280, 4096, 25_088]),
    k=st.integers(2, 6),
    normalisation=st.sampled_from(["l2", "none"]),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_one_row_alone_scores_as_in_any_batch(n, dimension, k, normalisation, data):
    rng = np.random.default_rng(n * dimension + k)
    arrays = {
        "weight": rng.standard_normal((k, dimension), dtype=np.float32),
        "bias": rng.standard_normal(k, dtype=np.float32),
    }
    head = FittedHead("svm", _names(k), arrays, {}, normalisation)
    features = rng.standard_normal((n, dimension), dtype=np.float32)
    features[rng.random(n) < 0.1] = 0
    scores = decision(head, features)
    row = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(row + 1, n))
    assert decision(head, features[row : row + 1]).tobytes() == scores[row : row + 1].tobytes()
    assert decision(head, features[row:stop]).tobytes() == scores[row:stop].tobytes()


def test_the_layout_of_the_features_changes_nothing():
    features, targets, _ = made_features(3, 60, 40, seed=0)
    head = fit_head(Recipe(), features, targets, _names(3))
    expected = decision(head, features)
    for other in (np.asfortranarray(features), np.repeat(features, 2, axis=0)[::2]):
        assert np.array_equal(decision(head, other), expected)


def test_zero_vectors_stay_zero_and_score_the_bias():
    features, targets, _ = made_features(3, 60, 12, seed=0)
    features[7] = 0
    head = fit_head(Recipe(), features, targets, _names(3))
    assert np.array_equal(decision(head, features)[7], head.arrays["bias"])
    assert np.array_equal(scale_rows(features, "l2").take([7]), np.zeros((1, 12)))


@pytest.mark.parametrize("scale", [1e-30, 1e30], ids=["tiny", "huge"])
def test_normalisation_survives_values_whose_squares_leave_float32(scale):
    features, targets, _ = made_features(2, 40, 6, seed=0)
    plain = decision(fit_head(Recipe(), features, targets, _names(2)), features)
    scaled = features * np.float32(scale)
    assert np.allclose(
        decision(fit_head(Recipe(), scaled, targets, _names(2)), scaled), plain, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_other_real_types_are_normalised_as_precisely(dtype):
    features = (np.random.default_rng(0).standard_normal((9, 30)) * 100).astype(dtype)
    expected = normalize(features.astype(np.float64))
    np.testing.assert_allclose(scale_rows(features, "l2").take(slice(None)), expected, rtol=1e-6)


def test_no_images_give_no_scores():
    features, targets, _ = made_features(3, 60, 12, seed=0)
    head = fit_head(Recipe(), features, targets, _names(3))
    assert decision(head, features[:0]).shape == (0, 3)


@pytest.mark.parametrize("dimension", [20, 200], ids=["factored", "dense"])
def test_a_solver_that_does_not_converge_is_a_note(monkeypatch, dimension):
    monkeypatch.setattr(newton, "MAX_ROUNDS", 1)
    features, targets, _ = made_features(3, 90, dimension, seed=0)
    assert fit_head(Recipe(c=100), features, targets, _names(3)).notes == (
        "svm: not converged at C=100; scores are approximate, a smaller C converges",
    )


def test_the_registry_lists_and_finds_heads():
    assert NAMES[0] == "svm"
    assert all(get_fitter(kind) for kind in NAMES)
    assert [name for name in NAMES if not get_fitter(name).uses_c] == ["knn", "centroid"]
    assert [name for name in NAMES if get_fitter(name).one_vs_rest] == ["svm", "ridge"]


GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)
TARGETS = np.array([0, 0, 1, 1])
BROKEN = GOOD.copy()
BROKEN[[1, 3], [0, 2]] = np.nan, np.inf
AB = ("a", "b")
KNOWN = "the heads are svm, logistic, ridge, lda, knn, centroid, fc."

REFUSED = {
    "unknown head": (
        {"kind": "svn"},
        f"unknown head 'svn': {KNOWN} Did you mean 'svm'?",
    ),
    "no head": ({"kind": ["svm"]}, f"unknown head ['svm']: {KNOWN}"),
    "C zero": ({"c": 0}, "C must be a positive finite number or 'auto', got 0: 1 is the default"),
    "C negative": (
        {"c": -1.5},
        "C must be a positive finite number or 'auto', got -1.5: 1 is the default",
    ),
    "C nan": (
        {"c": float("nan")},
        "C must be a positive finite number or 'auto', got nan: 1 is the default",
    ),
    "C infinite": (
        {"c": float("inf")},
        "C must be a positive finite number or 'auto', got inf: 1 is the default",
    ),
    "C text": (
        {"c": "1"},
        "C must be a positive finite number or 'auto', got '1': 1 is the default",
    ),
    "seed": ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, got -1"),
    "normalisation": (
        {"normalisation": "l1"},
        "unknown normalisation 'l1': use 'l2', 'none', 'standard' or 'sqrt'",
    ),
    "one class": (
        {"targets": np.array([1, 1, 1, 1])},
        "training data holds only 'b': a head needs at least two classes",
    ),
    "no rows": (
        {"features": GOOD[:0], "targets": TARGETS[:0]},
        "training data holds no rows: a head needs at least two classes",
    ),
    "class without rows": (
        {"classes": ("a", "b", "c", "d")},
        "no training rows for 2 of 4 classes: 'c', 'd'; add images of them or leave them out",
    ),
    "many classes without rows": (
        {"classes": tuple("abcdefghi")},
        "no training rows for 7 of 9 classes: 'c', 'd', 'e', 'f', 'g' and 2 more; "
        "add images of them or leave them out",
    ),
    "class twice": (
        {"classes": ("a", "a")},
        "class 'a' is named twice: class names must differ",
    ),
    "target outside": (
        {"targets": np.array([0, 1, 2, 1])},
        "targets: 2 in row 2 is no class index: need 0 to 1",
    ),
    "target unlabelled": (
        {"targets": np.array([0, -1, 0, 1])},
        "targets: -1 in row 1 is no class index: need 0 to 1",
    ),
    "targets as text": (
        {"targets": np.array(["a", "a", "b", "b"])},
        "targets must be a list of class indices, got shape (4,) of <U1",
    ),
    "lengths": (
        {"targets": np.array([0, 1, 1])},
        "4 rows of features but 3 targets: need one each",
    ),
    "not finite": (
        {"features": BROKEN},
        "features hold NaN or infinity in 2 of 4 rows, first in row 1: extract them again",
    ),
    "beyond float32": (
        {"features": GOOD.astype(np.float64) * 1e200},
        "features hold NaN or infinity in 4 of 4 rows, first in row 0: extract them again",
    ),
    "one row as a vector": (
        {"features": GOOD[0]},
        "features must be a numeric matrix of rows x dimensions, got shape (3,) of float32",
    ),
    "objects": (
        {"features": GOOD.astype(object)},
        "features must be a numeric matrix of rows x dimensions, got shape (4, 3) of object",
    ),
    "no dimensions": (
        {"features": GOOD[:, :0]},
        "features must be a numeric matrix of rows x dimensions, got shape (4, 0) of float32",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(case):
    changed, message = REFUSED[case]
    call = {"kind": "svm", "features": GOOD, "targets": TARGETS, "classes": AB} | changed
    given = [call.pop(name) for name in ("features", "targets", "classes")]
    with pytest.raises(HeadError) as caught:
        fit_head(Recipe(**call), *given)
    assert str(caught.value) == message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            GOOD[:, :2],
            "features have 2 dimensions but the head was trained on 3: "
            "use the backbone, layer and pooling it was trained with",
        ),
        (
            BROKEN,
            "features hold NaN or infinity in 2 of 4 rows, first in row 1: extract them again",
        ),
        (
            GOOD[0],
            "features must be a numeric matrix of rows x dimensions, got shape (3,) of float32",
        ),
    ],
    ids=["dimension", "not finite", "vector"],
)
def test_decision_refuses_features_that_are_not_its_own(features, message):
    head = fit_head(Recipe(), GOOD, TARGETS, AB)
    with pytest.raises(HeadError) as caught:
        decision(head, features)
    assert str(caught.value) == message
