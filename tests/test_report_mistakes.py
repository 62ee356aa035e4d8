"""Which images were wrong: the list on the terminal, the CSV file, the confusion matrix."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_run import Run
from offshelf.errors import OffshelfError
from offshelf.measurement.metrics import Evaluation, evaluate
from offshelf.prediction import Prediction
from offshelf.report.mistakes import (
    Mistake,
    check_mistakes_file,
    mistake_blocks,
    mistakes_among,
    write_mistakes,
)
from offshelf.report.result import blocks_text
from offshelf.report.summary import classes_blocks
from offshelf.report.tables.confusion_matrix import confusion_matrix, short_names_of
from offshelf.report.tables.result_rows import Table
from offshelf.report.tables.table_formats import render


@pytest.fixture(scope="module")
def mislabelled(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set with two test images in the folder of another class."""
    data = tmp_path_factory.mktemp("mislabelled") / "data"
    shutil.copytree(scenes, data)
    shutil.move(data / "test" / "noise" / "0.png", data / "test" / "checks" / "noise a.png")
    shutil.move(data / "test" / "stripes" / "1.png", data / "test" / "checks" / "=stripes.png")
    return data


def predicted(path: str, label: str, other: str, share: float | None) -> Prediction:
    scores = {label: 1.0, other: -0.5}
    shares = {} if share is None else {label: share, other: 1 - share}
    return Prediction(
        path=path, status="ok", reason="", label=label, scores=scores, probabilities=shares
    )


def made(n: int, share: float | None = 0.5) -> tuple[Mistake, ...]:
    rows = [predicted(f"{number}.png", "cat", "dog", share) for number in range(n)]
    return mistakes_among(rows, ["dog"] * n)


def texts(mistakes: tuple[Mistake, ...], n: int) -> list[str]:
    blocks = mistake_blocks(mistakes, n)
    return [render(block) if isinstance(block, Table) else block for block in blocks]


