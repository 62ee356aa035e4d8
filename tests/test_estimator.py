"""The scikit-learn faces: manners, every kind of input, features from the store, messages."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_sample_image
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from offshelf import FeatureExtractor, TransferClassifier
from offshelf.errors import BackboneError, DataError, EngineError, HeadError, LayerError
from offshelf.estimator import HeadChoice
from offshelf.features import loop
from offshelf.jobs.predict import predict

ESTIMATORS = [FeatureExtractor(), TransferClassifier()]


@pytest.fixture(scope="module")
def files(scenes: Path) -> list[Path]:
    return sorted((scenes / "train").rglob("*.png"))


@pytest.fixture(scope="module")
def labels(files: list[Path]) -> list[str]:
    return [path.parent.name for path in files]


@pytest.fixture(scope="module")
def arrays(files: list[Path]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor().fit()


@pytest.fixture(scope="module")
def features(extractor: FeatureExtractor, files: list[Path]) -> NDArray[np.float32]:
    return extractor.transform(files)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The engines that were opened since the test began."""
    engines: list[Any] = []
    own = loop.open_engine

    def counted(*arguments: Any, **options: Any) -> Any:
        engines.append(own(*arguments, **options))
        return engines[-1]

    monkeypatch.setattr(loop, "open_engine", counted)
    return engines


@pytest.fixture
def fresh(features: NDArray[np.float32], cache: Path, tmp_path: Path) -> Path:
    """A cache with the converted networks and no features."""
    (tmp_path / "compiled").symlink_to(cache / "compiled")
    return tmp_path


# --- manners ------------------------------------------------------------------


@parametrize_with_checks(ESTIMATORS)
def test_what_scikit_learn_checks_by_itself(estimator: Any, check: Callable[[Any], None]):
    """Most of its checks feed tables of numbers; the tags say that these take images."""
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize(
    "name",
    [
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_mixin_order",
        "check_valid_tag_types",
        "check_estimator_tags_renamed",
        "check_estimator_repr",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimators_unfitted",
    ],
)
def test_checks_that_need_no_table_of_numbers(estimator: Any, name: str):
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_what_it_was_given_is_what_it_has(estimator: Any):
    given = {"backbone": "no such network", "layer": 7, "pooling": None, "weights": object()}
    made = type(estimator)(**given)
    assert {name: made.get_params()[name] for name in given} == given
    again = clone(made.set_params(pooling="max"))
    assert again.get_params()["pooling"] == "max"
    assert not any(name.endswith("_") for name in vars(again))


def test_what_each_of_them_is():
    assert is_classifier(TransferClassifier())
    assert not is_classifier(FeatureExtractor())
    assert FeatureExtractor().__sklearn_tags__().input_tags.string


def test_fit_returns_itself_and_leaves_its_input_alone(files: list[Path], labels: list[str]):
    images, before = list(files), list(files)
    extractor = FeatureExtractor()
    assert extractor.fit(images) is extractor
    classifier = TransferClassifier()
    assert classifier.fit(images, labels) is classifier
    assert images == before
    fitted = {name for name in vars(classifier) if name.endswith("_")}
    named = {"classes_", "extractor_", "head_", "certainty_", "record_", "flips_", "rule_"}
    assert fitted == named


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_before_fit(estimator: Any, files: list[Path]):
    for method in ("transform", "predict", "decision_function", "get_feature_names_out"):
        if hasattr(estimator, method):
            call = getattr(clone(estimator), method)
            with pytest.raises(NotFittedError):
                call() if method == "get_feature_names_out" else call(files)


# --- what it takes ------------------------------------------------------------


def as_pil(files: list[Path]) -> list[Image.Image]:
    return [Image.open(path) for path in files]


