"""From labelled images to a model: what is refused before the work, what the result says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offshelf.errors import DataError, HeadError, ModelFileError, OffshelfError
from offshelf.features.reader import ReadOptions
from offshelf.jobs.evaluate import evaluate_model
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.model_file.model import load_model
from offshelf.progress import Silent

FIELDS = {
    "accuracy",
    "accuracy_interval",
    "balanced_accuracy",
    "n_train",
    "n_test",
    "n_failed",
    "classes",
    "backbone",
    "layer",
    "dimension",
    "head",
    "C",
    "seconds",
    "model",
}


def test_what_the_result_says(tmp_path: Path, scenes: Path) -> None:
    result = fit(scenes, tmp_path / "m.offshelf")
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(document) >= FIELDS
    low, high = document["accuracy_interval"]
    assert low <= document["accuracy"] <= high
    assert {
        "n_train": 18,
        "n_test": 12,
        "n_failed": 0,
        "classes": ["checks", "noise", "stripes"],
        "dimension": 1280,
        "head": "svm",
        "C": 1.0,
        "trained_weights": True,
        "model": str(tmp_path / "m.offshelf"),
    }.items() <= document.items()
    stages = {"read", "start", "extract", "fit", "evaluate", "save", "total"}
    assert stages <= set(document["seconds"])


def test_the_same_settings_give_the_same_file(tmp_path: Path, scenes: Path) -> None:
    fit(scenes, tmp_path / "one.offshelf")
    fit(scenes, tmp_path / "two.offshelf", run=RunSettings(reading=ReadOptions(rehash=True)))
    one, two = (tmp_path / f"{name}.offshelf" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_no_file_is_written_unless_asked_for(tmp_path: Path, scenes: Path) -> None:
    result = fit(scenes)
    assert (result.path, result.to_json()["model"]) == (None, None)
    assert len(result.model.samples) == 3


@pytest.mark.parametrize("samples", [0, 5, 16])
def test_the_number_of_test_images_in_the_file(tmp_path: Path, scenes: Path, samples: int) -> None:
    fit(scenes, tmp_path / "m.offshelf", run=RunSettings(samples=samples))
    model = load_model(tmp_path / "m.offshelf")
    assert len(model.samples) == min(samples, 12)
    assert {one.label for one in model.samples} <= {"checks", "noise", "stripes"}


def test_the_model_knows_what_it_was_trained_on(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    model = fitted.model
    assert len(model.seen) == 18
    assert model.data["n_images"] == 30
    same = fit(scenes).model.data["images_sha256"]
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    (data / "test" / "noise" / "0.png").unlink()
    assert model.data["images_sha256"] == same != fit(data).model.data["images_sha256"]


def test_broken_images_cost_a_row_and_nothing_else(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    whole = fit(data).model.head.arrays["weight"]
    (data / "train" / "checks" / "00.png").touch()
    (data / "test" / "noise" / "z.png").write_bytes(b"\x89PNG")
    result = fit(data)
    document = result.to_json()
    assert (document["n_train"], document["n_test"], document["n_failed"]) == (18, 12, 2)
    assert [Path(row["path"]).name for row in document["failures"]] == ["00.png", "z.png"]
    np.testing.assert_array_equal(result.model.head.arrays["weight"], whole)


def test_two_classes_and_odd_names(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes / "train" / "noise", data / "b,\nß")
    shutil.copytree(scenes / "train" / "stripes", data / "a\udce9")
    result = fit(data, tmp_path / "m.offshelf")
    assert load_model(tmp_path / "m.offshelf").classes == ("a\\xe9", "b,\nß")
    assert json.loads(json.dumps(result.to_json()))["classes"] == ["a\\xe9", "b,\nß"]
    again = evaluate_model(tmp_path / "m.offshelf", data)
    assert again.evaluation.accuracy == result.evaluation.accuracy


def test_warnings_reach_the_result_and_the_progress(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    (data / "test" / "noise").rename(data / "test" / "Noise")
    told = Silent()
    result = fit(data, progress=told)
    assert any("nearly the same name" in note for note in told.notes)
    assert set(result.to_json()["warnings"]) <= set(told.notes)


REFUSED_EARLY: list[tuple[Callable[[Path], dict[str, object]], type[OffshelfError], str]] = [
    (lambda _: {"head": HeadSettings(c=0)}, HeadError, "finite number or 'auto', got 0"),
    (
        lambda _: {"head": HeadSettings(c=float("nan"))},
        HeadError,
        "finite number or 'auto', got nan",
    ),
    (lambda _: {"head": HeadSettings("smv")}, HeadError, "unknown head 'smv'"),
    (
        lambda _: {"head": HeadSettings(normalisation="l1")},
        HeadError,
        "unknown normalisation 'l1': use 'l2', 'none', 'standard' or 'sqrt'",
    ),
    (lambda _: {"run": RunSettings(seed=-1)}, HeadError, "seed must be a whole number from 0"),
    (lambda _: {"run": RunSettings(test_size=2)}, DataError, "test_size is a share between 0"),
    (
        lambda _: {"run": RunSettings(samples=17)},
        DataError,
        "samples is a whole number from 0 to 16, not 17",
    ),
    (lambda root: {"out": root}, ModelFileError, "is a folder; name a file such as"),
    (
        lambda root: {"out": root / "photo.jpg"},
        ModelFileError,
        "exists and is no model file, so it is not replaced",
    ),
    (
        lambda _: {"features": FeatureSettings(resize="squsah")},
        OffshelfError,
        "no resize mode 'squsah': squash, crop, letterbox. Did you mean 'squash'?",
    ),
]


@pytest.mark.parametrize(("settings", "kind", "text"), REFUSED_EARLY)
def test_wrong_settings_are_refused_before_the_network_runs(
    tmp_path: Path,
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Callable[[Path], dict[str, object]],
    kind: type[OffshelfError],
    text: str,
) -> None:
    monkeypatch.setattr(
        "offshelf.jobs.setup.labelled_features.extract", lambda *_: pytest.fail("the network ran")
    )
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(kind) as caught:
        fit(scenes, **settings(tmp_path))  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8\xff"


def test_a_split_without_a_usable_image(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for path in (data / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"none of the 12 test images can be used; the first: .*empty"
    ):
        fit(data)


def test_a_class_whose_training_images_all_fail(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for path in (data / "train" / "noise").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(HeadError, match="no training rows for 1 of 3 classes: 'noise'"):
        fit(data)
