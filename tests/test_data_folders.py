"""Folders of images as people have them, and what is said about what is odd in them."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from offshelf.data.tables.image_table import ImageTable, read_labelled, read_table
from offshelf.errors import DataError


def put(folder: Path, *names: str) -> Path:
    """Make files; only the names matter to the table."""
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
    return folder


def split_folder(folder: Path, test: str = "test") -> Path:
    return put(folder, "train/a/1.png", "train/b/1.png", f"{test}/a/2.png", f"{test}/b/2.png")


def said(table: ImageTable, text: str) -> bool:
    return any(text in warning for warning in table.warnings)


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation", "Testing", "VAL"])
def test_given_split(tmp_path: Path, test: str) -> None:
    table = read_table(split_folder(tmp_path, test))
    assert table.classes == ("a", "b")
    assert table.splits == ("train", "train", "test", "test")
    assert table.labels == ("a", "b", "a", "b")
    assert table.paths[2] == str(tmp_path / test / "a" / "2.png")
    assert table.warnings == ()
    assert table.rows("test").tolist() == [2, 3]
    assert table.targets().tolist() == [0, 1, 0, 1]


def test_test_wins_over_val(tmp_path: Path) -> None:
    put(split_folder(tmp_path), "val/a/3.png")
    table = read_table(tmp_path)
    assert len(table) == 4
    assert table.warnings == (f"{tmp_path}: test/ is the test split; val/ is left out",)


def test_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    put(split_folder(tmp_path), "photos/x.png")
    assert read_table(tmp_path).warnings == (
        f"{tmp_path}: folders beside the splits are left out: 'photos'",
    )


def test_class_folders_are_split(tmp_path: Path) -> None:
    put(tmp_path, *(f"{label}/deep/er/{n}.JPG" for label in "ab" for n in range(8)))
    table = read_table(tmp_path)
    assert table.splits.count("test") == 4
    assert [table.labels[row] for row in table.rows("test")] == ["a", "a", "b", "b"]
    assert table == read_table(str(tmp_path))
    assert table.paths != read_table(tmp_path, seed=1).paths


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, *(f"{label}/{n}.png" for label in ("train", "bus") for n in range(4)))
    assert read_table(tmp_path).classes == ("bus", "train")


def test_order_is_by_split_class_and_path_inside(tmp_path: Path) -> None:
    names = ["train/b/z.png", "train/b/a/y.png", "train/a/10.png", "train/a/9.png"]
    put(tmp_path, *names, "test/a/1.png", "test/b/1.png")
    inside = [Path(path).relative_to(tmp_path).as_posix() for path in read_table(tmp_path).paths]
    assert inside[:4] == ["train/a/10.png", "train/a/9.png", "train/b/a/y.png", "train/b/z.png"]


@pytest.mark.parametrize(
    ("train", "test", "merged"),
    [
        ("Coast", "coast", True),
        ("livingRoom", "livingroom", True),
        ("living room", "LivingRoom", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("living_room", "livingroom", False),
    ],
)
def test_classes_of_nearly_the_same_name(
    tmp_path: Path, train: str, test: str, merged: bool
) -> None:
    put(tmp_path, f"train/{train}/1.png", f"test/{test}/2.png", "train/z/1.png", "test/z/2.png")
    if not merged:
        with pytest.raises(DataError, match=r"only in test.*Did you mean 'living_room'\?"):
            read_table(tmp_path)
        return
    table = read_table(tmp_path)
    assert table.classes == (train, "z")
    assert table.labels[2] == train
    assert table.warnings == (
        f"{tmp_path}: 1 test class taken as the train class of nearly the same name: "
        f"'{test} as {train}'",
    )


def test_names_that_differ_in_case_are_one_class_in_every_split(tmp_path: Path) -> None:
    both = ("Coast", "coast", "sea")
    put(tmp_path / "split", *(f"{s}/{c}/{s}.png" for s in ("train", "test") for c in both))
    put(tmp_path / "flat", *(f"{c}/{n}.png" for c in both for n in range(3)))
    put(tmp_path / "flat", "coast/3.png")
    for name, kept in (("split", "Coast"), ("flat", "coast")):
        table = read_table(tmp_path / name)
        assert table.classes == tuple(sorted((kept, "sea")))
        assert table.warnings == (
            f"{tmp_path / name}: one class, as the names differ only in case or spaces: 'Coast', "
            f"'coast' as '{kept}'; rename them if they are several",
        )
        assert read_labelled(tmp_path / name).classes == table.classes


def test_class_names_are_composed(tmp_path: Path) -> None:
    put(tmp_path / "one", *(f"{c}/{n}.png" for c in ("cafe\u0301", "tea") for n in range(3)))
    assert read_table(tmp_path / "one").classes == ("caf\xe9", "tea")
    assert read_table(tmp_path / "one").warnings == ()
    names = ("cafe\u0301", "caf\xe9", "tea")
    put(tmp_path / "twins", *(f"{c}/{n}.png" for c in names for n in range(3)))
    table = read_table(tmp_path / "twins")
    assert (table.classes, len(table)) == (("caf\xe9", "tea"), 9)
    assert table.warnings == (
        f"{tmp_path / 'twins'}: one class, as the names differ only in Unicode composition: "
        "'cafe\u0301', 'caf\xe9' as 'caf\xe9'; rename them if they are several",
    )


def test_single_letters_are_classes_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, *(f"{c}/{n}.png" for c in "aAb" for n in range(3)))
    table = read_table(tmp_path)
    assert table.classes == ("A", "a", "b")
    assert table.warnings == (
        f"{tmp_path}: single letters that differ in case are classes of their own: 'A', 'a'",
    )


def test_no_two_classes_print_alike(tmp_path: Path) -> None:
    put(tmp_path, *(f"{c}/{n}.png" for c in ("a\nb", "a\\nb") for n in range(3)))
    with pytest.raises(DataError, match=r"two classes both print as 'a\\nb'; rename one$"):
        read_table(tmp_path)


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    put(split_folder(tmp_path), ".DS_Store", "train/a/.hidden.png", "train/.git/x.png")
    put(tmp_path, "train/a/Thumbs.db", "test/a/notes.txt", "test/b/more.txt", "train/a/README")
    put(tmp_path, "loose.png", "test/loose.png", "__MACOSX/a/1.png")
    (tmp_path / "train" / "empty").mkdir()
    table = read_table(tmp_path)
    assert len(table) == 4
    where = str(tmp_path)
    assert set(table.warnings) == {
        f"{where}: train/: class folders without images are left out: 'empty'",
        f"{where}: 1 image outside the class folders left out",
        f"{where}: 1 image in test/ outside the class folders left out",
        f"{where}: 4 files left out, not images by their names: .txt (2), .db (1), no ending (1)",
        f"{where}: 4 hidden files or folders left out",
    }


def test_a_class_that_is_never_tested(tmp_path: Path) -> None:
    put(split_folder(tmp_path), "train/c/1.png")
    table = read_table(tmp_path)
    assert table.classes == ("a", "b", "c")
    assert table.warnings == (f"{tmp_path}: learned but never tested, only in train: 'c'",)


def test_one_image_is_for_training(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    table = read_table(tmp_path)
    assert [table.labels[row] for row in table.rows("train")] == ["a", "b"]
    assert table.warnings == (f"{tmp_path}: one image only, learned but never tested: 'b'",)


ERRORS: list[tuple[Callable[[Path], Path], str]] = [
    (lambda f: put(f, "data/a/1.png") / "datta", r"datta: no such file or folder. Did you mean 'data'?"),
    (lambda f: f, "the folder is empty; it should hold one folder per class"),
    (lambda f: put(f, "a/x.heic", "b/y.heic"), "holds no images (.jpg, .png, .tif, .webp, ...); found only .heic"),
    (lambda f: put(f, "1.png", "2.png"), "holds images but no class folders; put the images of each class in a folder of its own, or give a CSV file with the columns path,label"),
    (lambda f: put(f, "1.png") / "1.png", "1.png: is one image; DATA is a folder of class folders, or a .csv or .parquet file of path,label (to classify it: offshelf predict MODEL IMAGE)"),
    (lambda f: put(f, "x.zip") / "x.zip", "x.zip: is not a set of labelled images; DATA is a folder of class folders"),
    (lambda f: put(f, "a/1.png", "a/2.png"), "holds one class only, 'a'; a classifier needs at least two."),
    (lambda f: put(f, "cat/old/1.png", "cat/2.png"), "holds one class only, 'cat'; a classifier needs at least two. Did you mean '{}/cat'?"),
    (lambda f: put(f, "images/1.png", "images/2.png", "labels.csv"), "holds one class only, 'images'; a classifier needs at least two. 'labels.csv' lies there: if it has the labels, give it as DATA"),
    (lambda f: put(f, "a/1.png", "b/1.png"), "every class has one image only; to train and to test, a class needs at least two"),
    (lambda f: put(f, "train/a/1.png", "train/b/1.png"), "no images to test with; add a test/ folder (or rows of the split 'test'), or give the train/ folder alone, and a part of it is held out"),
    (lambda f: put(f, "test/a/1.png", "test/b/1.png"), "no images to train on; add a train/ folder (or rows of the split 'train')"),
    (lambda f: put(f, "train/1.png", "test/1.png"), "train: holds images but no class folders"),
    (lambda f: put(split_folder(f), "test/c/1.png", "test/d/1.png"), "2 classes are only in test, where none can be predicted: 'c', 'd'; add training images or leave the test images out."),
    (lambda f: put(split_folder(f), "training/c/1.png"), "'train', 'training' both mean train; rename or remove one"),
    (lambda f: put(f, "train/Coast/1.png", "test/coast/1.png"), "holds one class only, 'Coast'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), ERRORS, ids=[text[:32] for _, text in ERRORS])
def test_errors(tmp_path: Path, make: Callable[[Path], Path], text: str) -> None:
    data = make(tmp_path)
    with pytest.raises(DataError, match=re.escape(text.format(tmp_path))) as caught:
        read_table(data)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", ["", None, 3, b"x"])
def test_no_path_at_all(data: object) -> None:
    with pytest.raises(DataError, match="a path of a folder or file is needed"):
        read_table(data)  # type: ignore[arg-type]


def test_a_name_with_a_line_end_stays_one_line(tmp_path: Path) -> None:
    put(split_folder(tmp_path), "train/new\nline/1.png")
    assert read_table(tmp_path).warnings[0].endswith(r"only in train: 'new\nline'")


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    try:
        put(tmp_path, *(f"{label}/{n}.png" for label in (name, "tea") for n in range(4)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    table = read_table(tmp_path)
    assert table.classes == ("caf\\xe9", "tea")
    assert all(Path(path).exists() for path in table.paths)


def test_links(tmp_path: Path) -> None:
    put(split_folder(tmp_path / "data"), "train/a/inner/3.png")
    put(tmp_path / "elsewhere", "4.png", "5.png")
    inside = tmp_path / "data" / "train" / "a"
    for name, target in {
        "up": tmp_path / "data",
        "root": Path("/"),
        "self": inside,
        "again": inside / "inner",
        "out": tmp_path / "elsewhere",
        "loop.png": inside / "loop.png",
        "gone.png": inside / "nothing.png",
    }.items():
        (inside / name).symlink_to(target)
    table = read_table(tmp_path / "data")
    names = [
        Path(p).relative_to(inside).as_posix() for p in table.paths if p.startswith(str(inside))
    ]
    assert names == ["1.png", "gone.png", "inner/3.png", "loop.png", "out/4.png", "out/5.png"]
    assert table.warnings == (
        f"{tmp_path / 'data'}: links to folders already read are not followed: "
        "'a/again', 'a/root', 'a/self', 'a/up'",
    )


def test_a_locked_class_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_folder(tmp_path)
    put(tmp_path, "train/locked/1.png")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    table = read_table(tmp_path)
    locked = tmp_path / "train" / "locked"
    assert said(table, f"{tmp_path}: folders that cannot be read are left out: '{locked}'")
    with pytest.raises(DataError, match="locked: the folder cannot be read; check its permissions"):
        read_table(locked)


def test_to_evaluate_nothing_is_split_off(tmp_path: Path) -> None:
    assert set(read_labelled(put(tmp_path / "flat", "a/1.png", "a/2.png")).splits) == {"test"}
    assert set(read_labelled(put(tmp_path / "lone", "test/a/1.png")).splits) == {"test"}
    both = split_folder(tmp_path / "both")
    assert read_labelled(both) == read_table(both)


def test_unknown_split(tmp_path: Path) -> None:
    table = read_table(split_folder(tmp_path))
    with pytest.raises(DataError, match=r"unknown split 'tests'; .* Did you mean 'test'?"):
        table.rows("tests")


@pytest.mark.real
def test_fifteen_scenes(shared: Path) -> None:
    table = read_table(shared / "data" / "15-scene")
    assert (len(table.rows("train")), len(table.rows("test"))) == (1500, 2985)
    assert len(table.classes) == 15
    assert table.warnings == ()
