"""Files of predictions: columns, forms, digits, and what is never replaced."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_run import Run
from offshelf.errors import DataError, OffshelfError
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.heads.probabilities.rejection import Threshold
from offshelf.jobs.predict import PredictFiles, predict
from offshelf.jobs.predict_result import PredictResult
from offshelf.prediction import Prediction
from offshelf.report.tables.prediction_table import (
    check_out,
    chosen_columns,
    column_names,
    csv_text,
    prediction_table,
)

FIRST = ["path", "status", "reason", "label"]
OF_CLASS = [f"{what}:{name}" for what in ("score", "probability") for name in ("checks", "noise", "stripes")]  # fmt: skip  # noqa: E501
ALL = [*FIRST, "probability", "runner_up", "runner_up_probability", "unlike", *OF_CLASS]


@pytest.fixture(scope="module")
def photos(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images, one of them empty."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        shutil.copy(scenes / "test" / "noise" / f"{number}.png", folder)
    (folder / "empty.png").touch()
    return folder


@pytest.fixture(scope="module")
def result(model: Path, photos: Path) -> PredictResult:
    return predict(model, [photos])


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_the_label_the_runner_up_and_four_digits(result: PredictResult) -> None:
    rows = read(csv_text(result.table()))
    assert list(rows[0]) == ALL
    for row, expected in zip(rows, result.predictions, strict=True):
        if expected.label is None:
            assert (row["status"], row["runner_up"], row["probability"]) == ("empty", "", "")
            continue
        second = list(expected.scores)[1]
        assert (row["label"], row["runner_up"]) == (expected.label, second)
        assert float(row["probability"]) == round(expected.probabilities[expected.label], 4)
        assert float(row["runner_up_probability"]) == round(expected.probabilities[second], 4)
        assert float(row[f"score:{second}"]) == round(expected.scores[second], 4)


@pytest.mark.slow
def test_out_as_csv_parquet_and_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, photos: Path
) -> None:
    printed = Run(capsys, "predict", model, photos, "--csv").out
    out = tmp_path / "new" / "labels.csv"
    run = Run(capsys, "predict", model, photos, "--out", out, "--quiet")
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(
        "label  images\n-----  ------\nnoise       3\n\n"
        "images  3, 1 left out; all features from the store\n"
    )
    assert f"\nfile    {out} (4 rows)\nleft out: {photos}/empty.png: empty, " in run.out
    assert out.read_text() == printed
    document = Run(capsys, "predict", model, photos, "--json", "-o", tmp_path / "l.json").document
    kept = json.loads((tmp_path / "l.json").read_text())
    assert kept["out"] == document["out"] == str(tmp_path / "l.json")
    assert kept["predictions"] == document["predictions"]
    assert len(list(tmp_path.iterdir())) == 2
    Run(capsys, "predict", model, photos, "-o", tmp_path / "l.PQ")
    table = pq.read_table(tmp_path / "l.PQ")
    assert table.column_names == ALL
    rows = table.to_pylist()
    shares = {row["path"]: row["probabilities"] for row in document["predictions"]}
    assert [row["probability:noise"] for row in rows] == [
        shares[row["path"]].get("noise") for row in rows
    ]
    assert [row["label"] for row in rows].count(None) == 1


@pytest.mark.slow
def test_columns_are_chosen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, photos: Path
) -> None:
    words = ("predict", model, photos, "--columns", "label, probability:noise,scores,label")
    header = ["label", "probability:noise", *OF_CLASS[:3]]
    assert list(read(Run(capsys, *words, "--csv").out)[0]) == header
    for _ in range(2):
        run = Run(capsys, *words, "-o", tmp_path / "l.csv")
        assert run.code == 0
    assert f"note: {tmp_path}/l.csv: exists, and will be replaced\n" in run.err
    assert list(read((tmp_path / "l.csv").read_text())[0]) == header
    run = Run(capsys, *words[:4], "probabilty", "--csv")
    assert run.code == 2
    assert run.err == (
        "error: no column 'probabilty'; this model's are path, status, reason, label, probability, "
        "runner_up, runner_up_probability, unlike, scores, probabilities. Did you mean "
        "'probability'?\n"
    )
    run = Run(capsys, *words)
    text = "--columns: chooses those of --csv and of --out FILE; give one of them"
    assert run.err == f"error: {text}\n"


def test_columns_of_a_model(result: PredictResult) -> None:
    bare = chosen_columns((), ["a"], Certainty())
    assert bare == (*FIRST, "runner_up", "score:a")
    rejecting = Certainty(threshold=Threshold("probability", 0.5, 0.05, 20, 1))
    assert "unknown" in chosen_columns((), ["a"], rejecting)
    for name in ("unknown", "", "score:nobody"):
        with pytest.raises(OffshelfError, match=f"no column '{name}'; this model's are path, "):
            result.table([name])
    assert column_names('a, "score:b,c" ,a') == ("a", "score:b,c")
    assert column_names("a\n,b") == ("a", "b")
    assert column_names("") == ("",)
    assert len(result.table("label,path").columns) == 2


def test_a_row_of_one_class_and_of_none() -> None:
    one = Prediction(path="a\udce9,b", status="ok", reason="", label="x", scores={"x": 1.0})
    none = Prediction(path="c", status="empty", reason="d", label=None, scores={})
    columns = ("path", "label", "runner_up", "unknown", "score:x")
    assert csv_text(prediction_table([one, none], columns)) == (
        'path,label,runner_up,unknown,score:x\n"a\\xe9,b",x,,no,1.0\nc,,,,'
    )


KEPT = "{}: exists and is no file of predictions, so it is not replaced; choose another name"
REFUSED = [
    ("l.doc", "", "{}: the ending says the form: use .csv, .parquet or .json"),
    ("l", "", "{}: the ending says the form: use .csv, .parquet or .json"),
    ("l.csv", "path,label\n", KEPT),
    ("l.parquet", "PAR", KEPT),
    ("l.json", "[]", KEPT),
    ("new/l.csv", None, "{}: cannot be written ({root}/new is no folder)"),
]


@pytest.mark.parametrize(("name", "content", "text"), REFUSED)
def test_where_nothing_is_written(
    tmp_path: Path, name: str, content: str | None, text: str
) -> None:
    out = tmp_path / name
    (out.parent if content is None else out).write_text(content or "")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as caught:
        predict("no.offshelf", ["no.png"], written=PredictFiles(out=out))
    assert str(caught.value) == text.replace("{}", str(out)).replace("{root}", str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_neither_sources_nor_columns_of_json(tmp_path: Path, model: Path, photos: Path) -> None:
    table = tmp_path / "l.csv"
    table.write_text(f"path,status,reason,label\n{photos}/0.png,,,\n")
    with pytest.raises(DataError) as caught:
        predict(
            model,
            [photos, tmp_path / ".." / tmp_path.name / "l.csv"],
            written=PredictFiles(out=table),
        )
    assert str(caught.value) == (
        f"{table}: names the images, so it is not replaced; choose another name"
    )
    with pytest.raises(DataError) as caught:
        predict(model, [photos], written=PredictFiles(out="l.json", columns=("label",)))
    assert str(caught.value) == "l.json: JSON holds all there is; columns are for CSV and Parquet"


@pytest.mark.parametrize("columns", [("path", "label"), ("label", "scores")])
def test_all_columns_give_way_to_chosen_ones(tmp_path: Path, columns: tuple[str, ...]) -> None:
    out = tmp_path / "l.csv"
    out.write_text("path,status,reason,label,score:a\n")
    check_out(out, columns, ())
    out.write_text("path,price\n")
    with pytest.raises(DataError, match="exists and is no file of predictions"):
        check_out(out, columns, ())


def test_a_terminal_gets_the_first_rows_and_a_pipe_all(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    scenes: Path,
    model: Path,
) -> None:
    words = ("predict", model, scenes / "test")
    monkeypatch.setattr("offshelf.cli.commands.predict.MOST_ON_A_TERMINAL", 5)
    piped = Run(capsys, *words).out
    assert piped.count(".png ") == 12
    assert "more image" not in piped
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = Run(capsys, *words).out
    assert shown.count(".png ") == 5
    line = "and 7 more images: --out FILE.csv writes all, and a pipe such as '| less' shows all"
    assert shown.splitlines()[7] == line
    monkeypatch.setattr("offshelf.cli.commands.predict.MOST_ON_A_TERMINAL", 12)
    assert Run(capsys, *words).out == piped
    assert len(Run(capsys, *words, "--csv").out.splitlines()) == 13