FORMS: dict[str, Callable[[list[Path]], Any]] = {
    "paths": list,
    "strings": lambda files: [str(path) for path in files],
    "a tuple": tuple,
    "a generator": iter,
    "a series": lambda files: pd.Series([str(path) for path in files]),
    "a series of paths": pd.Series,
    "a categorical series": lambda files: pd.Series([str(p) for p in files], dtype="category"),
    "a table of one column": lambda files: pd.DataFrame({"path": [str(path) for path in files]}),
    "an array of strings": lambda files: np.array([str(path) for path in files]),
    "an array of objects": lambda files: np.array(files, dtype=object),
    "a column": lambda files: np.array([str(path) for path in files])[:, None],
    "PIL images": as_pil,
    "arrays": lambda files: [np.asarray(image) for image in as_pil(files)],
    "one array": lambda files: np.stack([np.asarray(image) for image in as_pil(files)]),
    "a mixture": lambda files: [str(files[0]), *as_pil(files[1:3]), *files[3:]],
    "arrays with alpha": lambda files: [np.asarray(i.convert("RGBA")) for i in as_pil(files)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_images_gives_the_same_features(
    form: str, extractor: FeatureExtractor, files: list[Path], features: NDArray[np.float32]
):
    found = extractor.transform(FORMS[form](files))
    assert found.dtype == np.float32
    assert np.array_equal(found, features)


def test_grey_images_are_taken_with_and_without_their_axis(
    extractor: FeatureExtractor, arrays: NDArray[np.uint8]
):
    grey = arrays[:4, :, :, 0]
    colour = extractor.transform(np.repeat(grey[..., None], 3, axis=3))
    assert np.array_equal(extractor.transform(grey), colour)
    assert np.array_equal(extractor.transform(grey[..., None]), colour)
    assert np.array_equal(extractor.transform(list(grey)), colour)


def test_images_of_several_sizes(extractor: FeatureExtractor, arrays: NDArray[np.uint8]):
    sizes = [arrays[0], arrays[1][:20, :33], arrays[2][:1, :1]]
    assert extractor.transform(sizes).shape == (3, 1280)


def test_order_and_company_change_nothing(
    extractor: FeatureExtractor, files: list[Path], features: NDArray[np.float32]
):
    assert np.array_equal(extractor.transform(files[::-1]), features[::-1])
    assert np.array_equal(extractor.transform(files[3:4]), features[3:4])
    assert np.array_equal(extractor.transform([files[5]] * 3), features[[5, 5, 5]])


WRONG: dict[str, tuple[Any, str]] = {
    "one path": ("a.png", "a.png: one path; pass a list of images"),
    "one Path": (Path("a.png"), "a.png: one path; pass a list of images"),
    "one PIL image": (Image.new("L", (3, 3)), "one Image; pass a list of paths, PIL images or"),
    "nothing": (None, "one NoneType; pass a list of paths, PIL images or uint8 arrays"),
    "one array": (
        np.zeros((48, 64, 3), np.uint8),
        "one image, 48 x 64 x 3; pass a list of images or N x H x W x 3",
    ),
    "no images": ([], "no images: an empty list has no features"),
    "an empty array": (np.zeros((0, 8, 8, 3), np.uint8), "no images: an empty list has no"),
    "numbers": (np.zeros((2, 8, 8, 3)), "image 0: an image array must be uint8, not float64;"),
    "rows of pixels": (np.zeros((2, 64), np.uint8), "image 0: an image array is H x W, or"),
    "two columns": (
        pd.DataFrame({"path": ["a.png"], "label": ["cat"]}),
        "a table of 1 x 2; pass its column of paths",
    ),
    "channels first": (
        np.zeros((2, 3, 8, 8), np.uint8),
        "image 0: an image array is H x W, or H x W x 1, 3 or 4, not 3 x 8 x 8; move the chann",
    ),
    "bytes": ([b"GIF89a"], "image 0: an image is a path, a PIL image or a uint8 array, not bytes"),
    "a missing value": (
        pd.Series(["a.png", None], dtype=object),
        "image 1: an image is a path, a PIL image or a uint8 array, not NoneType",
    ),
    "missing files": (
        ["no/such/a.png", "no/such/b.png"],
        "no/such/a.png: missing, no such file (2 of 2 images cannot be used)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_taken(kind: str, extractor: FeatureExtractor):
    images, message = WRONG[kind]
    with pytest.raises(DataError) as caught:
        extractor.transform(images)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_bad_file_among_good_ones_is_named(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path
):
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        extractor.transform([files[0], bad, files[1], tmp_path / "gone.png"])
    assert str(caught.value) == (
        f"{bad}: truncated, the PNG file ends early (2 of 4 images cannot be used)"
    )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"backbone": "vgg_16"}, BackboneError, "no backbone 'vgg_16'. Did you mean 'vgg16'"),
        ({"layer": "penultimat"}, LayerError, "Did you mean 'penultimate'?"),
        ({"pooling": "mean"}, LayerError, "no pooling 'mean': flatten, avg, max, gem, pyramid."),
        ({"resize": "squish"}, BackboneError, "no resize mode 'squish': squash, crop, letterbox"),
        ({"engine": "onnx"}, EngineError, "no engine 'onnx': auto, openvino, torch."),
    ],
)
def test_settings_that_do_not_exist(
    settings: dict[str, str], error: type[Exception], message: str, files: list[Path]
):
    with pytest.raises(error) as caught:
        FeatureExtractor(**settings).fit_transform(files[:1])
    assert message in str(caught.value)


