"""Heads of several labels: one against the rest, thresholds and probabilities out of fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve
from sklearn.svm import LinearSVC

from offshelf.errors import DataError, HeadError, ModelFileError
from offshelf.heads.fitting.fit_head import Recipe, decision
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.label_decisions import LabelDecisions
from offshelf.heads.multilabel.label_thresholds import (
    average_precision,
    best_cut,
    decide_labels,
    mean_average_precision,
)
from offshelf.heads.multilabel.one_vs_rest import check_label_head, fit_label_head, label_folds

LABELS = ("beach", "sea", "ship", "wood")


def made(n: int = 160, noise: float = 0.6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of images with several of four labels, which stand together; and the labels."""
    draw = np.random.default_rng(seed)
    membership = draw.random((n, 4)) < [0.5, 0.35, 0.2, 0.1]
    membership[:, 1] |= membership[:, 2] & (draw.random(n) < 0.7)
    directions = draw.normal(size=(4, 24))
    features = membership @ directions + noise * draw.normal(size=(n, 24)) + 1
    return features.astype(np.float32), membership


def l2(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def plain(kind: str, c: float, class_weight: str | None = None):
    if kind == "svm":
        return LinearSVC(C=c, tol=1e-9, max_iter=100_000, class_weight=class_weight)
    if kind == "ridge":
        return RidgeClassifier(alpha=1 / (2 * c), class_weight=class_weight)
    return LogisticRegression(C=c, tol=1e-9, max_iter=10_000, class_weight=class_weight)


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_each_label_is_learned_as_scikit_learn_does(kind: str, class_weight: str | None) -> None:
    features, membership = made()
    head = fit_label_head(
        Recipe(kind=kind, c=2.0, class_weight=class_weight), features, membership, LABELS
    )
    half = 0.5 if kind == "logistic" else 1.0
    for place in range(4):
        other = plain(kind, 2.0, class_weight).fit(l2(features), membership[:, place])
        expected = half * other.decision_function(l2(features))
        assert decision(head, features)[:, place] == pytest.approx(expected, abs=2e-3)
    assert head.classes == LABELS
    assert head.parameters["C"] == 2.0


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge"])
@pytest.mark.parametrize("normalisation", ["l2", "standard"])
def test_thresholds_rest_on_heads_that_never_saw_the_image(kind: str, normalisation: str) -> None:
    features, membership = made(90)
    recipe = Recipe(kind=kind, normalisation=normalisation)  # type: ignore[arg-type]
    head = fit_label_head(recipe, features, membership, LABELS)
    fold = label_folds(membership)
    assert sorted(np.unique(fold)) == [0, 1, 2, 3, 4]
    scores = np.zeros(membership.shape)
    for held in range(5):
        kept, out = fold != held, fold == held
        rows, others = l2(features[kept]), l2(features[out])
        if normalisation == "standard":
            mean, spread = features[kept].mean(axis=0), features[kept].std(axis=0)
            rows, others = (features[kept] - mean) / spread, (features[out] - mean) / spread
        for place in range(4):
            other = plain(kind, 1.0).fit(rows, membership[kept, place])
            half = 0.5 if kind == "logistic" else 1.0
            scores[out, place] = half * other.decision_function(others)
    expected = decide_labels(membership, scores, LABELS)
    found = head.decisions
    assert found is not None
    assert found.thresholds == pytest.approx(expected.thresholds, abs=5e-3)
    assert found.held_out_f1 == pytest.approx(expected.held_out_f1, abs=1e-9)
    assert found.slopes == pytest.approx(expected.slopes, rel=2e-2)
    assert found.notes == ()


def test_thresholds_are_those_of_the_best_f1() -> None:
    draw = np.random.default_rng(4)
    for _ in range(50):
        truth = draw.random(30) < 0.4
        truth[0] = True
        scores = (truth + draw.normal(size=30)).round(1)
        cut = best_cut(truth, scores)
        precision, recall, _ = precision_recall_curve(truth, scores)
        sums = np.maximum(precision + recall, 1e-12)
        assert cut.f1 == pytest.approx((2 * precision * recall / sums).max())
        assert f1_score(truth, scores >= cut.threshold) == pytest.approx(cut.f1)
        assert average_precision(truth, scores) == pytest.approx(
            average_precision_score(truth, scores)
        )


def test_at_the_best_threshold_a_probability_is_half_of_the_best_f1() -> None:
    draw = np.random.default_rng(5)
    probabilities = draw.beta(1, 3, size=200_000)
    truth = draw.random(len(probabilities)) < probabilities
    cut = best_cut(truth, probabilities)
    assert cut.threshold == pytest.approx(cut.f1 / 2, abs=0.01)


def test_probabilities_hold_on_other_images() -> None:
    features, truth = made(3700, noise=2.5)
    head = fit_label_head(Recipe(), features[:700], truth[:700], LABELS)
    assert head.decisions is not None
    probabilities = head.decisions.probabilities(decision(head, features[700:]))
    for place in range(4):
        column, has = probabilities[:, place], truth[700:, place]
        for low in (0.0, 0.25, 0.5, 0.75):
            inside = (column >= low) & (column < low + 0.25)
            if inside.sum() > 100:
                assert has[inside].mean() == pytest.approx(column[inside].mean(), abs=0.12)


def test_c_is_the_one_of_the_best_mean_average_precision() -> None:
    features, membership = made(120, noise=1.5)
    calls = list[int]()
    head = fit_label_head(
        Recipe(c="auto"), features, membership, LABELS, advance=lambda: calls.append(1)
    )
    grid = head.parameters["C_grid"]
    figures = head.parameters["mean_average_precisions"]
    assert len(calls) == len(grid) == len(figures)
    assert head.parameters["C"] == grid[int(np.argmax(np.round(figures, 12)))]
    same = fit_label_head(Recipe(c=head.parameters["C"]), features, membership, LABELS)
    assert same.arrays["weight"] == pytest.approx(head.arrays["weight"], abs=1e-6)
    assert same.decisions.thresholds == pytest.approx(head.decisions.thresholds, abs=1e-4)  # type: ignore[union-attr]


def test_groups_are_held_out_as_a_whole() -> None:
    """Pictures of one object are near one another: without groups the thresholds believe that."""
    draw = np.random.default_rng(6)
    membership = np.repeat(draw.random((40, 4)) < 0.4, 6, axis=0)
    groups = np.repeat(np.arange(40), 6)
    objects = np.repeat(draw.normal(size=(40, 64)), 6, axis=0)
    features = (objects + 0.2 * draw.normal(size=objects.shape)).astype(np.float32)
    fold = label_folds(membership, groups=groups)
    assert all(len(set(fold[groups == group])) == 1 for group in range(40))
    flattering = fit_label_head(Recipe(), features, membership, LABELS)
    honest = fit_label_head(Recipe(), features, membership, LABELS, groups=groups)
    assert np.mean(flattering.decisions.held_out_f1) > 0.95  # type: ignore[union-attr, arg-type]
    assert np.mean(honest.decisions.held_out_f1) < 0.7  # type: ignore[union-attr, arg-type]


def test_labels_that_cannot_be_held_out_or_told_are_said() -> None:
    features, membership = made(60)
    membership[:, 3] = False
    membership[7, 3] = True
    head = fit_label_head(Recipe(), features, membership, LABELS)
    assert head.decisions is not None
    assert head.decisions.thresholds[3] == 0
    assert head.decisions.held_out_f1[3] is None
    assert head.decisions.notes == (
        "1 label could not be held out, so the threshold is the head's own and the probability "
        "rough; more images with it would mend that: 'wood'",
    )
    scores = np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0]])
    truth = np.array([[True, True], [False, True], [False, False], [True, False]])
    found = decide_labels(truth, scores, ["sea", "wood"])
    assert found.slopes[1] == 0
    assert found.notes == (
        "1 label not told from the rest, as F1 was best when every image was taken: 'wood'",
        "1 label not told from the rest, as high scores spoke against it: 'wood'",
    )
    assert found.probabilities(scores)[:, 1].tolist() == pytest.approx([0.5] * 4)


