"""Tables as other programs leave them: splits by another name, headers and cells too many."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from offshelf.data.tables.image_table import read_labelled, read_table
from offshelf.errors import DataError

NAMES = [f"{number}.png" for number in range(8)]
LABELS = ["a", "b"] * 4


def table(folder: Path, text: str) -> Path:
    for name in NAMES:
        (folder / name).write_bytes(b"x")
    file = folder / "list.csv"
    file.write_text(text, encoding="utf-8")
    return file


def with_column(folder: Path, name: str, cells: list[str]) -> Path:
    rows = zip(NAMES, LABELS, cells, strict=True)
    lines = "".join(f"{path},{label},{cell}\n" for path, label, cell in rows)
    return table(folder, f"path,label,{name}\n{lines}")


@pytest.mark.parametrize("name", ["subset", "set", "Usage", "data set", "phase"])
@pytest.mark.parametrize("test", ["test", " Test ", "val", "evaluation"])
def test_splits_by_another_name_are_taken_and_said(tmp_path: Path, name: str, test: str) -> None:
    file = with_column(tmp_path, name, ["train"] * 5 + [test] * 3)
    for found in (read_table(file), read_labelled(file)):
        tested = {Path(found.paths[row]).name for row in found.rows("test")}
        assert tested == {"5.png", "6.png", "7.png"}
        assert found.warnings == (f"{file}: the splits are those of its column '{name}'",)


@pytest.mark.parametrize("dictionary", [False, True])
def test_splits_by_another_name_in_parquet(tmp_path: Path, dictionary: bool) -> None:
    table(tmp_path, "")
    words = pyarrow.array(["train"] * 4 + ["test"] * 4)
    columns = {
        "path": NAMES,
        "label": LABELS,
        "caption": [None] * 8,
        "subset": words.dictionary_encode() if dictionary else words,
    }
    file = tmp_path / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    found = read_table(file)
    assert found.splits == ("train",) * 4 + ("test",) * 4
    assert found.warnings == (f"{file}: the splits are those of its column 'subset'",)


@pytest.mark.parametrize(
    "cells",
    [
        ["train"] * 8,
        ["test", "val"] * 4,
        ["train"] * 4 + ["test"] * 3 + ["bus"],
        ["train"] * 4 + ["test"] * 3 + [""],
    ],
)
def test_other_words_are_no_splits(tmp_path: Path, cells: list[str]) -> None:
    file = with_column(tmp_path, "vehicle", cells)
    assert read_table(file).warnings == ()
    assert set(read_labelled(file).splits) == {"test"}


def test_two_columns_of_splits_are_asked_about(tmp_path: Path) -> None:
    cells = ["train,train"] * 4 + ["train,test"] * 2 + ["test,test"] * 2
    file = with_column(tmp_path, "first,second", cells)
    with pytest.raises(DataError) as caught:
        read_table(file)
    assert str(caught.value) == (
        f"{file}: its columns 'first', 'second' all hold splits; call the right one split"
    )


@pytest.mark.parametrize("name", ["is_train", "test", "is_training_image"])
def test_a_column_that_may_be_splits_is_said(tmp_path: Path, name: str) -> None:
    file = with_column(tmp_path, name, ["1", "0"] * 4)
    assert read_table(file).warnings == (
        f"{file}: its column '{name}' is not used; for given splits, write train and test into a "
        "column split",
    )


def test_a_column_split_goes_first(tmp_path: Path) -> None:
    file = with_column(tmp_path, "split,subset", ["train,test"] * 4 + ["test,train"] * 4)
    found = read_table(file)
    assert {Path(found.paths[row]).name for row in found.rows("test")} == set(NAMES[4:])
    assert found.warnings == ()


def test_headers_between_the_rows_are_left_out(tmp_path: Path) -> None:
    half = "path,label\n" + "".join(f"{n},{c}\n" for n, c in zip(NAMES, LABELS, strict=True))
    file = table(tmp_path, half + "path,label\n0.png,a\npath,label\n")
    found = read_table(file)
    assert (found.classes, len(found)) == (("a", "b"), 8)
    assert found.warnings == (
        f"{file}: 2 repeated headers left out",
        f"{file}: 1 repeated row left out",
    )


def test_blank_cells_behind_the_last_column_are_none(tmp_path: Path) -> None:
    rows = "".join(f"{n},{c},, \n" for n, c in zip(NAMES, LABELS, strict=True))
    found = read_table(table(tmp_path, "path,label\n" + rows))
    assert (found.classes, len(found), found.warnings) == (("a", "b"), 8, ())


def test_labels_that_often_mean_none_are_said(tmp_path: Path) -> None:
    file = with_column(tmp_path, "size", ["1"] * 8)
    file.write_text(file.read_text().replace(",b,", ",NaN,"), encoding="utf-8")
    found = read_table(file)
    assert found.classes == ("NaN", "a")
    assert found.warnings == (
        f"{file}: taken as classes although they often mean a missing label: 'NaN'",
    )


def test_the_home_folder_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = "".join(f"~/{n},{c}\n" for n, c in zip(NAMES, LABELS, strict=True))
    (tmp_path / "lists").mkdir()
    file = table(tmp_path, "").rename(tmp_path / "lists" / "list.csv")
    file.write_text("path,label\n" + rows, encoding="utf-8")
    assert set(read_table(file).paths) == {str(tmp_path / name) for name in NAMES}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("https://x.org/{}.png", "its paths are addresses, the first is 'https://x.org/0.png'; download the images, and give the paths of their files"),
        ("{}", "none of its 8 images exists; paths are relative to the folder of the file, the first is '{}/0'; '0.png' exists: write paths with their endings"),
    ],
)  # fmt: skip
def test_paths_that_are_none(tmp_path: Path, path: str, text: str) -> None:
    rows = "".join(f"{path.format(i)},{c}\n" for i, c in enumerate(LABELS))
    file = table(tmp_path, "path,label\n" + rows)
    with pytest.raises(DataError) as caught:
        read_table(file)
    assert str(caught.value) == f"{file}: {text.format(tmp_path)}"
