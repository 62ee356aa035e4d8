"""Normalisations and reductions: scikit-learn's arrays, learned from training rows only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from made_features import made_features
from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.numerics import eigen
from offshelf.heads.numerics.centred import Centred
from offshelf.heads.numerics.row_scaling import scale_rows
from offshelf.heads.preparation import reduction as reductions
from offshelf.heads.preparation.prepare import Preparation, apply, prepare
from offshelf.heads.preparation.reduction import parse_reduction

SHAPES = pytest.mark.parametrize(("n", "dimension"), [(90, 12), (40, 60)], ids=["long", "wide"])


def learned(features, normalisation, reduction="none", seed=0) -> Preparation:
    return prepare(
        features, normalisation=normalisation, reduction=reduction, seed=seed
    ).preparation


def _features(n: int, dimension: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    mixed = draw.normal(size=(n, dimension)) @ draw.normal(size=(dimension, dimension))
    return (mixed + draw.normal(size=dimension)).astype(np.float32)


@SHAPES
@pytest.mark.parametrize("normalisation", ["l2", "none", "standard", "sqrt"])
@pytest.mark.parametrize("whiten", [False, True])
def test_principal_components_are_those_of_scikit_learn(n, dimension, normalisation, whiten):
    features, unseen = _features(n, dimension), _features(20, dimension, seed=1)
    plain = learned(features, normalisation)
    model = PCA(6, whiten=whiten, svd_solver="full").fit(apply(plain, features).astype(float))
    name = "whiten" if whiten else "pca"
    preparation = learned(features, normalisation, f"{name}:6")
    expected = model.transform(apply(plain, unseen).astype(float))
    found = apply(preparation, unseen)
    signs = np.sign((expected * found).sum(axis=0))
    size = np.abs(expected).max()
    np.testing.assert_allclose(found * signs, expected, atol=2e-5 * size)
    assert preparation.variance == pytest.approx(model.explained_variance_ratio_.sum(), rel=1e-5)


@SHAPES
def test_the_way_of_many_rows_gives_the_same(monkeypatch, n, dimension):
    features = _features(n, dimension)
    few = learned(features, "l2", "pca:6").arrays["projection"]
    monkeypatch.setattr(eigen, "MANY", 0)
    many = learned(features, "l2", "pca:6").arrays["projection"]
    np.testing.assert_allclose(many, few, rtol=0, atol=1e-6)


def test_both_decompositions_see_the_same():
    centred = Centred(scale_rows(_features(40, 40), "l2"), np.zeros(40, dtype=np.int64))
    by_rows, by_columns = eigen._ByRows(centred), eigen._ByColumns(centred)
    size = len(by_rows.spread)
    assert size == 39
    np.testing.assert_allclose(by_rows.spread, by_columns.spread[-size:], rtol=1e-9)
    np.testing.assert_allclose(by_rows.mean, by_columns.mean, atol=1e-12)
    for each in (by_rows, by_columns):
        back = each.combine(each.coordinates(slice(None)))
        np.testing.assert_allclose(back, centred.take(slice(None)), atol=1e-9)


def test_components_have_the_signs_of_scikit_learn():
    features = _features(60, 9)
    found = learned(features, "none", "pca:4").arrays["projection"]
    np.testing.assert_allclose(found, PCA(4).fit(features).components_, atol=1e-4)


@pytest.mark.parametrize("shape", [(300, 200), (150, 400)])
def test_random_products_find_the_same_components(monkeypatch, shape):
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=(size, 30)) for size in shape]
    features = (parts[0] * 0.8 ** np.arange(30)) @ parts[1].T + 0.01 * draw.normal(size=shape) + 3
    exact = learned(features, "none", "whiten:8")
    monkeypatch.setattr(reductions, "_RANDOMISED_SIZE", 100)
    monkeypatch.setattr(reductions, "decompose", None)
    near = learned(features, "none", "whiten:8")
    np.testing.assert_allclose(apply(near, features), apply(exact, features), atol=1e-3)
    assert near.variance == pytest.approx(exact.variance, rel=1e-6)
    again = learned(features, "none", "whiten:8")
    assert again.arrays["projection"].tobytes() == near.arrays["projection"].tobytes()


def test_random_projection_keeps_distances_and_follows_the_seed():
    features = _features(30, 400)
    first, again, other = (learned(features, "none", "random:300", s) for s in (1, 1, 2))
    assert first.arrays["projection"].tobytes() == again.arrays["projection"].tobytes()
    assert first.arrays["projection"].tobytes() != other.arrays["projection"].tobytes()
    assert set(first.arrays) == {"projection"}
    before = np.linalg.norm(features[:1] - features[1:], axis=1)
    reduced = apply(first, features)
    after = np.linalg.norm(reduced[:1] - reduced[1:], axis=1)
    assert np.abs(after / before - 1).max() < 0.3


@SHAPES
def test_standard_is_the_standard_scaler_and_constants_become_zero(n, dimension):
    features = _features(n, dimension)
    features[:, 3] = 0.1
    preparation = learned(features, "standard")
    unseen = _features(20, dimension, seed=1)
    kept = np.arange(dimension) != 3
    expected = StandardScaler().fit(features[:, kept].astype(float)).transform(unseen[:, kept])
    found = apply(preparation, unseen)
    np.testing.assert_allclose(found[:, kept], expected, atol=1e-4)
    assert not found[:, 3].any()


def test_sqrt_keeps_signs_and_has_length_one():
    features = _features(9, 5)
    features[2] = 0
    roots = np.sign(features) * np.sqrt(np.abs(features))
    np.testing.assert_allclose(
        apply(learned(features, "sqrt"), features), normalize(roots), atol=1e-6
    )


def test_rows_to_score_teach_nothing():
    features, targets, classes = made_features(3, 60, 12)
    for normalisation, reduction in (("standard", "none"), ("standard", "whiten:4")):
        head = fit_head(
            Recipe(kind="ridge", normalisation=normalisation, reduction=reduction),
            features,
            targets,
            classes,
        )
        alone = decision(head, features[:1])
        crowd = decision(head, np.concatenate([features[:1], 1e4 * features[1:]]))
        assert alone.tobytes() == crowd[:1].tobytes()


@given(n=st.integers(3, 60), dimension=st.sampled_from([2, 9, 70]), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_prepared_row_has_the_same_bits_alone(n, dimension, data):
    normalisation = data.draw(st.sampled_from(["l2", "none", "standard", "sqrt"]))
    name = data.draw(st.sampled_from(["pca", "whiten", "random"]))
    most = min(n - 1, dimension) - (normalisation != "none") if name != "random" else dimension
    if most < 1:
        return
    size = data.draw(st.integers(1, most))
    features = _features(n, dimension, seed=n)
    try:
        preparation = learned(features, normalisation, f"{name}:{size}")
    except HeadError:
        return
    row = data.draw(st.integers(0, n - 1))
    prepared = apply(preparation, features)
    assert prepared.shape == (n, size)
    assert apply(preparation, features[row : row + 1]).tobytes() == prepared[[row]].tobytes()


REFUSED = {
    ("l2", "pcb:3"): "unknown reduction 'pcb:3': use 'none', 'pca:N', 'whiten:N' or 'random:N'. "
    "Did you mean 'pca'?",
    ("l2", "pca"): "reduction 'pca' needs a whole number of dimensions from 1, as in 'pca:64'",
    ("l2", "whiten:0"): "reduction 'whiten:0' needs a whole number of dimensions from 1, "
    "as in 'whiten:64'",
    ("l2", "random:1.5"): "reduction 'random:1.5' needs a whole number of dimensions from 1, "
    "as in 'random:64'",
    ("l2", "pca:20"): "reduction 'pca:20' is too large for 20 training rows of 60 dimensions: "
    "the largest is 'pca:19'",
    ("l2", "random:61"): "reduction 'random:61' is too large for 20 training rows of 60 "
    "dimensions: the largest is 'random:60'",
    ("l1", "none"): "unknown normalisation 'l1': use 'l2', 'none', 'standard' or 'sqrt'",
}


@pytest.mark.parametrize(("normalisation", "reduction"), REFUSED)
def test_what_cannot_be_done_is_one_line(normalisation, reduction):
    with pytest.raises(HeadError) as error:
        learned(_features(20, 60), normalisation, reduction)
    assert str(error.value) == REFUSED[normalisation, reduction]


@pytest.mark.parametrize("reduction", [3, None, ["pca:3"]])
def test_a_reduction_that_is_no_text_is_one_line(reduction):
    with pytest.raises(HeadError) as error:
        parse_reduction(reduction)
    assert str(error.value) == (
        f"unknown reduction {reduction!r}: use 'none', 'pca:N', 'whiten:N' or 'random:N'."
    )


@pytest.mark.parametrize("size", [2000, 100], ids=["whole", "random products"])
def test_rows_that_span_less_than_their_number_are_told(monkeypatch, size):
    monkeypatch.setattr(reductions, "_RANDOMISED_SIZE", size)
    features = _features(200, 3) @ np.random.default_rng(0).normal(size=(3, 150))
    with pytest.raises(HeadError, match=r"the largest is 'pca:3'"):
        learned(features, "none", "pca:9")
    with pytest.raises(HeadError, match="use 'none'"):
        learned(np.ones((200, 150)), "none", "pca:2")


def test_a_head_on_all_components_scores_as_without_them():
    features, targets, classes = made_features(3, 40, 60)
    for kind in ("logistic", "ridge", "lda", "centroid"):
        plain = decision(fit_head(Recipe(kind=kind), features, targets, classes), features)
        turned = decision(
            fit_head(Recipe(kind=kind, reduction="pca:39"), features, targets, classes), features
        )
        if kind == "lda":
            # Shrinkage is towards a multiple of the identity of fewer dimensions.
            continue
        expected = plain - plain.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(turned - turned.mean(axis=1, keepdims=True), expected, atol=2e-3)


def test_prepared_rows_are_those_that_decisions_see():
    features = _features(30, 12)
    for normalisation in ("l2", "none", "standard", "sqrt"):
        prepared = prepare(features, normalisation=normalisation)
        expected = apply(prepared.preparation, features)
        np.testing.assert_allclose(prepared.rows.take(slice(None)), expected, rtol=1e-5, atol=1e-6)
        assert prepared.rows.radius == pytest.approx(scale_rows(expected, "none").radius, rel=1e-5)
