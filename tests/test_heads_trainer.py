"""Scores of rows that are held out: those of heads trained anew, and what comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, Trainer, fit_head, held_out_scores
from offshelf.heads.group_folds import held_out_folds
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.registry import NAMES
from offshelf.heads.numerics.row_scaling import SharedRows
from offshelf.heads.numerics.tridiagonal import Cholesky, Tridiagonal
from offshelf.heads.probabilities.score_calibration import fit_sigmoid, fit_temperature

Sample = tuple[NDArray[np.float32], NDArray[np.int64]]
QUICK = tuple(kind for kind in NAMES if kind != "fc")


def clouds(sizes: list[int], dimension: int, spread: float = 1.2) -> Sample:
    """As many rows of each class as *sizes* say, in overlapping clouds, in random order."""
    draw = np.random.default_rng(0)
    targets = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = draw.normal(size=(len(sizes), dimension))
    rows = draw.normal(size=(len(targets), dimension)) + spread * centres[targets]
    return np.maximum(rows, 0).astype(np.float32), targets


def digits() -> Sample:
    given = load_digits()
    return given.data[:600].astype(np.float32), given.target[:600].astype(np.int64)


SAMPLES = {
    "digits": digits(),
    "fewer rows than dimensions": clouds([20] * 4, 120),
    "some more rows than dimensions": clouds([20] * 4, 70),
    "two classes": clouds([60, 30], 40, 0.4),
    "rare classes": clouds([90, 40, 7, 3, 2, 1], 30),
    "many classes": clouds([6] * 40, 60),
    "some rows twice": tuple(np.concatenate([each, each[:20]]) for each in clouds([20] * 3, 30)),
}


def names(targets: NDArray[np.int64]) -> list[str]:
    return [str(k) for k in range(int(targets.max()) + 1)]


def anew(recipe: Recipe, sample: Sample, c: Any = None) -> NDArray[np.float32]:
    """Return the scores of rows that are held out, by heads that are trained from nothing."""

    features, targets = sample

    def train(kept: NDArray[np.intp]) -> FittedHead:
        return fit_head(
            Recipe(
                kind=recipe.kind,
                c=recipe.c if c is None else c,
                normalisation=recipe.normalisation,
                reduction=recipe.reduction,
                class_weight=recipe.class_weight,
                seed=recipe.seed,
            ),
            features[kept],
            targets[kept],
            names(targets),
        )

    return held_out_scores(train, features, held_out_folds(targets))


def check(recipe: Recipe, sample: Sample, c: Any = None) -> None:
    """Probabilities are within 1e-3 of those that heads trained anew would have given."""
    fold = held_out_folds(sample[1])
    told: list[None] = []
    trainer = Trainer(recipe, *sample, names(sample[1]), advance=lambda: told.append(None))
    scores = trainer.held_out(fold)
    plain, targets = anew(recipe, sample, c), sample[1][fold >= 0]
    assert len(told) == 5
    assert scores.dtype == np.float32
    for fit in (fit_temperature, fit_sigmoid):
        found, reference = fit(scores, targets), fit(plain, targets)
        apart = found.probabilities(plain) - reference.probabilities(plain)
        assert np.abs(apart).max() < 1e-3
    scale = np.abs(plain).max()
    assert np.abs(scores - plain).max() < 2e-4 * max(1.0, scale)


@pytest.mark.slow
@pytest.mark.parametrize("balanced", [None, "balanced"])
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("kind", QUICK)
def test_scores_are_those_of_heads_trained_anew(kind: str, name: str, balanced: Any) -> None:
    check(Recipe(kind=kind, class_weight=balanced), SAMPLES[name])


@pytest.mark.parametrize("c", [1e-3, 100.0])
@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda"])
def test_for_any_c(kind: str, c: float) -> None:
    check(Recipe(kind=kind, c=c), SAMPLES["some more rows than dimensions"])
    check(Recipe(kind=kind, c=c), SAMPLES["two classes"])


@pytest.mark.parametrize("normalisation", ["none", "sqrt", "standard"])
@pytest.mark.parametrize("kind", ["svm", "ridge", "knn:3"])
def test_for_any_normalisation(kind: str, normalisation: Any) -> None:
    check(Recipe(kind=kind, normalisation=normalisation), SAMPLES["fewer rows than dimensions"])


@pytest.mark.parametrize("reduction", ["random:20", "pca:20", "whiten:20"])
def test_for_any_reduction(reduction: str) -> None:
    check(Recipe(reduction=reduction), SAMPLES["fewer rows than dimensions"])


@pytest.mark.parametrize("kind", ["svm", "ridge", "lda", "logistic"])
def test_c_is_chosen_once(kind: str) -> None:
    sample = SAMPLES["two classes"]
    recipe = Recipe(kind=kind, c="auto")
    chosen = Trainer(recipe, *sample, names(sample[1])).head.parameters["C"]
    check(recipe, sample, chosen)


@pytest.mark.slow
def test_what_rows_teach_the_preparation_is_learned_without_the_fold() -> None:
    sample = SAMPLES["fewer rows than dimensions"]
    for recipe in (Recipe(normalisation="standard"), Recipe(reduction="pca:20"), Recipe(kind="fc")):
        trainer = Trainer(recipe, *sample, names(sample[1]))
        found = trainer.held_out(held_out_folds(sample[1]))
        np.testing.assert_array_equal(found, anew(recipe, sample))


@pytest.mark.parametrize("balanced", [None, "balanced"])
@pytest.mark.parametrize("kind", NAMES)
def test_the_head_is_that_of_fit_head(kind: str, balanced: Any) -> None:
    features, targets = SAMPLES["two classes"]
    recipe = Recipe(kind=kind, c=1.0 if kind == "fc" else "auto", class_weight=balanced)
    found = Trainer(recipe, features, targets, ["a", "b"]).head
    given = features, targets, ["a", "b"]
    plain = fit_head(Recipe(kind=kind, c=recipe.c, class_weight=balanced), *given)
    assert found.parameters == plain.parameters
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_the_same_bits_again_and_nearly_so_with_one_thread(kind: str) -> None:
    features, targets = SAMPLES["digits"]
    fold = held_out_folds(targets)

    def scores() -> NDArray[np.float32]:
        return Trainer(Recipe(kind=kind), features, targets, names(targets)).held_out(fold)

    first = scores()
    np.testing.assert_array_equal(scores(), first)
    with threadpool_limits(1):
        alone = scores()
    one, other = (fit_temperature(each, targets).probabilities(first) for each in (first, alone))
    assert np.abs(one - other).max() < 1e-6


def test_too_few_rows_for_the_neighbours_of_a_fold() -> None:
    features, targets = clouds([4, 4], 5)
    trainer = Trainer(Recipe(kind="knn:8"), features, targets, ["a", "b"])
    with pytest.raises(HeadError) as caught:
        trainer.held_out(held_out_folds(targets))
    assert str(caught.value) == "head 'knn:8' needs 8 training rows, got 6"


def test_what_is_kept_beside_the_rows() -> None:
    features, targets = SAMPLES["fewer rows than dimensions"]
    for kind, kept in (("svm", {"gram"}), ("logistic", {"spectrum"}), ("ridge", set())):
        trainer = Trainer(Recipe(kind=kind), features, targets, names(targets))
        rows = trainer._prepared.rows
        assert isinstance(rows, SharedRows)
        assert rows._made.keys() == kept


@pytest.mark.parametrize("t", [1.0, 1e-12, 1e-300])
def test_shifts_that_rounding_hides(t: float) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 6))
    whole = rows @ rows.T
    cholesky, reference = Cholesky(whole.copy()), Tridiagonal(whole.copy())
    factor, expected = cholesky.shifted(t), reference.shifted(t)
    assert factor.shift == pytest.approx(expected.shift)
    np.testing.assert_allclose(
        cholesky.solve(factor, rows) * factor.shift,
        reference.solve(expected, rows) * expected.shift,
        atol=1e-6 * factor.shift + 1e-9,
    )


def test_a_matrix_that_is_not_positive_is_decomposed_instead() -> None:
    whole = np.diag([2.0, -1.0, 3.0]) + 0.1
    cholesky, reference = Cholesky(whole.copy()), Tridiagonal(whole.copy())
    factor, expected = cholesky.shifted(0.5), reference.shifted(0.5)
    assert factor.shift == expected.shift
    vectors = np.eye(3)
    np.testing.assert_allclose(
        cholesky.solve(factor, vectors), reference.solve(expected, vectors), rtol=1e-9
    )