# --- the store ----------------------------------------------------------------


@pytest.mark.slow
def test_the_second_call_runs_no_network(files: list[Path], opened: list[Any], fresh: Path):
    first = FeatureExtractor(cache_dir=fresh).fit_transform(files[:5])
    assert len(opened) == 1
    second = FeatureExtractor(cache_dir=fresh).fit_transform(files[:5])
    assert len(opened) == 1
    assert np.array_equal(first, second)
    FeatureExtractor(cache_dir=fresh).fit_transform(files[:6])
    assert len(opened) == 2


def test_arrays_come_from_the_store_too(arrays: NDArray[np.uint8], opened: list[Any], fresh: Path):
    extractor = FeatureExtractor(cache_dir=fresh).fit()
    first = extractor.transform(arrays[:4])
    again = extractor.transform([Image.fromarray(array) for array in arrays[:4]])
    assert len(opened) == 1
    assert np.array_equal(first, again)


def test_cross_validation_runs_the_network_once_per_image(
    files: list[Path], labels: list[str], opened: list[Any]
):
    pipeline = make_pipeline(FeatureExtractor(), Normalizer(), LinearSVC())
    pipeline.fit(files, labels)
    del opened[:]
    scores = cross_val_score(pipeline, files, labels, cv=3)
    assert scores.mean() == 1.0
    assert opened == []


