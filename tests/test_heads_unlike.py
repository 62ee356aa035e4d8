"""Out-of-distribution images: distances, the choice of a measure, and false-rejection rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_distances

from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision
from offshelf.heads.probabilities.certainty_document import certainty_arrays
from offshelf.heads.probabilities.distances import (
    DISTANCES,
    Distance,
    directions,
    fast_distances,
    fit_reference,
    sampled,
)
from offshelf.heads.probabilities.out_of_distribution import (
    area,
    confidence_auroc,
    held_out_classes,
    surroundings,
    unlike_threshold,
)
from offshelf.heads.probabilities.probability_model import (
    Certainty,
    ProbabilitySettings,
    fit_certainty,
)
from offshelf.heads.probabilities.rejection import MEASURES

Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def clouds(n: int, classes: int, dimension: int = 40, seed: int = 0, spread: float = 0.35) -> Rows:
    """Clouds of positive features around means that the seed does not change."""
    means = np.random.default_rng(7).uniform(0.5, 2, (12, dimension))
    targets = np.arange(n) % classes
    draw = np.random.default_rng(seed)
    rows = means[targets] + spread * draw.normal(size=(n, dimension))
    return rows.astype(np.float32), targets


def strangers(n: int, dimension: int = 40) -> NDArray[np.float32]:
    """Images of a class that no model here knows."""
    mean = np.random.default_rng(8).uniform(0.5, 2, dimension)
    return (mean + 0.35 * np.random.default_rng(1).normal(size=(n, dimension))).astype(np.float32)


def trained(rows: Rows, **settings: Any) -> tuple[Trainer, Certainty]:
    names = [f"class {k}" for k in range(rows[1].max() + 1)]
    trainer = Trainer(Recipe(), *rows, names)
    return trainer, fit_certainty(trainer, *rows, names, ProbabilitySettings(**settings))


def share_unknown(trainer: Trainer, found: Certainty, features: NDArray[np.float32]) -> float:
    probabilities = found.probabilities(decision(trainer.head, features))
    unknown = found.verdicts(probabilities, features).unknown
    assert unknown is not None
    return float(unknown.mean())


@pytest.mark.parametrize("measure", DISTANCES)
def test_an_image_has_the_same_distance_alone_and_in_any_batch(measure: Distance) -> None:
    around = surroundings(*clouds(60, 3))
    reference, features = around.reference(measure), strangers(33)
    batch = reference.distances(features)
    alone = [reference.distances(features[row : row + 1])[0] for row in range(len(features))]
    np.testing.assert_array_equal(alone, batch)
    np.testing.assert_array_equal(reference.distances(features[::-1]), batch[::-1])
    assert reference.distances(features[:0]).shape == (0,)


def test_distances_are_what_their_names_say() -> None:
    features, targets = clouds(200, 4, 9)
    rows, new = directions("rows", features), strangers(20, 9)
    unit = directions("new", new)
    found = fit_reference("neighbour_distance", rows, targets).distances(new)
    np.testing.assert_allclose(found, cosine_distances(unit, rows).min(axis=1), atol=1e-7)
    means = np.stack([rows[targets == k].mean(axis=0) for k in range(4)])
    found = fit_reference("centroid_distance", rows, targets).distances(new)
    np.testing.assert_allclose(found, cosine_distances(unit, means).min(axis=1), atol=1e-6)
    # Of nine dimensions eight have a variance of their own: this is the whole covariance.
    within = rows - means[targets]
    scatter = within.T @ within
    away = unit[:, None] - means
    squares = np.einsum("nkd,de,nke->nk", away, np.linalg.inv(scatter), away).min(axis=1)
    expected = np.sqrt(squares * np.linalg.eigvalsh(scatter)[0])
    found = fit_reference("covariance_distance", rows, targets).distances(new)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("measure", DISTANCES)
def test_few_rows_are_turned_into_fewer_dimensions_and_nothing_moves(measure: Distance) -> None:
    around = surroundings(*clouds(40, 2, 300))
    assert around.rows.shape == (40, 40)
    kept = np.arange(40) % 5 != 0
    turned = fit_reference(measure, around.rows[kept], around.targets[kept], dimension=300)
    plain = fit_reference(measure, around.original[kept], around.targets[kept])
    np.testing.assert_allclose(
        fast_distances(turned, around.rows[~kept]),
        fast_distances(plain, around.original[~kept]),
        rtol=0.05 if measure == "covariance_distance" else 2e-3,
    )


def test_a_sample_has_every_class_and_keeps_their_shares() -> None:
    targets = np.repeat([0, 1, 2], [900, 98, 2])
    chosen = sampled(targets, 100)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(targets[chosen]).tolist() in ([90, 10, 1], [90, 11, 1], [90, 10, 2])
    assert sampled(targets, 1000).tolist() == list(range(1000))
    assert np.unique(targets[sampled(targets, 1)]).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_many_images_and_long_features_keep_a_small_reference() -> None:
    features, targets = clouds(900, 3, 4000)
    around = surroundings(features, targets)
    for measure in DISTANCES:
        reference = around.reference(measure)
        parts = [part for part in (reference.rows, reference.axes) if part is not None]
        assert sum(part.nbytes for part in parts) < 2.2 * 2**20


# Binomial bounds: with 1,500 images to set the threshold on and 4,000 to test, a rate of 5 % has a
# standard deviation of sqrt(.05 * .95 * (1 / 1500 + 1 / 4000)) = 0.66 points; 2 points are three.
@pytest.mark.slow
@pytest.mark.parametrize("measure", [*MEASURES, "auto"])
@pytest.mark.parametrize("classes", [2, 6])
def test_asked_for_5_per_cent_it_rejects_3_to_7(measure: str, classes: int) -> None:
    model = trained(clouds(1500, classes, spread=0.8), reject=0.05, reject_by=measure)
    known = clouds(4000, classes, seed=5, spread=0.8)[0]
    assert 0.03 < share_unknown(*model, known) < 0.07


@pytest.mark.slow
@pytest.mark.parametrize("measure", DISTANCES)
def test_so_it_does_on_average_with_few_images(measure: Distance) -> None:
    # 24 trainings with 60 images, each with 200 others to test: sqrt(.05 * .95 * (1 / 61 + 1 / 200)
    # / 24) = 0.65 points.
    shares = []
    for seed in range(24):
        rows = clouds(60, 2, 200, seed=seed, spread=0.6)
        model = trained(rows, calibrate="none", reject=0.05, reject_by=measure)
        shares.append(share_unknown(*model, clouds(200, 2, 200, seed=100 + seed, spread=0.6)[0]))
    assert 0.03 < np.mean(shares) < 0.07


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_a_model_of_any_number_of_classes_can_warn(classes: int) -> None:
    rows = clouds(240, classes)
    trainer, found = trained(rows, reject=0.05)
    probabilities = found.probabilities(decision(trainer.head, strangers(50)))
    unlike = found.verdicts(probabilities, strangers(50)).unlike
    known = found.verdicts(found.probabilities(decision(trainer.head, rows[0])), rows[0]).unlike
    assert unlike is not None
    assert known is not None
    assert unlike.mean() > 0.9
    assert known.mean() < 0.02
    assert found.unlike is not None
    assert found.unlike.false_reject == 0.01
    # Of two classes one remains, and no head can be trained on that.
    assert ("confidence" in found.separation) == (classes > 2)
    assert share_unknown(trainer, found, strangers(50)) > 0.5


def test_the_area_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    known, strange = draw.integers(0, 9, 40), draw.integers(3, 12, 25)
    truth = np.repeat([0, 1], [40, 25])
    expected = roc_auc_score(truth, np.concatenate([known, strange]))
    assert area(known.astype(float), strange.astype(float)) == pytest.approx(expected)


def test_nothing_of_a_held_out_class_is_trained_on() -> None:
    targets = np.repeat(np.arange(7), [9, 8, 7, 6, 5, 1, 4])
    held: list[int] = []
    for kept, known, strange in held_out_classes(targets):
        assert not set(targets[kept]) & set(targets[strange])
        assert not set(targets[known]) & set(targets[strange])
        assert not set(kept) & set(known)
        assert set(targets[known]) <= set(targets[kept])
        held += sorted(set(targets[strange].tolist()))
    assert sorted(held) == list(range(7))
    assert list(held_out_classes(np.arange(3))) == []


def test_the_measure_that_separates_best_is_taken() -> None:
    # Classes that differ along one axis and spread far along all others that they share.
    draw = np.random.default_rng(0)
    targets = np.arange(600) % 6
    rows = np.full((600, 30), 5.0) + 0.02 * draw.normal(size=(600, 30))
    rows[:, :4] += draw.normal(size=(600, 4)) * 1.5
    rows[:, 10:16] += 0.6 * np.eye(6)[targets]
    _, found = trained((rows.astype(np.float32), targets))
    assert found.unlike is not None
    assert found.unlike.measure == "covariance_distance"
    assert found.separation["covariance_distance"] > 0.95
    assert found.separation["covariance_distance"] == max(found.separation.values())


def test_a_head_that_cannot_be_trained_on_fewer_classes_is_not_judged() -> None:
    def fails(kept: Any, rows: Any) -> NDArray[np.float32]:
        raise HeadError("too few")

    assert confidence_auroc(fails, np.arange(30) % 3) is None
    features, targets = clouds(30, 3)
    trainer = Trainer(Recipe(kind="knn:24"), features, targets, ["a", "b", "c"])
    wish = ProbabilitySettings(reject=0.1)
    found = fit_certainty(trainer, features, targets, ["a", "b", "c"], wish)
    assert set(found.separation) == set(DISTANCES)


def test_a_head_trained_on_some_classes_scores_these() -> None:
    features, targets = clouds(40, 4)
    trainer = Trainer(Recipe(), features, targets, ["a", "b", "c", "d"])
    kept = np.flatnonzero(targets != 1)
    scores = trainer.retrained(kept, np.flatnonzero(targets == 3))
    assert scores.shape == (10, 3)
    assert (scores.argmax(axis=1) == 2).all()


@pytest.mark.parametrize("measure", DISTANCES)
def test_rows_without_spread_and_of_zeros_have_distances(measure: Distance) -> None:
    features = np.repeat(np.eye(2, 6, dtype=np.float32), 10, axis=0)
    features[:3] = 0
    around = surroundings(features, np.repeat([0, 1], 10))
    found = around.reference(measure).distances(np.vstack([features, np.ones((1, 6))]))
    assert np.isfinite(found).all()
    assert np.isfinite(around.held_out(measure)).all()
    assert found[-1] > found[5]


@pytest.mark.parametrize("n", [10, 40, 98, 99, 500])
def test_one_in_a_hundred_lies_beyond_or_none_of_fewer(n: int) -> None:
    values = np.random.default_rng(0).permutation(n).astype(float)
    found = unlike_threshold(values, "centroid_distance")
    assert found.rejected == max(0, (n + 1) // 100 - 1)
    assert found.false_reject == max(0.01, 1 / (n + 1))


def test_too_few_images_mark_none_and_say_so() -> None:
    _, found = trained(clouds(9, 3))
    assert found.unlike is None
    assert found.references == {}
    assert found.notes == (
        "no image is marked as unlike the training images: that needs 10 of them that can be "
        "held out, there are 9",
    )
    assert trained(clouds(10, 2))[1].unlike is not None


def test_two_trainings_give_the_same_bits() -> None:
    (_, one), (_, other) = (trained(clouds(150, 5), reject=0.1) for _ in range(2))
    assert one.to_json() == other.to_json()
    first, second = certainty_arrays(one), certainty_arrays(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
