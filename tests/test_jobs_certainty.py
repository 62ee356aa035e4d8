"""Probabilities and unknown images from fit to predict and evaluate, through the model file."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_models import made_model, tampered, with_tensors
from offshelf.cli.main import main
from offshelf.errors import HeadError, ModelFileError, OffshelfError
from offshelf.heads.probabilities.distances import Reference
from offshelf.heads.probabilities.probability_model import Certainty, ProbabilitySettings
from offshelf.heads.probabilities.rejection import MEASURES, Threshold
from offshelf.heads.probabilities.score_calibration import Temperature
from offshelf.jobs.evaluate import evaluate_model, write_reliability
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.measurement.probability_metrics import Rejection, Trust, trust
from offshelf.model_file.model import load_model, save_model
from offshelf.progress import Silent


def made(root: Path, scenes: Path, **settings: Any) -> tuple[FitResult, Path]:
    path = root / "m.offshelf"
    return fit(scenes, path, probability=ProbabilitySettings(**settings)), path


@pytest.fixture(scope="module")
def rejecting(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rejecting")
    return made(root, scenes, reject=0.3, reject_by="centroid_distance")[1]


@pytest.fixture(scope="module")
def bare(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("bare"), scenes, calibrate="none")[1]


def test_fit_says_how_good_its_probabilities_are(tmp_path: Path, scenes: Path) -> None:
    result, path = made(tmp_path, scenes)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert 0 <= document["ece"] <= 1
    assert document["log_loss"] == document["reliability"]["log_loss"] > 0
    assert document["rejection"] is None
    assert document["certainty"]["calibration"]["kind"] == "temperature"
    model = load_model(path)
    assert model.certainty.to_json() == result.model.certainty.to_json()
    assert model.metrics["log_loss"] == document["log_loss"]
    assert "reliability" not in model.metrics


def test_a_class_of_one_image_is_told_and_kept(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for number in range(1, 6):
        (data / "train" / "noise" / f"{number}.png").unlink()
    told = Silent()
    result = fit(data, tmp_path / "m.offshelf", progress=told)
    note = "a class has a single training image, which cannot say how sure to be: 'noise'"
    assert note in told.notes
    assert note in result.to_json()["warnings"]
    assert load_model(tmp_path / "m.offshelf").certainty.notes == (note,)


def test_too_few_images_to_reject(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(scenes), "--reject", "0.05"]) == 2
    assert capsys.readouterr().err == (
        "error: a false-reject rate of 0.05 needs at least 19 held-out images, there are 18\n"
    )


@pytest.mark.slow
def test_labels_are_the_same_with_and_without(tmp_path: Path, scenes: Path, bare: Path) -> None:
    _, path = made(tmp_path, scenes)
    plain, sure = (predict(model, [scenes / "test"]).predictions for model in (bare, path))
    assert [row.scores for row in plain] == [row.scores for row in sure]
    assert all(row.probabilities == {} and not row.unknown for row in plain)
    for row in sure:
        assert list(row.probabilities) == list(row.scores)
        assert sum(row.probabilities.values()) == pytest.approx(1)
        assert row.label == next(iter(row.probabilities))
        assert row.probabilities[row.label] == max(row.probabilities.values())


def test_evaluate_gives_the_figures_of_fit(tmp_path: Path, scenes: Path) -> None:
    result, path = made(tmp_path, scenes, calibrate="sigmoid", reject=0.2)
    again = evaluate_model(path, scenes)
    assert again.trust == result.trust
    row = again.to_json()["predictions"][0]
    names = {"path", "true", "label", "scores", "probabilities", "unknown", "unlike"}
    assert set(row) == names | {"most_probable"}
    rejection = again.trust.rejection
    assert rejection is not None
    assert rejection.rejected == sum(row.unknown for row in again.predictions)


def test_strange_images_are_unknown(scenes: Path, tmp_path: Path, rejecting: Path) -> None:
    from PIL import Image

    photo = tmp_path / "black.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(photo)
    (row,) = predict(rejecting, [photo]).predictions
    assert row.unknown
    assert row.label in ("checks", "noise", "stripes")
    assert "centroid_distance" in load_model(rejecting).certainty.references


@pytest.mark.slow
def test_the_command_line_names_unknown_images(
    capsys: pytest.CaptureFixture[str], scenes: Path, rejecting: Path
) -> None:
    files = [str(scenes / "test")]
    assert main(["predict", str(rejecting), *files, "--csv", "--quiet"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert set(rows[0]) >= {"label", "unknown", "score:noise", "probability:noise"}
    assert {row["unknown"] for row in rows} <= {"yes", "no"}
    assert main(["predict", str(rejecting), *files, "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.count("unknown (nearest: ") == sum(row["unknown"] == "yes" for row in rows)
    assert (
        "unknown: less typical than 70 % of the training images, by the distance to the nearest "
        "class\n"
    ) in out
    assert main(["evaluate", str(rejecting), str(scenes), "--quiet"]) == 0
    assert " % of these images of known classes rejected; accuracy on the " in (
        capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_model_without_probabilities_says_nothing_of_them(
    capsys: pytest.CaptureFixture[str], scenes: Path, bare: Path
) -> None:
    assert main(["predict", str(bare), str(scenes / "test"), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["image", "label", "score", "then"]
    assert "probability:" not in out
    assert main(["evaluate", str(bare), str(scenes), "--quiet"]) == 0
    assert "log loss" not in capsys.readouterr().out
    document = evaluate_model(bare, scenes).to_json()
    assert (document["log_loss"], document["ece"]) == (None, None)


@pytest.mark.slow
def test_the_reliability_diagram(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path, rejecting: Path, bare: Path
) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        path = tmp_path / name
        words = ["evaluate", str(rejecting), str(scenes), "--quiet", "--reliability", str(path)]
        assert main(words) == 0
        assert f"picture: {path}\n" in capsys.readouterr().out
        assert path.read_bytes().startswith(start)
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["picture"] == str(path)
    with pytest.raises(OffshelfError) as caught:
        write_reliability(evaluate_model(bare, scenes), tmp_path / "b.png")
    assert str(caught.value) == (
        f"{bare}: has no probabilities to draw; fit it again with --calibrate temperature"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reliability", "a.jpg"], "a.jpg: a picture's name ends in .png or .svg"),
        (["--reliability", "{root}/d.png"], "{root}/d.png: cannot be written (it is a folder)"),
        (["--reliability", "{root}/f/d.png"], "{root}/f/d.png: cannot be written ({root}/f is no"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "d.png").mkdir()
    (tmp_path / "f").touch()
    given = [word.format(root=tmp_path) for word in words]
    assert main(["evaluate", "nowhere.offshelf", "nowhere", *given]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message.format(root=tmp_path)}")


def test_wishes_are_refused_before_the_work(scenes: Path) -> None:
    with pytest.raises(HeadError, match=r"^unknown calibration 'sigmiod': use "):
        fit("nowhere", probability=ProbabilitySettings("sigmiod"))


def test_the_command_line_passes_the_wishes_on(
    capsys: pytest.CaptureFixture[str], scenes: Path
) -> None:
    words = ["fit", str(scenes), "--json", "--quiet", "--calibrate", "sigmoid", "--reject", "0.2"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["certainty"]["calibration"]["kind"] == "sigmoid"
    certainty = document["certainty"]
    assert set(certainty["separation"]) == set(MEASURES)
    best = max(certainty["separation"], key=certainty["separation"].get)
    assert certainty["threshold"]["measure"] == best
    assert main([*words, "--reject-by", "distance"]) == 2
    assert "unknown way to reject 'distance': use auto, confidence, " in capsys.readouterr().err


def test_a_file_from_before_there_were_probabilities_loads(tmp_path: Path) -> None:
    path = save_model(made_model(), tmp_path / "m.offshelf")
    tampered(path, lambda manifest: manifest.pop("certainty"))
    assert load_model(path).certainty.to_json() == Certainty().to_json()


def with_certainty(path: Path) -> Path:
    import dataclasses

    threshold = Threshold("centroid_distance", 0.5, 0.05, 40, 1)
    known = Reference("centroid_distance", np.ones((3, 5), np.float32))
    certainty = Certainty(
        calibration=Temperature(0.5), threshold=threshold, references={known.measure: known}
    )
    return save_model(dataclasses.replace(made_model(), certainty=certainty), path)


def test_a_file_keeps_all_of_it(tmp_path: Path) -> None:
    found = load_model(with_certainty(tmp_path / "m.offshelf")).certainty
    np.testing.assert_array_equal(found.references["centroid_distance"].rows, np.ones((3, 5)))
    assert found.calibration == Temperature(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("certainty"), "damaged certainty: need calibration, threshold and notes"),
        (
            lambda m: m["certainty"]["calibration"].update(temperature=-1),
            "damaged calibration: no temperature and no sigmoids of 3 classes",
        ),
        (lambda m: m["certainty"].update(threshold=None), "arrays and thresholds do not belong"),
    ],
)
def test_a_damaged_certainty_does_not_load(tmp_path: Path, change: Any, message: str) -> None:
    path = tampered(with_certainty(tmp_path / "m.offshelf"), change)
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_centroids_that_do_not_fit_do_not_load(tmp_path: Path) -> None:
    path = with_certainty(tmp_path / "m.offshelf")
    with_tensors(path, lambda t: t.update({"certainty.centroids": np.ones((3, 4), np.float32)}))
    with pytest.raises(ModelFileError, match="centroids must be 3 x 5 float32, not 3 x 4 float32"):
        load_model(path)


def test_shares_of_rejections() -> None:
    found = Rejection(10, 10, 0)
    assert (found.share, found.accuracy) == (1.0, None)
    assert found.to_json()["accuracy_accepted"] is None
    labels, targets = np.array([0, 1, 1]), np.array([0, 0, 1])
    measured = trust(np.eye(2)[labels], np.array([False, True, False]), labels, targets)
    assert measured.rejection == Rejection(3, 1, 2)
    assert measured.reliability is not None
    assert measured.reliability.accuracy == pytest.approx(2 / 3)
    assert Trust(None, None).to_json()["ece"] is None