def test_a_single_group_leaves_nothing_to_hold_out() -> None:
    features, membership = made(30)
    groups = np.zeros(30, np.int64)
    head = fit_label_head(Recipe(), features, membership, LABELS, groups=groups)
    assert head.decisions is not None
    assert head.decisions.held_out_f1 == (None,) * 4
    assert "4 labels could not be held out" in head.decisions.notes[0]


@pytest.mark.parametrize("kind", ["knn", "knn:5", "centroid", "lda", "fc", "fc:8"])
def test_heads_of_one_label_say_so(kind: str) -> None:
    with pytest.raises(HeadError) as caught:
        check_label_head(kind)
    line = f"head {kind!r} gives one label; for several: svm, logistic, ridge"
    assert str(caught.value) == line


def test_labels_of_none_or_all_of_the_images_are_refused() -> None:
    features, membership = made(40)
    never, always = membership.copy(), membership.copy()
    never[:, 2], always[:, 1] = False, True
    with pytest.raises(HeadError) as caught:
        fit_label_head(Recipe(), features, never, LABELS)
    assert str(caught.value) == (
        "no training image that can be used has the label 'ship'; add images or leave it out"
    )
    with pytest.raises(HeadError) as caught:
        fit_label_head(Recipe(), features, always, LABELS)
    assert str(caught.value) == (
        "every training image that can be used has the label 'sea', so what lacks it cannot be "
        "learned; add images without it or leave it out"
    )


def test_a_head_with_decisions_is_read_back_and_nothing_else() -> None:
    features, membership = made(60)
    head = fit_label_head(Recipe(kind="ridge"), features, membership, LABELS)
    arrays, document = pack_head(head)
    again = unpack_head(arrays, document)
    assert isinstance(again.decisions, LabelDecisions)
    assert again.decisions.to_json() == head.decisions.to_json()  # type: ignore[union-attr]
    labels = document["labels"]
    for change, line in (
        ({"thresholds": labels["thresholds"][:3]}, "thresholds are not 4 numbers"),
        ({"thresholds": [float("nan")] * 4}, "thresholds are not 4 numbers"),
        ({"slopes": [1.0] * 4}, "a slope is above 0"),
        ({"offsets": "1234"}, "offsets are not 4 numbers"),
        ({"held_out_f1": [2.0] * 4}, "held_out_f1 is not 4 shares"),
        ({"notes": [1]}, "its notes are no list of texts"),
        ({"more": 1}, "other fields than those of thresholds"),
    ):
        with pytest.raises(ModelFileError) as caught:
            unpack_head(arrays, document | {"labels": labels | change}, "m.offshelf")
        assert str(caught.value) == f"m.offshelf: head has damaged decisions on labels: {line}"
    with pytest.raises(ModelFileError, match="cannot have several labels"):
        unpack_head(arrays, document | {"kind": "centroid"}, "m.offshelf")
    with pytest.raises(DataError, match="columns of scores"):
        head.decisions.present(np.zeros((1, 3)))  # type: ignore[union-attr]


def test_mean_average_precision_leaves_out_what_was_not_held_out() -> None:
    truth = np.array([[True, False], [False, False]])
    scores = np.array([[1.0, np.nan], [0.0, np.nan]])
    assert mean_average_precision(truth, scores) == 1.0
    assert mean_average_precision(np.zeros((2, 2), bool), scores) == 0.0
