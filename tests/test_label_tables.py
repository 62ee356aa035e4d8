"""Tables with several labels for each image: reading, splitting, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from offshelf.data.tables.image_table import ImageTable, read_labelled, read_table
from offshelf.data.tables.label_stratification import label_split, stratified_sides
from offshelf.data.tables.label_table import (
    has_label_sets,
    read_label_sets,
    read_label_table,
    split_by_labels,
)
from refusals import refused


def table_file(folder: Path, rows: list[str], header: str = "path,labels,split") -> Path:
    """A CSV of images, which are made beside it."""
    for row in rows:
        Image.new("RGB", (8, 8)).save(folder / row.split(",")[0])
    file = folder / "labels.csv"
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return file


GIVEN = [
    "a.png,sea;beach,train",
    "b.png,beach | wood,train",
    "c.png,,train",
    "d.png, wood ; sea ;; wood,test",
]


def sets_of(table: ImageTable) -> dict[str, tuple[str, ...]]:
    names = [Path(path).name for path in table.paths]
    return dict(zip(names, table.label_sets, strict=True))


def test_a_cell_holds_several_labels_or_none(tmp_path: Path) -> None:
    table = read_label_table(table_file(tmp_path, GIVEN))
    assert sets_of(table) == {
        "a.png": ("beach", "sea"),
        "b.png": ("beach", "wood"),
        "c.png": (),
        "d.png": ("sea", "wood"),
    }
    assert table.classes == ("beach", "sea", "wood")
    assert table.labels == ("", "beach; sea", "beach; wood", "sea; wood")
    assert table.splits == ("train", "train", "train", "test")
    assert not table.split_made
    assert table.membership().tolist() == [
        [False, False, False],
        [True, True, False],
        [True, False, True],
        [False, True, True],
    ]
    assert table.warnings == (
        f"{tmp_path / 'labels.csv'}: learned but never tested, only in train: 'beach'",
    )


def test_where_one_label_is_wanted_it_is_the_first(tmp_path: Path) -> None:
    table = read_label_table(table_file(tmp_path, GIVEN))
    assert table.targets().tolist() == [-1, 0, 0, 1]
    assert table.counts(table.rows("train")).tolist() == [2, 1, 1]


def test_lists_of_parquet_are_labels_too(tmp_path: Path) -> None:
    table_file(tmp_path, GIVEN)
    file = tmp_path / "labels.parquet"
    columns = {
        "path": ["a.png", "b.png", "c.png", "d.png"],
        "labels": [["sea", "beach"], ["beach", "wood"], None, ["wood", None, "sea"]],
        "split": ["train", "train", "train", "test"],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    assert has_label_sets(file)
    assert sets_of(read_label_table(file)) == sets_of(read_label_table(tmp_path / "labels.csv"))
    columns["labels"] = ["sea; beach", "beach; wood", None, "sea|wood"]  # type: ignore[list-item]
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    assert sets_of(read_label_table(file)) == sets_of(read_label_table(tmp_path / "labels.csv"))
    columns["labels"] = [["sea;beach"], [], [], []]
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    assert refused(lambda: read_label_table(file)) == (
        f"{file}: its label 'sea;beach' holds ; or |, which separate labels; rename it"
    )
    columns["labels"] = [[["sea"]], [], [], []]  # type: ignore[list-item]
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    assert "not one text for each row" in refused(lambda: read_label_table(file))


def test_spellings_of_a_label_are_one(tmp_path: Path) -> None:
    rows = ["a.png,Sea;beach,train", "b.png,sea ;wood,train", "c.png,sea;SEA,test", "d.png,,train"]
    table = read_label_table(table_file(tmp_path, rows))
    assert table.classes in (("beach", "sea", "wood"), ("Sea", "beach", "wood"))
    assert len(sets_of(table)["c.png"]) == 1
    assert "one class, as the names differ only in case or spaces" in table.warnings[0]


def test_rows_of_one_image_are_taken_together(tmp_path: Path) -> None:
    rows = ["a.png,sea,train", "./a.png,beach,train", "b.png,wood,train", "c.png,sea,test"]
    rows += ["b.png,wood,test"]
    table = read_label_table(table_file(tmp_path, rows))
    assert sets_of(table)["a.png"] == ("beach", "sea")
    start = f"{tmp_path / 'labels.csv'}: "
    assert table.warnings[:2] == (
        f"{start}1 image stands in several rows, whose labels are taken together: './a.png'",
        f"{start}images both in train and in test (figures too high): 'b.png'",
    )


def test_commas_do_not_separate_labels(tmp_path: Path) -> None:
    rows = ['a.png,"sea, beach",train', "b.png,wood,train", "c.png,wood,test", "d.png,,train"]
    table = read_label_table(table_file(tmp_path, rows))
    assert table.warnings[0] == (
        f"{tmp_path / 'labels.csv'}: commas do not separate labels, ; and | do: 1 label has one, "
        "such as 'sea, beach'"
    )


def test_words_that_often_mean_nothing_are_said(tmp_path: Path) -> None:
    rows = ["a.png,sea;none,train", "b.png,,train", "c.png,sea;none,test"]
    table = read_label_table(table_file(tmp_path, rows))
    assert "often mean a missing label: 'none'" in table.warnings[0]


BOTH = (
    "has the columns 'label' and 'labels'; keep label for one label of each image, or labels for "
)
REFUSED = {
    "empty": (
        ["a.png,,train", "b.png,;,test"],
        "its column 'labels' is empty in every row; write the labels of each image there, with ; "
        "or | between the labels of an image",
    ),
    "one label": (
        ["a.png,sea,train", "b.png,,test"],
        "holds one label only, 'sea'; two or more are needed (for a yes or no, write it into a "
        "column 'label')",
    ),
    "only in test": (
        ["a.png,sea,train", "b.png,,train", "c.png,sea;wood,test"],
        "1 label is only in test, where none can be learned: 'wood'; add training images with it "
        "or leave it out",
    ),
    "in every training image": (
        ["a.png,sea;wood,train", "b.png,sea,train", "c.png,sea;wood,test"],
        "1 label stands in every training image, so what lacks it cannot be learned: 'sea'; add "
        "images without it or leave it out",
    ),
    "no test images": (
        ["a.png,sea;wood,train", "b.png,sea,train"],
        "no images to test with; it needs rows of the split 'test'",
    ),
    "no training images": (
        ["a.png,sea;wood,test", "b.png,sea,test"],
        "no images to train on; it needs rows of the split 'train'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learned_is_one_line(case: str, tmp_path: Path) -> None:
    rows, line = REFUSED[case]
    file = table_file(tmp_path, rows)
    assert refused(lambda: read_label_table(file)) == f"{file}: {line}"


def test_one_label_and_several_are_kept_apart(tmp_path: Path) -> None:
    file = table_file(tmp_path, GIVEN)
    line = (
        f"{file}: has several labels for each image (its column 'labels'), and this takes one; "
        "fit, evaluate and predict take several"
    )
    assert refused(lambda: read_table(file)) == line
    assert refused(lambda: read_labelled(file)) == line
    both = table_file(tmp_path, ["a.png,sea,sea;wood", "b.png,,"], "path,label,Labels")
    for read in (read_table, read_label_table):
        assert refused(lambda read=read: read(both)) == f"{both}: {BOTH}several"  # type: ignore[misc]
    single = table_file(tmp_path, ["a.png,sea", "b.png,wood"], "path,label")
    assert not has_label_sets(single)
    assert refused(lambda: read_label_sets(single)) == (
        f"{single}: has one label for each image (its column 'label'), and this takes several: a "
        "column 'labels', with ; or | between the labels of an image"
    )
    assert refused(lambda: read_label_sets(tmp_path)) == (
        f"{tmp_path}: is no table; several labels for each image are read from a .csv or .parquet "
        "file with the columns path and labels, with ; or | between the labels of an image"
    )


def made_sets(n: int, draw: np.random.Generator) -> np.ndarray:
    """Labels that stand together, of 4 to 50 per cent of the images."""
    shares = np.array([0.5, 0.3, 0.15, 0.08, 0.04])
    return (draw.random((n, 5)) < shares) | (draw.random((n, 1)) < 0.02)


def test_each_label_keeps_its_share_on_both_sides() -> None:
    membership = made_sets(400, np.random.default_rng(0))
    names = [f"{place:03}.png" for place in range(400)]
    tested = label_split(membership, names, test_size=0.25, seed=0)
    assert tested.sum() == 100
    wanted = membership.sum(axis=0) / 4
    assert np.abs(membership[tested].sum(axis=0) - wanted).max() <= 1
    order = np.random.default_rng(1).permutation(400)
    moved = label_split(membership[order], [names[k] for k in order], test_size=0.25, seed=0)
    assert (moved == tested[order]).all()
    assert (label_split(membership, names, test_size=0.25, seed=1) != tested).any()


def test_rare_labels_are_trained_on_first_and_then_tested() -> None:
    membership = np.zeros((40, 3), bool)
    membership[0, 0] = membership[1:3, 1] = membership[3:20, 2] = True
    for seed in range(20):
        names = list(map(str, range(40)))
        tested = label_split(membership, names, test_size=0.2, seed=seed)
        assert not membership[tested, 0].any()
        assert membership[tested, 1].sum() == 1
        assert 1 <= membership[tested, 2].sum() <= 6


def test_groups_stay_together_and_labels_stay_on_both_sides() -> None:
    draw = np.random.default_rng(2)
    membership, groups = made_sets(300, draw), [f"g{k // 5}" for k in range(300)]
    names = list(map(str, range(300)))
    tested = label_split(membership, names, test_size=0.3, seed=0, groups=groups)
    assert not set(np.array(groups)[tested]) & set(np.array(groups)[~tested])
    assert membership[tested].any(axis=0).all()
    assert membership[~tested].any(axis=0).all()
    assert abs(tested.mean() - 0.3) < 0.05


def test_folds_of_labels_are_even() -> None:
    membership = made_sets(500, np.random.default_rng(3))
    fold = stratified_sides(membership, np.arange(500), [0.2] * 5)
    each = np.array([membership[fold == k].sum(axis=0) for k in range(5)])
    assert np.abs(each - membership.sum(axis=0) / 5).max() <= 1.6
    assert (np.bincount(fold) >= 98).all()


def test_a_split_that_is_made_is_the_same_where_the_images_lie(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        rows = [f"{k}.png,{'sea' if k % 3 else 'wood;sea' if k % 2 else ''}" for k in range(24)]
        table = read_label_table(table_file(folder, rows, "path,labels"), test_size=0.25)
        assert table.split_made
        assert len(table.rows("test")) == 6
        found.append([Path(table.paths[row]).name for row in table.rows("test")])
        again = split_by_labels(table, test_size=0.25, seed=0)
        assert again == table
    assert found[0] == found[1]
