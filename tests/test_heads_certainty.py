"""Probabilities and unknown images of a head: out-of-fold fitting, what files may hold."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from offshelf.errors import DataError, HeadError
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision, fit_head, held_out_scores
from offshelf.heads.group_folds import held_out_folds
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.certainty_document import certainty_arrays, certainty_from_json
from offshelf.heads.probabilities.distances import DISTANCES
from offshelf.heads.probabilities.probability_model import (
    Certainty,
    ProbabilitySettings,
    check_probability,
    fit_certainty,
)
from offshelf.heads.probabilities.rejection import MEASURES, Threshold
from offshelf.heads.probabilities.score_calibration import (
    Sigmoid,
    Temperature,
    calibration_from_json,
)
from offshelf.measurement.probability_metrics import reliability

CLASSES = ("a", "b", "c")


def sample(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three overlapping clouds in 8 dimensions."""
    draw = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    rows = draw.normal(size=(n, 8)) + 1.2 * np.eye(3, 8)[targets]
    return rows.astype(np.float32), targets


def train(features: NDArray[np.float32], targets: NDArray[np.int64]) -> FittedHead:
    return fit_head(Recipe(), features, targets, CLASSES)


def fitted(n: int, **settings: Any) -> Certainty:
    return certainty(*sample(n), ProbabilitySettings(**settings))


def certainty(
    features: NDArray[np.float32], targets: NDArray[np.int64], settings: ProbabilitySettings
) -> Certainty:
    trainer = Trainer(Recipe(), features, targets, CLASSES)
    return fit_certainty(trainer, features, targets, CLASSES, settings)


def test_every_row_is_scored_by_a_head_that_never_saw_it() -> None:
    features, targets = sample(60)
    fold = held_out_folds(targets, seed=3)
    assert sorted(np.bincount(fold)) == [12] * 5
    scores = held_out_scores(lambda kept: train(features[kept], targets[kept]), features, fold)
    for part in range(5):
        held = fold == part
        head = train(features[~held], targets[~held])
        np.testing.assert_array_equal(scores[held], decision(head, features[held]))
    again = held_out_folds(targets, seed=3)
    np.testing.assert_array_equal(fold, again)
    assert (held_out_folds(targets, seed=4) != fold).any()


@pytest.mark.parametrize("counts", [(2, 2, 2), (5, 2, 1), (1, 1, 2), (30, 2, 2)])
def test_a_class_keeps_a_training_row_in_every_fold(counts: tuple[int, ...]) -> None:
    targets = np.repeat(np.arange(3), counts)
    fold = held_out_folds(targets)
    assert ((fold == -1) == (np.bincount(targets) == 1)[targets]).all()
    for part in range(fold.max() + 1):
        assert set(targets[fold != part]) == {0, 1, 2}


