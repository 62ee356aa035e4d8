"""Several labels for each image, from a table to a model file and its answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
import pytest
from sklearn.metrics import average_precision_score, f1_score

import offshelf
from command_run import Run
from made_models import tampered
from made_shapes import THINGS, write_shapes
from offshelf.errors import DataError, HeadError, ModelFileError, OffshelfError
from offshelf.jobs.multilabel.label_fit_result import LabelFitResult
from offshelf.model_file.model import load_model

NAMES = sorted(THINGS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with several shapes, and a table of them with a split."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), 60)


@pytest.fixture(scope="module")
def fitted(data: Path) -> LabelFitResult:
    """What ``fit`` says of them."""
    found = offshelf.fit(data, data.parent / "shapes.offshelf")
    assert isinstance(found, LabelFitResult)
    return found


@pytest.fixture(scope="module")
def model(fitted: LabelFitResult) -> Path:
    """The model file, which no test changes."""
    assert fitted.path is not None
    return fitted.path


def truth_of(data: Path, split: str = "test") -> pandas.DataFrame:
    table = pandas.read_csv(data, keep_default_na=False)
    return table[table["split"] == split].reset_index(drop=True)


def indicator(sets: list[set[str]]) -> np.ndarray:
    return np.array([[name in labels for name in NAMES] for labels in sets])


def test_fit_says_how_good_each_label_is(fitted: LabelFitResult) -> None:
    text = str(fitted)
    assert text.startswith("Per label\nlabel ")
    for name in ("mAP ", "F1 ", "exact ", "no label ", "labels ", "classifier  svm, C = 1; each"):
        assert f"\n{name}" in text
    assert fitted.model.classes == tuple(NAMES)
    assert fitted.evaluation.mean_average_precision > 0.9
    document = fitted.to_json()
    json.dumps(document, allow_nan=False)
    assert document["labels"] == NAMES
    assert (document["n_train"], document["n_test"], document["n_failed"]) == (42, 18, 0)
    assert len(document["decisions"]["thresholds"]) == 3
    frame = fitted.to_frame()
    assert list(frame["label"]) == NAMES
    assert frame["f1_low"].le(frame["f1"]).all()


def test_the_figures_are_those_of_scikit_learn_on_what_predict_says(
    fitted: LabelFitResult, model: Path, data: Path
) -> None:
    table = truth_of(data)
    paths = [str(data.parent / path) for path in table["path"]]
    answer = offshelf.predict(model, paths)
    truth = indicator([set(filter(None, text.split(";"))) for text in table["labels"]])
    present = indicator([set(row.labels or ()) for row in answer.predictions])
    scores = np.array([[row.scores[name] for name in NAMES] for row in answer.predictions])
    found = fitted.evaluation
    assert found.mean_average_precision == pytest.approx(average_precision_score(truth, scores))
    assert found.micro_f1 == pytest.approx(f1_score(truth, present, average="micro"))
    assert found.macro_f1 == pytest.approx(f1_score(truth, present, average="macro"))
    assert found.exact == pytest.approx((truth == present).all(axis=1).mean())


def test_evaluate_measures_the_same(fitted: LabelFitResult, model: Path, data: Path) -> None:
    found = offshelf.evaluate(model, data)
    assert found.evaluation.to_json() == fitted.evaluation.to_json()
    document = found.to_json()
    json.dumps(document, allow_nan=False)
    assert document["predictions"][0].keys() >= {"path", "labels", "probabilities", "true"}
    assert "Per label" in str(found)
    assert found.to_frame().equals(fitted.to_frame())


def test_predict_gives_all_labels_above_their_thresholds(model: Path, data: Path) -> None:
    answer = offshelf.predict(model, data.parent)
    head = load_model(model).head
    assert head.decisions is not None
    limits = dict(zip(head.classes, head.decisions.threshold_probabilities(), strict=True))
    for row in answer.predictions:
        assert row.label is None
        assert list(row.labels or ()) == [
            name for name, share in row.probabilities.items() if share >= limits[name]
        ]
        shares = list(row.probabilities.values())
        assert shares == sorted(shares, reverse=True)
    none = next(row for row in answer.predictions if row.labels == ())
    assert str(none).endswith(": none of the labels")
    assert (answer.n_ok, answer.n_failed) == (60, 0)
    text = str(answer)
    assert "(none)" in text
    assert "labels: those whose probability reaches their threshold" in text
    assert "(none): no label reaches its threshold" in text
    assert answer.n_none == sum(row.labels == () for row in answer.predictions) > 0


def test_predictions_become_files(model: Path, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.touch()
    paths = [str(data.parent / "000.png"), str(broken), str(data.parent / "001.png")]
    out = tmp_path / "labels.csv"
    answer = offshelf.predict(model, paths, out)
    frame = pandas.read_csv(out, keep_default_na=False)
    assert list(frame.columns) == [
        *("path", "status", "reason", "labels", "none"),
        *(f"probability:{name}" for name in NAMES),
        *(f"score:{name}" for name in NAMES),
    ]
    for row, cell, none in zip(answer.predictions, frame["labels"], frame["none"], strict=True):
        assert cell == "; ".join(row.labels or ())
        assert none == ("" if row.labels is None else "no" if row.labels else "yes")
    assert list(frame["status"]) == ["ok", "empty", "ok"]
    offshelf.predict(model, paths, tmp_path / "labels.parquet", columns="path,labels")
    written = pyarrow.parquet.read_table(tmp_path / "labels.parquet")
    assert written.column_names == ["path", "labels"]
    offshelf.predict(model, paths, tmp_path / "labels.json")
    document = json.loads((tmp_path / "labels.json").read_text())
    assert document["labels"] == NAMES
    assert document["n_none"] == sum(row.labels == () for row in answer.predictions)
    assert [one.get("labels") for one in document["predictions"]] == [
        None if row.labels is None else list(row.labels) for row in answer.predictions
    ]
    with pytest.raises(OffshelfError) as caught:
        offshelf.predict(model, paths, out, columns="label")
    assert str(caught.value) == (
        "no column 'label'; of a model of several labels they are path, status, reason, labels, "
        "none, probabilities, scores. Did you mean 'labels'?"
    )


def test_the_command_line_does_the_same(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Run(capsys, "fit", data, "--out", tmp_path / "m.offshelf", "--json")
    assert made.code == 0
    assert made.document["mean_average_precision"] > 0.9
    assert (tmp_path / "m.offshelf").read_bytes() == model.read_bytes()
    said = Run(capsys, "predict", model, data.parent / "000.png", "--csv")
    assert said.out.splitlines()[0].startswith("path,status,reason,labels,none,probability:circle")
    shown = Run(capsys, "show", model)
    for line in ("mAP ", "micro F1 ", "gives ", "thresholds "):
        assert f"\n{line}" in shown.out
    assert "label    to train  to test" in shown.out
    measured = Run(capsys, "evaluate", model, data, "--json")
    assert measured.document["n_test"] == 18


def test_a_model_in_python_speaks_as_scikit_learn_does(model: Path, data: Path) -> None:
    classifier = offshelf.load_model(model)
    table = truth_of(data)
    paths = [str(data.parent / path) for path in table["path"]]
    answer = offshelf.predict(model, paths).predictions
    given = classifier.predict(paths)
    assert given.shape == (18, 3)
    assert given.dtype == np.int64
    assert [set(classifier.classes_[row == 1]) for row in given] == [
        set(row.labels or ()) for row in answer
    ]
    shares = classifier.predict_proba(paths)
    assert shares[0] == pytest.approx([answer[0].probabilities[name] for name in NAMES])
    assert classifier.decision_function(paths).shape == (18, 3)
    sets = [text.split(";") if text else [] for text in table["labels"]]
    exact = classifier.score(paths, sets)
    assert exact == pytest.approx(classifier.score(paths, indicator(list(map(set, sets)))))
    assert "several labels of each image, or none" in repr(classifier)
    with pytest.raises(DataError, match="y: 18 lists of labels or a matrix 18 x 3 are needed"):
        classifier.score(paths, np.zeros((18, 2)))
    with pytest.raises(DataError, match="y: the model has no label 'moon'"):
        classifier.score(paths[:1], [["moon"]])


def test_what_takes_one_label_says_so(model: Path, data: Path, tmp_path: Path) -> None:
    line = (
        f"{data}: has several labels for each image (its column 'labels'), and this takes one; "
        "fit, evaluate and predict take several"
    )
    for call in (offshelf.compare, offshelf.curve, offshelf.audit):
        with pytest.raises(DataError) as caught:
            call(data)
        assert str(caught.value) == line
    with pytest.raises(ModelFileError) as refused:
        offshelf.explain(model, data.parent / "000.png")
    assert str(refused.value) == (
        f"{model}: gives several labels of each image, and this takes a model of one; predict, "
        "evaluate and show take it"
    )
    with pytest.raises(DataError) as caught:
        offshelf.predict(model, data.parent, sort_into=tmp_path / "sorted")
    assert str(caught.value) == (
        f"{model}: gives several labels of each image, and --sort-into puts an image into one "
        "folder; --out FILE.csv lists the labels"
    )
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"head": "knn"}, "head 'knn' gives one label; for several: svm, logistic, ridge"),
        (
            {"reject": 0.05},
            "rejecting images is for one label of each; of several labels, an image of none of "
            "them has no label: leave --reject out",
        ),
        (
            {"calibrate": "none"},
            "several labels need probabilities, a sigmoid for each: leave --calibrate out",
        ),
    ],
)
def test_options_of_one_label_are_refused(data: Path, options: dict, line: str) -> None:
    with pytest.raises(HeadError) as caught:
        offshelf.fit(data, **options)
    assert str(caught.value) == line


def test_what_decides_on_one_label_is_refused(data: Path, tmp_path: Path) -> None:
    for name, given in (("costs", tmp_path / "costs.csv"), ("thresholds", {"circle": 0.3})):
        with pytest.raises(HeadError) as caught:
            offshelf.fit(data, **{name: given})
        assert str(caught.value) == (
            f"--{name} decides on one label of each image; each of several has the threshold of "
            f"its best F1: leave --{name} out"
        )


def test_files_of_one_label_are_refused(data: Path, model: Path, tmp_path: Path) -> None:
    decided = tmp_path / "c.csv"
    decided.write_text("path,hash,decision\n")
    with pytest.raises(DataError) as caught:
        offshelf.fit(data, corrections=decided)
    assert str(caught.value) == (
        f"{decided}: corrections are about one label of each image, and {data} has several; "
        "correct its column 'labels'"
    )
    for option, what in (("errors", "e.csv"), ("errors_page", "e.html")):
        for call in (
            lambda **given: offshelf.fit(data, **given),
            lambda **given: offshelf.evaluate(model, data, **given),
        ):
            with pytest.raises(OffshelfError) as refused:
                call(**{option: tmp_path / what})
            assert str(refused.value) == (
                f"--{option.replace('_', '-')} lists images with another label than their own; of "
                "several labels, 'offshelf evaluate MODEL DATA --json' has those of each image"
            )
    with pytest.raises(OffshelfError) as refused:
        offshelf.evaluate(model, data, reliability=tmp_path / "r.png")
    assert str(refused.value) == (
        "--reliability draws the probabilities of one label of each image, and the model gives "
        "several"
    )


def test_evaluate_says_what_its_data_lacks(
    model: Path, data: Path, tmp_path: Path, scenes: Path
) -> None:
    with pytest.raises(DataError, match="is no table; several labels for each image are read"):
        offshelf.evaluate(model, scenes)
    shutil.copy(data.parent / "000.png", tmp_path)
    file = tmp_path / "other.csv"
    for text, line in (
        (
            "path,labels\n000.png,circle;moon\n",
            "1 label that the model does not know: 'moon'; its "
            "labels are 'circle', 'square', 'stripes'.",
        ),
        (
            "path,labels\n000.png,\n",
            "none of its images has a label, so nothing can be measured; "
            f"'offshelf predict {file}' labels them",
        ),
    ):
        file.write_text(text)
        with pytest.raises(DataError) as caught:
            offshelf.evaluate(model, file, split="all")
        assert str(caught.value).startswith(f"{file}: {line}")


def test_groups_stay_on_one_side_and_are_drawn_as_one(data: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()[1:]
    rows = [line.rsplit(",", 1)[0] for line in lines]
    file = data.parent / "grouped.csv"
    given = (f"{row},film{place // 4}" for place, row in enumerate(rows))
    file.write_text("\n".join(["path,labels,group", *given, ""]))
    found = offshelf.fit(file)
    assert isinstance(found, LabelFitResult)
    groups = np.array(found.table.groups)
    train, test = found.table.rows("train"), found.table.rows("test")
    assert not set(groups[train]) & set(groups[test])
    assert found.to_json()["groups"] == {"n": 15, "in_both_splits": 0}


def test_a_model_file_that_was_tampered_with_is_refused(model: Path, tmp_path: Path) -> None:
    for change, line in (
        (lambda m: m["head"]["labels"].pop("slopes"), "other fields than those of thresholds"),
        (lambda m: m["head"]["labels"].update(thresholds=[1]), "thresholds are not 3 numbers"),
        (lambda m: m["head"].update(labels=7), "other fields than those of thresholds"),
    ):
        path = tampered(shutil.copy(model, tmp_path / "bad.offshelf"), change)
        with pytest.raises(ModelFileError) as caught:
            load_model(path)
        assert str(caught.value) == (
            f"{path}: its contents: head has damaged decisions on labels: {line}"
        )
    path = tampered(
        shutil.copy(model, tmp_path / "bad.offshelf"),
        lambda m: m["samples"][0].update(label="circle; moon"),
    )
    with pytest.raises(ModelFileError, match="a test image is of none of its classes"):
        load_model(path)


def test_a_second_run_takes_what_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = offshelf.fit(data, C="auto", head="ridge")

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("offshelf.jobs.multilabel.label_fit.fit_label_head", never)
    again = offshelf.fit(data, C="auto", head="ridge")
    assert again.evaluation.to_json() == first.evaluation.to_json()
    assert "by cross-validation" in str(again)
