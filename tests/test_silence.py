"""What must not go unsaid: options given twice, files replaced, choices, classes not recognised."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from command_run import Run
from made_models import made_model
from offshelf.data.tables.image_table import list_images, read_table
from offshelf.heads.head import FittedHead
from offshelf.jobs.fit.fit_result import classifier_words
from offshelf.jobs.setup.labelled_features import table_of
from offshelf.jobs.setup.settings import RunSettings
from offshelf.measurement.metrics import evaluate
from offshelf.model_file.model import Model
from offshelf.report.imbalance import accuracy_facts

TWICE = [
    ("fit d -l pool5 -l fc6", "-l/--layer: given as 'pool5' and as 'fc6', but it takes one; 'offshelf compare' measures several; "),
    ("fit d --C 1 --C auto", "--C: given as '1.0' and as 'auto', but it takes one; 'offshelf compare' measures several; "),
    ("fit d -b vgg16 --backbone=vgg19", "-b/--backbone: given as 'vgg16' and as 'vgg19', but it takes one; "),
    ("compare d --layers a --layers b,c", "-l/--layers: given as 'a' and as 'b,c', but it takes one; "),
    ("fit d --seed 0 --seed 1", "--seed: given as '0' and as '1', but it takes one; "),
    ("predict m a.png -o a.csv --out b.csv", "-o/--out: given as 'a.csv' and as 'b.csv', but it takes one; "),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), TWICE)
def test_two_values_for_one(capsys: pytest.CaptureFixture[str], words: str, text: str) -> None:
    run = Run(capsys, *words.split())
    assert run.code == 2
    assert run.err.startswith(f"error: {text}")


def test_one_value_twice_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run = Run(capsys, "fit", "no/such", "-l", "penultimate", "--layer", "penultimate")
        assert run.err.startswith("error: no/such: no such file")
    assert Run(capsys, "extract", "no/such", "-l", "a", "-l", "b").err.startswith(
        "error: no/such: "
    )


def test_files_that_are_replaced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path
) -> None:
    model, rows = tmp_path / "m.offshelf", tmp_path / "f.parquet"
    assert "replaced" not in Run(capsys, "fit", scenes, "-o", model).err
    again = Run(capsys, "fit", scenes, "-o", model).err
    assert f"note: {model}: holds a model of 3 classes, accuracy " in again
    assert " %, and will be replaced\n" in again
    model.write_bytes(b"PK\x03\x04")
    assert (
        f"note: {model}: exists, and will be replaced\n"
        in Run(capsys, "fit", scenes, "-o", model).err
    )
    assert "replaced" not in Run(capsys, "extract", scenes, "-o", rows).err
    again = Run(capsys, "extract", scenes, "-o", rows).err
    assert f"note: {rows}: holds 30 rows of 'penultimate_avg', and will be replaced\n" in again
    rows.write_bytes(b"PAR1")
    assert (
        f"note: {rows}: exists, and will be replaced\n"
        in Run(capsys, "extract", scenes, "-o", rows).err
    )


def test_the_c_that_was_chosen(
    capsys: pytest.CaptureFixture[str], scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for head in ("svm", "ridge"):
        run = Run(capsys, "fit", scenes, "--C", "auto", "--head", head)
        assert f"\nclassifier  {head}, C = " in run.out
        assert " (the best of 7 from 0.01 to 100, by cross-validation)\n" in run.out
    monkeypatch.setattr("offshelf.jobs.fit.fit_result.is_end", lambda c: c > 0)
    said = Run(capsys, "fit", scenes, "--C", "auto").out
    assert (
        " (the best of 7 from 0.01 to 100, by cross-validation, the end of what is tried)\n" in said
    )
    weight = np.ones((2, 3), np.float32)
    arrays = {"weight": weight, "bias": np.ones(2, np.float32)}
    given = FittedHead("svm", ("a", "b"), arrays, {"C": 1.0}, "l2")
    assert list(classifier_words(given)) == ["svm", "C = 1"]


def facts(n: dict[str, int], recognised: dict[str, int], model: Model) -> list[tuple[str, str]]:
    true = np.repeat(np.arange(len(n)), list(n.values()))
    found = true.copy()
    for k, name in enumerate(n):
        wrong = np.flatnonzero(true == k)[recognised[name] :]
        found[wrong] = (k + 1) % len(n)
    return list(accuracy_facts(evaluate(true, found, list(n)), model))


def trained(**images: int) -> Model:
    classes = {name: {"train": count, "test": 1} for name, count in images.items()}
    return dataclasses.replace(made_model(), data={"classes": classes})


def test_a_class_that_is_not_recognised() -> None:
    said = facts({"ant": 3, "bee": 75}, {"ant": 0, "bee": 75}, trained(ant=4, bee=75))
    assert [name for name, _ in said] == ["balanced", "accuracy", "low recall"]
    assert said[0][1].startswith("50.00 %, the mean recall")
    assert said[2][1] == (
        "'ant' 0.00 % (trained on 4 images); 'fit --class-weight balanced' gives small classes "
        "more weight"
    )
    head = dataclasses.replace(made_model().head, parameters={"class_weight": "balanced"})
    balanced = dataclasses.replace(trained(ant=4, bee=75), head=head)
    for model, text in (
        (balanced, "'ant' 0.00 % (trained on 4 images)"),
        (trained(ant=75, bee=75), "'ant' 0.00 % (trained on 75 images)"),
        (dataclasses.replace(made_model(), data={"classes": [1]}), "'ant' 0.00 %"),
        (
            dataclasses.replace(made_model(), data={"classes": {"ant": {"train": "4"}}}),
            "'ant' 0.00 %",
        ),
    ):
        assert facts({"ant": 3, "bee": 75}, {"ant": 0, "bee": 75}, model)[2][1] == text
    many = {f"c{k}": 10 for k in range(20)}
    worst = {name: 0 if name in ("c1", "c2", "c3", "c4") else 10 for name in many}
    assert (
        facts(many, worst, made_model())[2][1] == "'c1' 0.00 %, 'c2' 0.00 %, 'c3' 0.00 % and 1 more"
    )


def test_classes_that_chance_explains() -> None:
    for n, found in (
        ({"ant": 10, "bee": 10}, {"ant": 8, "bee": 10}),
        ({"ant": 1, "bee": 3}, {"ant": 0, "bee": 3}),
    ):
        said = facts(n, found, trained(ant=1, bee=99))
        assert [name for name, _ in said] == ["accuracy", "balanced"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_of_groups_is_named(tmp_path: Path, kind: str) -> None:
    import pyarrow
    import pyarrow.parquet

    def table(**columns: list[str]) -> Path:
        if kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
            return tmp_path / "t.parquet"
        with (tmp_path / "t.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([columns, *zip(*columns.values(), strict=True)])
        return tmp_path / "t.csv"

    paths = [f"{number}.png" for number in range(8)]
    for path in paths:
        (tmp_path / path).write_bytes(b"x")
    labels, groups = ["a", "b"] * 4, ["p", "q", "r", "s"] * 2
    given = table(path=paths, label=labels, Patient=groups)
    assert table_of(given, RunSettings()).warnings == (
        f"{given}: its column 'Patient' is not used; --groups Patient keeps images of a group "
        "together in every split",
    )
    assert table_of(given, RunSettings(groups="patient")).warnings == (
        "groups: 4 groups of 8 images, kept together in every split",
    )
    assert list_images([given]).warnings == ()
    split = ["train"] * 4 + ["test"] * 4
    assert read_table(table(path=paths, label=labels, group=groups, split=split)).warnings == ()


@pytest.mark.parametrize(("name", "noted"), [("m.txt", True), ("m.OFFSHELF", False)])
def test_a_model_file_of_another_ending_is_noted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path, name: str, noted: bool
) -> None:
    place = tmp_path / name
    run = Run(capsys, "fit", scenes, "-o", place)
    line = (
        f"note: {place}: will be a model file; the usual ending, by which people know one, is "
        ".offshelf\n"
    )
    assert (line in run.err) is noted
    assert Run(capsys, "show", place).code == 0