@pytest.mark.parametrize("kind", ["temperature", "sigmoid"])
def test_probabilities_hold_on_new_rows(kind: str) -> None:
    certainty = fitted(1500, calibrate=kind)
    assert certainty.kind == kind
    features, targets = sample(3000, seed=1)
    scores = decision(train(*sample(1500)), features)
    shares = certainty.probabilities(scores)
    assert shares is not None
    assert reliability(shares, targets).ece < 0.05
    plain = Temperature(1.0).probabilities(scores)
    assert reliability(shares, targets).log_loss < reliability(plain, targets).log_loss
    if kind == "temperature":
        np.testing.assert_array_equal(shares.argmax(axis=1), scores.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("measure", MEASURES)
def test_new_rows_are_rejected_about_as_often_as_asked(measure: str) -> None:
    certainty = fitted(1500, reject=0.1, reject_by=measure)
    features, _ = sample(6000, seed=1)
    shares = certainty.probabilities(decision(train(*sample(1500)), features))
    unknown = certainty.verdicts(shares, features).unknown
    assert unknown is not None
    assert 0.07 < unknown.mean() < 0.13
    assert certainty.threshold is not None
    assert certainty.threshold.measure == measure
    if measure != "confidence":
        strange = certainty.verdicts(shares, -5 * np.ones_like(features)).unknown
        assert strange is not None
        assert strange.all()


def test_distance_needs_no_probabilities() -> None:
    certainty = fitted(100, calibrate="none", reject=0.05, reject_by="centroid_distance")
    assert (certainty.kind, certainty.probabilities(np.zeros((2, 3)))) == ("none", None)
    unknown = certainty.verdicts(None, sample(100)[0]).unknown
    assert unknown is not None
    assert unknown.sum() < 12


def test_no_rows_have_no_answers() -> None:
    certainty = fitted(100, reject=0.05)
    shares = certainty.probabilities(np.empty((0, 3), np.float32))
    assert shares is not None
    assert shares.shape == (0, 3)
    for one in (certainty, fitted(100, reject=0.05, reject_by="centroid_distance")):
        for found in one.verdicts(shares, np.empty((0, 8), np.float32)):
            assert found is not None
            assert len(found) == 0
    assert Certainty().verdicts(None, np.empty((2, 8))) == (None, None)


def test_nothing_wished_is_nothing_trained() -> None:
    wish = ProbabilitySettings(calibrate="none", unlike=False)
    never: Any = SimpleNamespace(groups=None)
    found = fit_certainty(never, *sample(90), CLASSES, wish)
    assert found.to_json() == Certainty().to_json()
    marking = fit_certainty(never, *sample(90), CLASSES, ProbabilitySettings(calibrate="none"))
    assert (marking.calibration, marking.threshold) == (None, None)
    assert marking.unlike is not None


def test_a_class_of_one_image_is_told() -> None:
    features, targets = sample(30)
    keep = [*np.flatnonzero(targets != 2).tolist(), 2]
    found = certainty(features[keep], targets[keep], ProbabilitySettings())
    assert found.notes == (
        "a class has a single training image, which cannot say how sure to be: 'c'",
    )
    assert found.kind == "temperature"
    keep = [*np.flatnonzero(targets == 0).tolist(), 1, 2]
    found = certainty(features[keep], targets[keep], ProbabilitySettings())
    assert found.notes == (
        "2 classes have a single training image, which cannot say how sure to be: 'b', 'c'",
    )


def test_without_held_out_images_there_are_no_probabilities() -> None:
    features, targets = sample(3)
    found = certainty(features, targets, ProbabilitySettings())
    reason = "every class has a single training image, so none can be held out"
    unmarked = (
        "no image is marked as unlike the training images: that needs 10 of them that can be "
        "held out, there are 0"
    )
    assert (found.kind, found.notes) == ("none", (f"no probabilities: {reason}", unmarked))
    wish = ProbabilitySettings(reject=0.05)
    with pytest.raises(HeadError) as caught:
        certainty(features, targets, wish)
    assert str(caught.value) == reason


def test_too_few_images_for_the_rate() -> None:
    with pytest.raises(DataError) as caught:
        fitted(15, reject=0.05)
    assert str(caught.value) == (
        "a false-reject rate of 0.05 needs at least 19 held-out images, there are 15"
    )


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"calibrate": "temperatur"},
        HeadError,
        "unknown calibration 'temperatur': use temperature, sigmoid, none. "
        "Did you mean 'temperature'?",
    ),
    (
        {"reject": 0.1, "reject_by": "confidense"},
        HeadError,
        "unknown way to reject 'confidense': use auto, confidence, centroid_distance, "
        "neighbour_distance, covariance_distance. Did you mean 'confidence'?",
    ),
    (
        {"reject": 5},
        DataError,
        "false-reject rate is a share between 0 and 1 such as 0.05, not 5",
    ),
    (
        {"reject_by": "centroid_distance"},
        HeadError,
        "to reject by centroid_distance, set a false-reject rate such as 0.05",
    ),
    (
        {"calibrate": "none", "reject": 0.1, "reject_by": "confidence"},
        HeadError,
        "to reject by confidence, probabilities are needed: calibrate by temperature or sigmoid, "
        "or reject by centroid_distance",
    ),
]


@pytest.mark.parametrize(("settings", "kind", "message"), REFUSED)
def test_wishes_that_cannot_be_met(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        check_probability(ProbabilitySettings(**settings))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"calibrate": "sigmoid"},
        {"reject": 0.1},
        {"unlike": False},
        *({"reject": 0.1, "reject_by": measure, "calibrate": "none"} for measure in DISTANCES),
    ],
    ids=str,
)
def test_a_certainty_survives_json(settings: dict[str, Any]) -> None:
    certainty = fitted(60, **settings)
    document = json.loads(json.dumps(certainty.to_json(), allow_nan=False))
    found = certainty_from_json(document, certainty_arrays(certainty), 3, 8)
    assert found.to_json() == certainty.to_json()
    features, _ = sample(20, seed=1)
    scores = decision(train(*sample(60)), features)
    shares = found.probabilities(scores)
    if shares is not None:
        np.testing.assert_array_equal(shares, certainty.probabilities(scores))
    again, before = found.verdicts(shares, features), certainty.verdicts(shares, features)
    assert (again.unknown is None) == ("reject" not in settings)
    assert (again.unlike is None) == ("unlike" in settings)
    for left, right in zip(again, before, strict=True):
        np.testing.assert_array_equal(left, right)