@pytest.mark.slow
def test_grid_search_over_layers_and_c(files: list[Path], labels: list[str], opened: list[Any]):
    pipeline = make_pipeline(FeatureExtractor(), Normalizer(), LinearSVC())
    grid = {
        "featureextractor__layer": ["stage3", "penultimate"],
        "featureextractor__pooling": ["avg", "max"],
        "linearsvc__C": [0.1, 1.0, 10.0],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    search.fit(np.array([str(path) for path in files]), labels)
    assert search.best_score_ == 1.0
    assert set(search.best_params_) == set(grid)
    # At most one pass for each half and each kind of features, whatever the values of C.
    assert len(opened) <= 8
    assert search.predict(files[:2]).tolist() == labels[:2]


def test_grid_search_over_a_classifier(files: list[Path], labels: list[str]):
    search = GridSearchCV(TransferClassifier(), {"C": [0.1, 1.0]}, cv=2, error_score="raise")
    search.fit(files, labels)
    assert search.best_score_ == 1.0
    assert search.score(files, labels) == 1.0


def test_grid_search_reaches_the_head_s_own_choices(files: list[Path], labels: list[str]):
    classifier = TransferClassifier(head=HeadChoice("centroid", class_weight="balanced"))
    grid = {"head__reduction": ["none", "pca:2"]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(files, labels)
    assert search.best_score_ == 1.0
    head = clone(classifier).set_params(head__reduction="pca:2").fit(files, labels).head_
    assert (head.kind, head.reduction) == ("centroid", "pca:2")
    assert head.parameters["class_weight"] == "balanced"


def test_groups_are_held_out_together(files: list[Path], labels: list[str]):
    groups = [f"scene {int(path.stem) // 2}" for path in files]
    alone, apart = (
        TransferClassifier(C="auto").fit(files, labels, groups=each) for each in (None, groups)
    )
    assert alone.head_.parameters["fold_accuracies"] != apart.head_.parameters["fold_accuracies"]
    assert len(apart.head_.parameters["fold_accuracies"][0]) == 3
    again = clone(apart).fit(files, labels, groups)
    assert (again.decision_function(files) == apart.decision_function(files)).all()
    with pytest.raises(HeadError, match=r"^1 image without a group, first in row 0$"):
        TransferClassifier().fit(files, labels, groups=["", *groups[1:]])
    with pytest.raises(DataError, match="groups"):
        TransferClassifier().fit(files, labels, groups=groups[1:])


def test_a_grid_search_by_groups(files: list[Path], labels: list[str]):
    groups = np.array([int(path.stem) // 2 for path in files])
    search = GridSearchCV(TransferClassifier(), {"C": [0.1, 1.0]}, cv=GroupKFold(3))
    assert search.fit(files, labels, groups=groups).best_score_ > 0.5
    with config_context(enable_metadata_routing=True):
        asking = TransferClassifier().set_fit_request(groups=True)
        search = GridSearchCV(asking, {"C": [0.1, "auto"]}, cv=GroupKFold(3))
        assert search.fit(files, labels, groups=groups).best_score_ > 0.5


@pytest.mark.slow
def test_a_saved_model_marks_images_unlike_its_own(
    tmp_path: Path, files: list[Path], labels: list[str]
):
    for precision in ("fp32", "bf16"):
        classifier = TransferClassifier(precision=precision, C="auto").fit(files, labels)
        path = classifier.save(tmp_path / f"{precision}.offshelf")
        strange = tmp_path / "strange.png"
        Image.fromarray(load_sample_image("china.jpg")).save(strange)
        rows = predict(path, [strange, files[0]]).predictions
        assert [row.unlike for row in rows] == [True, False]


def test_two_classes_are_decided_by_the_sign_also_by_neighbours(
    files: list[Path], labels: list[str]
):
    two = ["a" if label == labels[0] else "b" for label in labels]
    classifier = TransferClassifier(head="knn:3").fit(files, two)
    scores = classifier.decision_function(files)
    assert np.array_equal(scores > 0, classifier.predict(files) == "b")


def test_probabilities_where_the_head_is_calibrated(files: list[Path], labels: list[str]):
    classifier = TransferClassifier().fit(files, labels)
    shares = classifier.predict_proba(files)
    assert shares.shape == (len(files), 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert classifier.classes_[shares.argmax(axis=1)].tolist() == classifier.predict(files).tolist()
    scores = cross_val_score(classifier, files, labels, cv=2, scoring="neg_log_loss")
    assert (scores > -0.7).all()


def test_no_probabilities_unless_asked_for(files: list[Path], labels: list[str]):
    classifier = TransferClassifier(calibrate="none").fit(files, labels)
    assert not hasattr(classifier, "predict_proba")
    with pytest.raises(AttributeError) as caught:
        classifier.predict_proba(files)
    assert str(caught.value.__cause__) == (
        "the classifier has no probabilities: fit it again with calibrate='temperature'"
    )


def test_an_unknown_calibration(files: list[Path], labels: list[str]):
    with pytest.raises(HeadError) as caught:
        TransferClassifier(head=HeadChoice(calibrate="temprature")).fit(files, labels)
    assert str(caught.value) == (
        "unknown calibration 'temprature': use temperature, sigmoid, none. "
        "Did you mean 'temperature'?"
    )


# --- what comes out -----------------------------------------------------------


def test_columns_have_names(files: list[Path]):
    extractor = FeatureExtractor(layer="stage1", pooling="max").set_output(transform="pandas")
    frame = extractor.fit_transform(files[:3])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == [f"stage1_max_{number}" for number in range(16)]
    assert extractor.get_feature_names_out().tolist() == list(frame.columns)
    assert extractor.n_features_out_ == 16


def test_copies_and_pickles_give_the_same(files: list[Path], labels: list[str]):
    classifier = TransferClassifier().fit(files, labels)
    expected = classifier.decision_function(files)
    for other in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):  # noqa: S301
        assert np.array_equal(other.decision_function(files), expected)


def test_fitting_again_gives_the_same_and_forgets_the_first(files: list[Path], labels: list[str]):
    classifier = TransferClassifier().fit(files, labels)
    first = classifier.decision_function(files)
    other = ["a" if label == "noise" else "b" for label in labels]
    assert classifier.fit(files, other).classes_.tolist() == ["a", "b"]
    assert np.array_equal(classifier.fit(files, labels).decision_function(files), first)


def test_it_decides_like_the_pipeline_of_scikit_learn(
    files: list[Path], labels: list[str], scenes: Path
):
    unseen = sorted((scenes / "test").rglob("*.png"))
    classifier = TransferClassifier(C=0.5).fit(files, labels)
    pipeline = make_pipeline(
        FeatureExtractor(), Normalizer(), LinearSVC(C=0.5, tol=1e-8, max_iter=100_000)
    ).fit(files, labels)
    difference = classifier.decision_function(unseen) - pipeline.decision_function(unseen)
    assert np.abs(difference).max() < 1e-3
    assert classifier.predict(unseen).tolist() == pipeline.predict(unseen).tolist()
    assert classifier.predict(unseen).tolist() == [path.parent.name for path in unseen]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (["no", "yes"], np.str_),
        ([7, 3], np.integer),
        ([False, True], np.bool_),
        ([1.0, 2.0], np.floating),
    ],
)
def test_labels_come_back_as_they_are(
    names: list[Any], dtype: type, files: list[Path], labels: list[str]
):
    given = [names[label == "noise"] for label in labels]
    classifier = TransferClassifier().fit(files, given)
    assert classifier.classes_.tolist() == sorted(names)
    predicted = classifier.predict(files)
    assert predicted.tolist() == given
    assert issubclass(predicted.dtype.type, dtype)
    scores = classifier.decision_function(files)
    assert scores.shape == (len(files),)
    assert ((scores > 0) == (predicted == classifier.classes_[1])).all()


def test_labels_may_be_a_series(files: list[Path], labels: list[str]):
    series = pd.Series(labels, dtype="category", index=range(100, 100 + len(labels)))
    classifier = TransferClassifier().fit(pd.Series([str(path) for path in files]), series)
    assert classifier.classes_.tolist() == ["checks", "noise", "stripes"]
    assert classifier.decision_function(files).shape == (len(files), 3)


NUMBERS = np.linspace(0, 1, 18)
BAD_LABELS: dict[str, tuple[Any, type[Exception], str]] = {
    "too few": (["a"] * 17, DataError, "18 images but labels of shape (17,)"),
    "none": (None, DataError, "18 images but labels of shape ()"),
    "a table": (np.zeros((18, 2)), DataError, "18 images but labels of shape (18, 2)"),
    "numbers": (NUMBERS, DataError, "labels are continuous numbers; a classifier needs"),
    "missing": (
        [np.nan, 1.0] * 9,
        DataError,
        "9 of 18 labels are missing, the first at position 0",
    ),
    "mixed": ([1, "1", 2] * 6, DataError, "labels of several kinds (int, str), such as 1 and '1'"),
    "a gap": (["a", None] * 9, DataError, "9 of 18 labels are missing, the first at"),
    "one class": (["a"] * 18, HeadError, "training data holds only 'a': a head needs at least"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_labels_that_cannot_be_learned(kind: str, files: list[Path]):
    labels, error, message = BAD_LABELS[kind]
    with pytest.raises(error) as caught:
        TransferClassifier().fit(files, labels)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "svn"}, "unknown head 'svn'"),
        ({"C": -1.0}, "C must be a positive finite number"),
        (
            {"normalisation": "l1"},
            "unknown normalisation 'l1': use 'l2', 'none', 'standard' or 'sqrt'",
        ),
        (
            {"head": HeadChoice(reduction="pcb:2")},
            "unknown reduction 'pcb:2': use 'none', 'pca:N', 'whiten:N' or 'random:N'. "
            "Did you mean 'pca'?",
        ),
    ],
)
def test_heads_that_do_not_exist(
    settings: dict[str, Any], message: str, files: list[Path], labels: list[str]
):
    with pytest.raises(HeadError) as caught:
        TransferClassifier(**settings).fit(files, labels)
    assert str(caught.value).startswith(message)
