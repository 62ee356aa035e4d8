"""Splits in files: what is written is read back, and what does not fit is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from offshelf import files
from offshelf.data.tables.image_table import ImageTable
from offshelf.measurement.splits.protocol import Fold, repeats
from offshelf.measurement.splits.split_file import Splits, read_splits, write_splits
from refusals import refused

PATHS = tuple(f"/d/{label}/{n}.png" for label in "xy" for n in range(4))
TABLE = ImageTable(PATHS, tuple("xxxxyyyy"), ("train",) * 8, ("x", "y"), ())
SPLITS = Splits(repeats(TABLE, 2, 3), {"kind": "repeats", "n": 2, "seed": 0})
ENDINGS = (".json", ".csv")


def same(found: Splits, expected: Splits) -> bool:
    return len(found.folds) == len(expected.folds) and all(
        np.array_equal(one.train, other.train) and np.array_equal(one.test, other.test)
        for one, other in zip(found.folds, expected.folds, strict=True)
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_splits_are_read_as_they_were_written(tmp_path, ending):
    file = tmp_path / f"splits{ending}"
    write_splits(file, TABLE, SPLITS)
    found = read_splits(file, TABLE)
    assert same(found, SPLITS)
    assert found.protocol == (SPLITS.protocol if ending == ".json" else {})
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_that_take_no_part_stay_out(tmp_path, ending):
    splits = Splits((Fold(np.array([0, 4]), np.array([1, 5])),))
    write_splits(tmp_path / f"s{ending}", TABLE, splits)
    assert same(read_splits(tmp_path / f"s{ending}", TABLE), splits)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_data_may_lie_elsewhere_and_in_another_order(tmp_path, ending):
    file = tmp_path / f"splits{ending}"
    write_splits(file, TABLE, SPLITS)
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    other = ImageTable(
        tuple(PATHS[i].replace("/d/", "/media/e/") for i in order),
        tuple(TABLE.labels[i] for i in order),
        TABLE.splits,
        TABLE.classes,
        (),
    )
    for one, expected in zip(read_splits(file, other).folds, SPLITS.folds, strict=True):
        for side in ("train", "test"):
            assert {order[row] for row in getattr(one, side)} == set(getattr(expected, side))


def test_contents_that_a_file_of_an_earlier_version_names_do_not_matter(tmp_path):
    write_splits(tmp_path / "s.json", TABLE, SPLITS)
    document = json.loads((tmp_path / "s.json").read_text())
    for image in document["images"]:
        image["sha256"] = "0" * 64
    (tmp_path / "s.json").write_text(json.dumps(document))
    assert same(read_splits(tmp_path / "s.json", TABLE), SPLITS)
    lines = [
        f"{path[3:]},{'0' * 64},{'train' if n % 4 else 'test'}" for n, path in enumerate(PATHS)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["path,sha256,fold_1", *lines, ""]))
    assert read_splits(tmp_path / "s.csv", TABLE).folds[0].test.tolist() == [0, 4]


@pytest.mark.parametrize("ending", ENDINGS)
def test_odd_names_survive(tmp_path, ending):
    names = ("/d/a, b.png", '/d/"c".png', "/d/line\nbreak.png", "/d/\udce9t\u00e9.png")
    table = ImageTable(names, ("x", "x", "y", "y"), ("train",) * 4, ("x", "y"), ())
    splits = Splits(repeats(table, 1, 2))
    write_splits(tmp_path / f"s{ending}", table, splits)
    assert same(read_splits(tmp_path / f"s{ending}", table), splits)


def test_an_image_that_is_listed_twice_keeps_both_rows(tmp_path):
    table = ImageTable(("/d/a", "/d/a", "/d/b"), tuple("xyy"), ("train",) * 3, ("x", "y"), ())
    splits = Splits((Fold(np.array([0, 2]), np.array([1])),))
    write_splits(tmp_path / "s.json", table, splits)
    assert same(read_splits(tmp_path / "s.json", table), splits)


def test_a_person_may_write_a_csv_file(tmp_path):
    root = tmp_path / "images"
    table = dataclasses.replace(TABLE, paths=tuple(str(root / p[3:]) for p in PATHS))
    lines = [f"images/{p[3:]};{'train' if n % 4 else ' Test'};" for n, p in enumerate(PATHS)]
    file = tmp_path / "mine.csv"
    file.write_text("\ufeffPath;Fold;fold 2\n" + "\n".join(lines).replace(";;", ";") + "\n")
    text = file.read_text().replace("train;", "train;test").replace("Test;", "Test;train")
    file.write_text(text)
    found = read_splits(file, table)
    assert found.folds[0].test.tolist() == found.folds[1].train.tolist() == [0, 4]
    assert found.folds[0].train.tolist() == [1, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_other_images_is_refused(tmp_path, ending):
    file = tmp_path / f"s{ending}"
    write_splits(file, TABLE, SPLITS)
    more = ImageTable((*PATHS, "/d/z/9.png"), (*TABLE.labels, "y"), ("train",) * 9, ("x", "y"), ())
    assert refused(lambda: read_splits(file, more)) == (
        f"{file}: 1 image of the data is not in the splits: '/d/z/9.png'; "
        "use the data the splits were made from"
    )
    fewer = ImageTable(PATHS[:-2], TABLE.labels[:-2], ("train",) * 6, ("x", "y"), ())
    assert refused(lambda: read_splits(file, fewer)) == (
        f"{file}: 2 images of the splits are not in the data: 'y/2.png', 'y/3.png'; "
        "use the data the splits were made from"
    )
    relabelled = dataclasses.replace(TABLE, labels=("y", *TABLE.labels[1:]))
    assert refused(lambda: read_splits(file, relabelled)) == (
        f"{file}: 'x/0.png' is of class 'x' there and 'y' here: "
        "use the data the splits were made from"
    )


def entry(**changes: object) -> dict[str, object]:
    return {"path": "x/0.png", "label": "x", "folds": ["train"]} | changes


def document(*images: object, **changes: object) -> str:
    head = {"format": "offshelf splits", "version": 1, "protocol": {}, "images": list(images)}
    return json.dumps(head | changes)


DAMAGED = {
    "[": "is not valid JSON",
    "[" * 100_000: "is not valid JSON",
    "[]": "is not a file of splits",
    "{}": "is not a file of splits",
    document(version=2): "splits of version 2, this program reads version 1",
    document(): "damaged: no list of images",
    document(images=3): "damaged: no list of images",
    document(entry(), protocol=[]): "damaged: no list of images",
    document(entry(), 7): "damaged: image 2 is not what it should be",
    document(entry(path=3)): "damaged: image 1 is not what it should be",
    document(entry(folds="train")): "damaged: image 1 is not what it should be",
    document(entry(path="")): "image 1 has no path",
    document(entry(folds=["both"])): "image 1 is 'both' in a fold; use train, test or nothing",
    document(entry(folds=[["train"]])): (
        "image 1 is '['train']' in a fold; use train, test or nothing"
    ),
    document(entry(folds=[])): "damaged: its images do not have the same folds",
    document(entry(), entry(folds=["test"] * 2)): "damaged: its images do not have the same folds",
}


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:60])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "s.json"
    file.write_text(text)
    assert refused(lambda: read_splits(file, TABLE)) == f"{file}: {DAMAGED[text]}"


def test_a_csv_file_without_its_columns_is_refused(tmp_path):
    file = tmp_path / "s.csv"
    needs = (
        f"{file}: splits need a column 'path', columns 'fold_1', 'fold_2', ... "
        "and a row per image; its columns are "
    )
    for text, columns in (
        ("image,fold_1\na,train\n", "'image', 'fold_1'"),
        ("path,split\na,train\n", "'path', 'split'"),
        ("path,fold_1\n", "'path', 'fold_1'"),
    ):
        file.write_text(text)
        assert refused(lambda: read_splits(file, TABLE)) == needs + columns
    file.write_text("path,fold_1\n" + "".join(f"{p[3:]},train\n" for p in PATHS))
    assert refused(lambda: read_splits(file, TABLE)) == f"{file}: fold 1 has no test images"


def test_what_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "s.json"
    assert refused(lambda: write_splits(tmp_path / "s.txt", TABLE, SPLITS)) == (
        f"{tmp_path / 's.txt'}: splits are a .json or a .csv file"
    )
    assert refused(lambda: write_splits(file, TABLE, Splits(()))) == (
        "no splits to write: there are no folds"
    )
    assert refused(lambda: write_splits(file, TABLE, Splits((Fold([0], [8]),)))) == (
        "these folds belong to another table: row 8, but there are 8 images"
    )
    assert not list(tmp_path.iterdir())
    assert refused(lambda: read_splits(file, TABLE)) == (
        f"{file}: cannot be read: No such file or directory"
    )


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "s.json"
    write_splits(file, TABLE, SPLITS)
    before = file.read_bytes()

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_splits(file, TABLE, Splits(SPLITS.folds[:1]))
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