PLAIN = {"calibration": Temperature(2.0).to_json(), "threshold": None, "notes": []}
BY_DISTANCE = Threshold("centroid_distance", 0.5, 0.1, 50, 4).to_json()
BY_NEIGHBOUR = Threshold("neighbour_distance", 0.5, 0.01, 50, 4).to_json()
BY_COVARIANCE = Threshold("covariance_distance", 0.5, 0.01, 50, 4).to_json()
NEW = {"unlike": None, "separation": {}}
REFERENCE = {"centroids": np.ones((3, 8), np.float32)}
HALF = np.ones((3, 8), np.float16)
DAMAGED: list[tuple[Any, dict[str, NDArray[Any]], str]] = [
    ([], {}, "damaged certainty: need calibration, threshold and notes"),
    ({"calibration": None}, {}, "damaged certainty: need calibration, threshold and notes"),
    (PLAIN | {"unlike": None}, {}, "damaged certainty: need calibration, threshold and notes"),
    (None, REFERENCE, "damaged certainty: need calibration, threshold and notes"),
    (PLAIN | {"notes": [1]}, {}, "damaged certainty: its notes are no list of texts"),
    (PLAIN | {"calibration": {}}, {}, "damaged calibration: no temperature and no sigmoids of "),
    (PLAIN | {"threshold": {}}, {}, "damaged threshold: measure is missing"),
    (PLAIN, REFERENCE, "damaged certainty: arrays and thresholds do not belong together"),
    (
        PLAIN | {"threshold": BY_DISTANCE},
        {},
        "damaged certainty: arrays and thresholds do not belong together",
    ),
    (
        PLAIN | NEW | {"unlike": BY_NEIGHBOUR},
        REFERENCE,
        "damaged certainty: arrays and thresholds do not belong together",
    ),
    (
        PLAIN | NEW | {"unlike": BY_DISTANCE | {"measure": "confidence"}},
        {},
        "damaged certainty: unlike images are not told by confidence",
    ),
    (
        PLAIN | NEW | {"separation": {"confidence": 2}},
        {},
        "damaged certainty: separation is no list of measures with 0 to 1",
    ),
    (
        PLAIN | NEW | {"unlike": BY_COVARIANCE},
        {"means": HALF},
        "damaged certainty: covariance_distance needs means and axes",
    ),
    (
        PLAIN | NEW | {"unlike": BY_COVARIANCE},
        {"means": HALF[:2], "axes": HALF},
        "damaged certainty: means must be 3 x 8 float16, not 2 x 8 float16",
    ),
    (
        PLAIN | NEW | {"unlike": BY_NEIGHBOUR},
        {"neighbours": HALF[:0]},
        "damaged certainty: neighbours must be N x 8 float16, not 0 x 8 float16",
    ),
    (PLAIN, {"somewhere": HALF}, "damaged certainty: it has arrays of no measure"),
    (
        PLAIN | {"threshold": BY_DISTANCE | {"measure": "nearest_distance"}},
        {},
        "damaged threshold: unknown measure 'nearest_distance': use confidence, centroid_distance",
    ),
    (
        PLAIN | {"calibration": None, "threshold": BY_DISTANCE | {"measure": "confidence"}},
        {},
        "damaged certainty: a threshold on probabilities without a calibration",
    ),
    (
        PLAIN | {"threshold": BY_DISTANCE},
        {"centroids": np.ones((3, 7), np.float32)},
        "damaged certainty: centroids must be 3 x 8 float32, not 3 x 7 float32",
    ),
    (
        PLAIN | {"threshold": BY_DISTANCE},
        {"centroids": np.ones((3, 8))},
        "damaged certainty: centroids must be 3 x 8 float32, not 3 x 8 float64",
    ),
    (
        PLAIN | {"threshold": BY_DISTANCE},
        {"centroids": np.full((3, 8), np.nan, np.float32)},
        "damaged certainty: centroids hold NaN or infinity",
    ),
    (
        PLAIN | {"threshold": BY_DISTANCE | {"false_reject": 10**400}},
        REFERENCE,
        "damaged threshold: ",
    ),
]


@pytest.mark.parametrize(("document", "arrays", "message"), DAMAGED)
def test_a_damaged_certainty_is_refused(
    document: Any, arrays: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        certainty_from_json(document, arrays, 3, 8)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("number", [10**400, 1e101, 1e-101, 0, -1.0, True, "2"], ids=repr)
def test_no_number_of_a_file_can_break_a_prediction(number: Any) -> None:
    with pytest.raises(DataError, match=r"^damaged calibration: no temperature and no sigmoids"):
        calibration_from_json({"kind": "temperature", "temperature": number}, 2)
    extreme = np.array([[3e38, -3e38], [0.0, 0.0]], np.float32)
    for calibration in (
        Temperature(1e-100),
        Temperature(1e100),
        Sigmoid((-1e100, 1e100), (1e100, -1e100)),
    ):
        found = calibration_from_json(calibration.to_json(), 2)
        np.testing.assert_allclose(found.probabilities(extreme).sum(axis=1), 1)
