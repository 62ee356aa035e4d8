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


def test_score_and_the_card_in_a_notebook(
    saved: Path, scenes: Path, files: list[Path], labels: list[str], tmp_path: Path
) -> None:
    loaded = offshelf.load_model(saved)
    assert loaded.score(files, labels) == float((loaded.predict(files) == labels).mean())
    with pytest.raises(DataError, match=r"^1 y but 18 images: need one each$"):
        loaded.score(files, labels[:1])
    assert loaded._repr_html_() == offshelf.show(saved)._repr_html_()
    gone = tmp_path / "gone.offshelf"
    gone.write_bytes(saved.read_bytes())
    loaded = offshelf.load_model(gone)
    gone.unlink()
    assert (loaded._repr_html_(), repr(loaded)) == (None, f"SavedClassifier('{gone}')")


def test_the_file_holds_as_many_training_images_as_are_asked_for(
    classifier: offshelf.TransferClassifier, files: list[Path], tmp_path: Path
) -> None:
    for count in (0, 1, 3):
        path = classifier.save(tmp_path / f"{count}.offshelf", samples=count)
        assert len(offshelf.load_model(path).samples) == count
        assert offshelf.predict(path, files[:1]).predictions[0].label is not None
        held = [part.holds for part in offshelf.show(path).parts]
        assert held.count("a training image for the self-test") == count
    for wrong in (4, -1, True, "2"):
        with pytest.raises(DataError) as caught:
            classifier.save(tmp_path / "wrong.offshelf", samples=wrong)
        assert str(caught.value) == f"samples is a whole number from 0 to 3, not {wrong!r}"
    assert not (tmp_path / "wrong.offshelf").exists()


def test_groups_that_leave_no_probabilities_are_told(files: list[Path], labels: list[str]) -> None:
    with pytest.warns(UserWarning, match="no probabilities"):
        made = offshelf.TransferClassifier().fit(files, labels, groups=labels)
    assert made.certainty_.calibration is None


def test_the_columns_are_known_before_the_first_image(files: list[Path]) -> None:
    for layer, pooling in (("stage1", "flatten"), ("stage1", "max"), ("penultimate", "avg")):
        extractor = offshelf.FeatureExtractor(layer=layer, pooling=pooling).fit()
        names = extractor.get_feature_names_out()
        assert extractor.transform(files[:1]).shape == (1, len(names))
        assert names[-1] == f"{layer}_{pooling}_{len(names) - 1}"