def test_fit_and_evaluate_list_the_same_images(
    mislabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, one, two = (tmp_path / name for name in ("m.offshelf", "fit.csv", "evaluate.csv"))
    fitted = Run(capsys, "fit", mislabelled, "--out", model, "--errors", one, "--quiet")
    checked = Run(capsys, "evaluate", model, mislabelled, "--errors", two, "--quiet")
    assert fitted.code == checked.code == 0
    for found, path in ((fitted, one), (checked, two)):
        assert "Wrong: 2 of 12 images, the surest first\n" in found.out
        assert f"2 wrong images listed in {path}\n" in found.out
        assert "more; --errors" not in found.out
    assert one.read_bytes() == two.read_bytes()
    rows = list(csv.DictReader(one.open()))
    assert {(Path(row["path"]).name, row["true"], row["predicted"]) for row in rows} == {
        ("noise a.png", "checks", "noise"),
        ("=stripes.png", "checks", "stripes"),
    }
    assert all(0 <= float(row["probability_of_true"]) < float(row["probability"]) for row in rows)
    assert all(float(row["margin"]) > 0 for row in rows)
    document = Run(capsys, "fit", mislabelled, "--errors", one, "--json", "--quiet").document
    assert [row["path"] for row in document["mistakes"]] == [row["path"] for row in rows]


def test_without_a_mistake_nothing_is_listed(
    scenes: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.csv"
    run = Run(capsys, "evaluate", model, scenes, "--errors", file, "--quiet")
    assert "Wrong" not in run.out
    assert run.out.endswith(f"0 wrong images listed in {file}\n")
    assert file.read_text() == "path,true,predicted,probability,probability_of_true,margin\n"


def test_the_first_ten_are_shown_and_the_rest_counted() -> None:
    table, more, blank = texts(made(1011), 2000)
    assert table.startswith("Wrong: 1,011 of 2,000 images, the surest first\n")
    assert len(table.splitlines()) == 13
    assert (more, blank) == ("1,001 more; --errors FILE.csv lists them all", "")


def test_a_single_mistake_has_no_order() -> None:
    assert texts(made(1), 1)[0].splitlines() == [
        "Wrong: 1 of 1 image",
        "image  true  predicted  probability",
        "-----  ----  ---------  -----------",
        "0.png  dog   cat            50.00 %",
    ]


def test_the_surest_are_first() -> None:
    rows = [predicted(name, "cat", "dog", share) for name, share in (("a", 0.6), ("b", 0.9))]
    assert [one.path for one in mistakes_among(rows, ["dog", "dog"])] == ["b", "a"]
    unsure = [predicted(name, "cat", "dog", None) for name in "ab"]
    unsure[1].scores["dog"] = -3.0
    assert [one.path for one in mistakes_among(unsure, ["dog", "dog"])] == ["b", "a"]


def test_without_probabilities_there_is_no_such_column(tmp_path: Path) -> None:
    mistakes = made(1, share=None)
    assert "probability" not in texts(mistakes, 1)[0]
    written = write_mistakes(mistakes, tmp_path / "wrong.csv").read_text()
    assert written.splitlines()[1] == "0.png,dog,cat,,,1.5"


def test_images_that_cannot_be_used_are_no_mistakes() -> None:
    row = Prediction(path="a.png", status="empty", reason="no bytes", label=None, scores={})
    assert mistakes_among([row], ["dog"]) == ()


@pytest.mark.parametrize("name", ["a\nb.png", "a\x1b[31m.png", "caf\udce9.png", 'a,"b".png'])
def test_any_file_name_can_be_listed(tmp_path: Path, name: str) -> None:
    mistakes = mistakes_among([predicted(name, "cat", "dog", 0.5)], ["dog"])
    table = texts(mistakes, 1)[0]
    assert len(table.splitlines()) == 4
    assert "\x1b" not in table
    file = write_mistakes(mistakes, tmp_path / "wrong.csv")
    with file.open(newline="", encoding="utf-8") as handle:
        assert len(list(csv.DictReader(handle))) == 1


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    table.write_text("path,label\na.png,cat\n")
    with pytest.raises(OffshelfError) as error:
        check_mistakes_file(table)
    assert str(error.value) == (
        f"{table}: exists and is no list of wrong images, so it is not replaced; choose another "
        "name"
    )
    again = write_mistakes(made(3), tmp_path / "wrong.csv")
    assert len(write_mistakes(made(1), again).read_text().splitlines()) == 2


def test_a_list_that_cannot_be_written_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], scenes: Path
) -> None:
    for command in (("fit", scenes), ("evaluate", "none.offshelf", scenes)):
        run = Run(capsys, *command, "--errors", "wrong.txt")
        assert (run.code, run.out) == (2, "")
        assert run.err == "error: wrong.txt: a list of wrong images ends in .csv\n"


def measured(k: int, n: int = 0) -> Evaluation:
    """Of k classes, of which the first n have images, each taken for the next."""
    targets = np.arange(n or k)
    return evaluate(targets, (targets + 1) % (n or k), [f"{c:02d} class" for c in range(k)])


def test_the_matrix_of_twenty_classes_is_shown_and_of_more_the_ten_worst() -> None:
    table = confusion_matrix(measured(20))
    assert table is not None
    assert (len(table.rows), len(table.columns)) == (20, 22)
    assert confusion_matrix(measured(21)) is None
    assert blocks_text(classes_blocks(measured(21))).count("100.00 %") == 10
    assert "Confusion:" not in blocks_text(classes_blocks(measured(21)))
    assert blocks_text(classes_blocks(measured(20))).count("100.00 %") == 5


def test_classes_that_play_no_part_are_not_in_the_matrix() -> None:
    table = confusion_matrix(measured(40, 5))
    assert table is not None
    assert [row[0] for row in table.rows] == [f"{c:02d} class" for c in range(5)]


def test_rows_are_true_and_columns_predicted() -> None:
    evaluation = evaluate(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), ["coast", "street"])
    table = confusion_matrix(evaluation)
    assert table is not None
    assert table.rows == (("coast", "coa", 1, 2), ("street", "str", None, 1))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        (["a", "ab", "abc"], ["a", "ab", "abc"]),
        (["living room", "living area"], ["#1", "#2"]),
        (["ab", "ab c", "#3"], ["#1", "#2", "#3"]),
        (["x\n1", "x\n2"], ["x\\n1", "x\\n2"]),
        (["#2", "class 1", "class 2"], ["#1", "#2", "#3"]),
    ],
)
def test_short_names_are_never_alike(names: list[str], short: list[str]) -> None:
    assert short_names_of(names) == short
    assert len(set(short)) == len(short)
