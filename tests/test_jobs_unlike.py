"""A photo of something else: marks from fit to predict and evaluate, through the model file."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_run import Run
from made_models import tampered, with_tensors
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.evaluate import evaluate_model
from offshelf.jobs.fit.job import FitResult, fit
from offshelf.jobs.predict import PredictFiles, predict
from offshelf.model_file.model import load_model, save_model
from offshelf.progress import Silent

BELIEVE = (
    "believe the probability, not the score; of an image marked as unlike the training images, "
    "neither\n"
)


@pytest.fixture(scope="module")
def photos(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph among textures, and one of the textures."""
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(load_sample_image("china.jpg")).save(folder / "china.png")
    known = np.asarray(Image.open(scenes / "train" / "noise" / "0.png"))
    Image.fromarray(known).save(folder / "noise.png")
    return folder


def test_a_photo_of_something_else_is_marked_and_keeps_its_label(
    capsys: pytest.CaptureFixture[str], model: Path, photos: Path
) -> None:
    china, noise = predict(model, [photos]).predictions
    assert (china.unlike, noise.unlike, china.unknown) == (True, False, False)
    assert china.label in ("checks", "noise", "stripes")
    out = Run(capsys, "predict", model, photos).out
    lines = out.splitlines()
    assert lines[0].split()[-1] == "note"
    assert lines[2].endswith("  unlike the training images")
    assert "unlike" not in lines[3]
    assert BELIEVE in out
    assert (
        "unlike the training images: farther from them than 94.7 % of them from the others, by "
    ) in out


@pytest.mark.slow
def test_the_mark_in_csv_and_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, photos: Path
) -> None:
    (photos / "none.png").touch()
    rows = list(csv.DictReader(io.StringIO(Run(capsys, "predict", model, photos, "--csv").out)))
    assert [row["unlike"] for row in rows] == ["yes", "no", ""]
    document = Run(capsys, "predict", model, photos, "--json").document
    assert document["n_unlike"] == 1
    assert [row["unlike"] for row in document["predictions"]] == [True, False, None]
    out = Run(capsys, "predict", model, photos, "--out", tmp_path / "l.csv").out
    assert "unlike  1 marked as unlike the training images\n" in out
    (photos / "none.png").unlink()


@pytest.mark.slow
def test_an_image_alone_is_marked_as_in_a_batch(scenes: Path, model: Path, photos: Path) -> None:
    paths = [photos / "china.png", *sorted(scenes.rglob("*.png"))[:7]]
    batch = predict(model, paths).predictions
    for path, row in zip(paths, batch, strict=True):
        assert predict(model, [path]).predictions[0] == row


def test_a_photo_of_something_else_is_sorted_apart(
    tmp_path: Path, model: Path, photos: Path
) -> None:
    found = predict(model, [photos], written=PredictFiles(sort_into=tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["noise", "unlike"]
    assert (tmp_path / "out" / "unlike" / "china.png").is_file()
    where = f"unlike  1 marked as unlike the training images, in {tmp_path}/out/unlike\n"
    assert f"{where}" in f"{found}\n"
    rows = tuple(dataclasses.replace(row, unlike=True) for row in found.predictions)
    assert (
        f"unlike  2 marked as unlike the training images, 1 of them in {tmp_path}/out/unlike"
        in (str(dataclasses.replace(found, predictions=rows)))
    )


def test_fit_and_evaluate_say_how_many_known_images_are_marked(
    capsys: pytest.CaptureFixture[str], scenes: Path, fitted: FitResult, model: Path
) -> None:
    found = evaluate_model(model, scenes)
    assert found.trust == fitted.trust
    assert found.trust.unlike is not None
    assert found.trust.unlike.rejected == sum(bool(row.unlike) for row in found.predictions)
    assert fitted.model.metrics["unlike"] == found.trust.unlike.to_json()
    share = 100 * found.trust.unlike.share
    assert f"unlike    {share:.2f} % of these images marked as unlike the training images\n" in (
        Run(capsys, "evaluate", model, scenes).out
    )


@pytest.mark.slow
def test_a_model_from_before_marks_nothing_and_says_so_once(
    tmp_path: Path, scenes: Path, fitted: FitResult, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_model(fitted.model, tmp_path / "old.offshelf")
    with_tensors(path, lambda tensors: [tensors.pop(n) for n in [*tensors] if "certainty" in n])
    tampered(path, lambda m: [m["certainty"].pop(key) for key in ("unlike", "separation")])
    run = Run(capsys, "predict", path, scenes / "test", "--json")
    assert run.err.count("unlike") == 1
    assert (
        f"note: {path}: no image is marked as unlike the training images: it keeps no measure of "
        "that; train it again with 'offshelf fit'\n"
    ) in run.err
    assert run.document["n_unlike"] is None
    assert {row["unlike"] for row in run.document["predictions"]} == {None}
    now = predict(save_model(fitted.model, tmp_path / "new.offshelf"), [scenes / "test"])
    old = predict(path, [scenes / "test"])
    for before, after in zip(old.predictions, now.predictions, strict=True):
        assert before == dataclasses.replace(after, unlike=None)
    assert "unlike" not in [column.name for column in old.table().columns]
    out = Run(capsys, "predict", path, scenes / "test").out
    assert "believe the probability, not the score; of an image of no class, neither\n" in out


def test_a_model_of_too_few_images_says_why(scenes: Path, tmp_path: Path) -> None:
    for number in range(3):
        for name in ("checks", "noise"):
            picture = Image.open(scenes / "train" / name / f"{number}.png")
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "data" / name / f"{number}.png")
    told = Silent()
    path = fit(tmp_path / "data", tmp_path / "m.offshelf", progress=told).path
    note = (
        "no image is marked as unlike the training images: that needs 10 of them that can be held "
        "out, there are 4"
    )
    assert note in told.notes
    assert path is not None
    told = Silent()
    predict(path, [tmp_path / "data"], progress=told)
    assert told.notes == [f"{path}: {note}"]


def test_the_file_is_hardly_larger(fitted: FitResult, tmp_path: Path) -> None:
    path = save_model(fitted.model, tmp_path / "m.offshelf")
    bare = dataclasses.replace(
        fitted.model,
        certainty=dataclasses.replace(fitted.model.certainty, unlike=None, references={}),
    )
    without = save_model(bare, tmp_path / "bare.offshelf")
    assert 0 < path.stat().st_size - without.stat().st_size < 2.2 * 2**20
    assert load_model(path).certainty.to_json() == fitted.model.certainty.to_json()


@pytest.mark.real
def test_on_15_scene_3_to_7_per_cent_are_rejected_and_1_marked(shared: Path) -> None:
    for measure in ("auto", "centroid_distance", "neighbour_distance", "covariance_distance"):
        wish = ProbabilitySettings(reject=0.05, reject_by=measure)
        found = fit(shared / "data" / "15-scene", probability=wish).trust
        assert found.rejection is not None
        assert found.unlike is not None
        assert 0.03 <= found.rejection.share <= 0.07
        assert 0.004 <= found.unlike.share <= 0.02
