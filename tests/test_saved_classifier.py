"""A classifier of scikit-learn as a model file, and a model file as a classifier."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

import offshelf
from offshelf.errors import DataError, EngineError, OffshelfError
from offshelf.jobs.saved_classifier import SavedClassifier
from offshelf.model_file.model import Model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(scenes: Path) -> list[Path]:
    return sorted((scenes / "train").rglob("*.*"))


@pytest.fixture(scope="module")
def labels(files: list[Path]) -> list[str]:
    return [one.parent.name for one in files]


@pytest.fixture(scope="module")
def classifier(files: list[Path], labels: list[str]) -> offshelf.TransferClassifier:
    made = offshelf.TransferClassifier(class_weight="balanced", grey="luma", resize="crop")
    return made.fit(files, labels)


@pytest.fixture(scope="module")
def saved(
    classifier: offshelf.TransferClassifier, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return classifier.save(tmp_path_factory.mktemp("saved") / "scene.offshelf")


def test_the_file_answers_as_the_classifier_does(
    classifier: offshelf.TransferClassifier, saved: Path, files: list[Path]
) -> None:
    answers = offshelf.predict(saved, files).predictions
    assert [row.label for row in answers] == classifier.predict(files).tolist()
    shares = [[row.probabilities[name] for name in classifier.classes_] for row in answers]
    np.testing.assert_array_equal(shares, classifier.predict_proba(files))
    model = offshelf.load_model(saved)
    assert (model.backbone.input.channels, model.backbone.input.resize) == ("luma", "crop")
    assert model.head.parameters["class_weight"] == "balanced"


def test_evaluate_and_show_take_it(saved: Path, scenes: Path, files: list[Path]) -> None:
    measured = offshelf.evaluate(saved, scenes)
    assert measured.evaluation.n == len(list((scenes / "test").rglob("*.*")))
    assert offshelf.show(saved).path == saved
    assert len(offshelf.load_model(saved).seen) == len(files)


def test_a_loaded_model_is_a_classifier_with_a_card(
    classifier: offshelf.TransferClassifier, saved: Path, files: list[Path]
) -> None:
    model = offshelf.load_model(str(saved))
    assert isinstance(model, SavedClassifier)
    assert isinstance(model, Model)
    assert model.classes_.tolist() == classifier.classes_.tolist()
    images = [Image.open(one) for one in files[:2]]
    arrays = [np.asarray(one.convert("RGB")) for one in images]
    assert model.predict(images).tolist() == model.predict(arrays).tolist()
    scores = model.decision_function(files)
    np.testing.assert_array_equal(scores, classifier.decision_function(files))
    np.testing.assert_array_equal(model.predict_proba(files), classifier.predict_proba(files))
    assert repr(model) == str(offshelf.show(saved))


def test_two_classes_have_one_score(files: list[Path], labels: list[str], tmp_path: Path) -> None:
    two = ["a" if one == labels[0] else "b" for one in labels]
    made = offshelf.TransferClassifier(calibrate="none").fit(files, two)
    model = offshelf.load_model(made.save(tmp_path / "two.offshelf"))
    np.testing.assert_array_equal(model.decision_function(files), made.decision_function(files))
    with pytest.raises(OffshelfError) as caught:
        model.predict_proba(files)
    assert str(caught.value) == (
        f"{tmp_path / 'two.offshelf'}: has no probabilities; fit it again with "
        "calibrate='temperature'"
    )


def test_an_image_that_cannot_be_used_is_named(
    saved: Path, files: list[Path], labels: list[str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    text = f"{bad}: empty, the file is empty (1 of {len(files) + 1} images cannot be used)"
    model = offshelf.load_model(saved)
    with pytest.raises(DataError) as caught:
        model.predict([*files, bad])
    assert str(caught.value) == text
    with pytest.raises(DataError) as caught:
        offshelf.TransferClassifier().fit([*files, bad], [*labels, labels[0]])
    assert str(caught.value) == text


def test_precisions_that_need_a_calibration_are_refused(files: list[Path]) -> None:
    with pytest.raises(EngineError) as caught:
        offshelf.FeatureExtractor(precision="int8").fit(files)
    assert str(caught.value) == (
        "precision 'int8': fp32, bf16, fp16; int8 is calibrated by offshelf.fit"
    )


def test_copies_keep_the_parameters(classifier: offshelf.TransferClassifier) -> None:
    for one in (clone(classifier), copy.deepcopy(classifier)):
        assert one.get_params() == classifier.get_params()
