"""A model file on labelled images: which images count, classes by name, the figures of fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from offshelf.errors import DataError
from offshelf.jobs.evaluate import EvaluateResult, evaluate_model
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.progress import Silent


@pytest.fixture(scope="module")
def seeded(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit(scenes / "train", tmp_path_factory.mktemp("model") / "seeded.offshelf")


def measured(model: FitResult, data: Path, split: str = "test") -> tuple[EvaluateResult, list[str]]:
    told = Silent()
    assert model.path is not None
    return evaluate_model(model.path, data, split=split, progress=told), told.notes


def test_a_given_split_gives_the_figures_of_fit(scenes: Path, fitted: FitResult) -> None:
    result, notes = measured(fitted, scenes)
    assert result.evaluation.to_json() == fitted.evaluation.to_json()
    assert notes == []
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert {
        "n_test": 12,
        "n_failed": 0,
        "split": "test",
        "backbone": "efficientnet_lite0",
        "trained_weights": True,
        "warnings": [],
    }.items() <= document.items()
    assert set(document["seconds"]) == {"open", "predict", "total"}
    rows = document["predictions"]
    assert [row["true"] for row in rows] == list(result.labels)
    assert all(set(row["scores"]) == {"checks", "noise", "stripes"} for row in rows)


def test_a_seeded_split_finds_its_test_images_again(scenes: Path, seeded: FitResult) -> None:
    result, notes = measured(seeded, scenes / "train")
    assert result.evaluation.to_json() == seeded.evaluation.to_json()
    wanted = {seeded.table.paths[row] for row in seeded.table.rows("test")}
    assert {row.path for row in result.predictions} == wanted
    trained = len(seeded.table) - len(wanted)
    assert notes == [
        f"{trained} images that the model was trained on left out; --split all takes them, too"
    ]


@pytest.mark.slow
def test_images_are_known_by_content_whatever_they_are_called(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    data = tmp_path / "data" / "noise"
    data.mkdir(parents=True)
    for number, source in enumerate(sorted((scenes / "train" / "noise").glob("*.png"))[:2]):
        shutil.copy(source, data / f"renamed {number}.png")
    with pytest.raises(DataError, match="the model was trained on every image; --split all takes"):
        measured(fitted, data.parent)
    shutil.copy(scenes / "test" / "noise" / "0.png", data / "new.png")
    result, notes = measured(fitted, data.parent)
    assert [Path(row.path).name for row in result.predictions] == ["new.png"]
    assert notes == ["2 images that the model was trained on left out; --split all takes them, too"]
    result, notes = measured(fitted, data.parent, "all")
    assert result.evaluation.n == 3
    assert notes == ["2 images that the model was trained on counted too (accuracy too high)"]


def test_a_given_test_split_is_kept_and_a_leak_is_said(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    shutil.copy(data / "train" / "noise" / "0.png", data / "test" / "noise" / "leak.png")
    result, notes = measured(fitted, data)
    assert result.evaluation.n == 13
    assert notes == ["1 image of the test split are also among the model's training images"]


def test_the_train_split(scenes: Path, fitted: FitResult) -> None:
    result, notes = measured(fitted, scenes, "train")
    assert (result.evaluation.n, notes) == (18, [])


def test_classes_are_the_same_but_for_case_and_spaces(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    data = tmp_path / "data"
    for name, other in (("checks", "CHECKS"), ("noise", "Noi se"), ("stripes", "stripes")):
        shutil.copytree(scenes / "test" / name, data / other)
    result, _ = measured(fitted, data)
    assert result.evaluation.to_json() == fitted.evaluation.to_json()


def test_one_class_is_enough_to_evaluate(scenes: Path, tmp_path: Path, fitted: FitResult) -> None:
    shutil.copytree(scenes / "test" / "noise", tmp_path / "data" / "noise")
    result, _ = measured(fitted, tmp_path / "data")
    assert result.evaluation.n == 4
    assert result.evaluation.balanced_accuracy == result.evaluation.accuracy


@pytest.mark.slow
def test_an_exact_name_wins_over_one_that_is_like_it(tmp_path: Path, scenes: Path) -> None:
    for name, source in (("F", "checks"), ("f", "noise"), ("rain", "stripes")):
        shutil.copytree(scenes / "train" / source, tmp_path / "data" / name)
    model = fit(tmp_path / "data", tmp_path / "m.offshelf")
    result, _ = measured(model, tmp_path / "data", "all")
    assert sorted(set(result.labels)) == ["F", "f", "rain"]
    shutil.move(tmp_path / "data" / "f", tmp_path / "data" / "f ")
    with pytest.raises(DataError, match="1 class that the model does not know: 'f '"):
        measured(model, tmp_path / "data", "all")


def test_an_unknown_class_is_refused(tmp_path: Path, scenes: Path, fitted: FitResult) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes / "test" / "noise", data / "nois")
    with pytest.raises(DataError) as caught:
        measured(fitted, data)
    assert str(caught.value) == (
        f"{data}: 1 class that the model does not know: 'nois'; its classes are 'checks', "
        "'noise', 'stripes'. Did you mean 'noise'?"
    )


def test_a_class_outside_the_split_is_no_matter(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    shutil.copytree(scenes / "train" / "noise", data / "train" / "fog")
    result, _ = measured(fitted, data)
    assert result.evaluation.n == 12


def test_broken_images_are_listed_and_not_counted(
    tmp_path: Path, scenes: Path, fitted: FitResult
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes / "test", data)
    (data / "checks" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    document = measured(fitted, data)[0].to_json()
    assert (document["n_test"], document["n_failed"], len(document["predictions"])) == (12, 1, 12)
    assert document["failures"][0]["path"] == str(data / "checks" / "cut.png")


def test_nothing_but_broken_images(tmp_path: Path, fitted: FitResult) -> None:
    data = tmp_path / "data"
    (data / "checks").mkdir(parents=True)
    (data / "checks" / "a.png").touch()
    with pytest.raises(
        DataError, match=r"data: none of the 1 image can be used; the first: .*a.png: empty"
    ):
        measured(fitted, data)


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ("tset", "no split 'tset': test, train, all. Did you mean 'test'?"),
        ("train", "has no train images; --split all takes every image"),
    ],
)
def test_wrong_splits(scenes: Path, fitted: FitResult, split: str, text: str) -> None:
    with pytest.raises(DataError) as caught:
        measured(fitted, scenes / "test", split)
    assert str(caught.value).endswith(text)


@pytest.mark.slow
def test_random_weights_are_marked(tmp_path: Path, scenes: Path) -> None:
    from offshelf.engine.contract import EngineOptions
    from offshelf.jobs.setup.settings import FeatureSettings, RunSettings

    run = RunSettings(EngineOptions("torch"))
    model = fit(
        scenes, tmp_path / "m.offshelf", features=FeatureSettings(weights="random"), run=run
    )
    told = Silent()
    result = evaluate_model(tmp_path / "m.offshelf", scenes, run=run, progress=told)
    assert result.to_json()["trained_weights"] is False
    assert any("UNTRAINED" in note for note in told.notes)
    np.testing.assert_array_equal(result.evaluation.confusion, model.evaluation.confusion)
