"""Layouts of folders: what is certain is taken and said, what is not is asked about."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

from pathlib import Path

import pytest

from offshelf.data.folders.class_folders import has_splits
from offshelf.data.folders.class_names import (
    is_batch,
    is_generic,
    split_mark,
)
from offshelf.data.tables.image_table import ImageTable, read_labelled, read_table
from offshelf.errors import DataError


def put(folder: Path, *places: str, count: int = 2) -> Path:
    """Put images into each place; the name of an image says where it was put."""
    for place in places:
        inside = folder / place
        inside.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (inside / f"{place.replace('/', '_')}_{number}.png").write_bytes(b"x")
    return folder


def inside(table: ImageTable, data: Path, split: str) -> set[str]:
    """Folders inside *data* that the images of *split* come from."""
    rows = table.rows(split)
    return {Path(table.paths[row]).parent.relative_to(data).as_posix() for row in rows}


def said(table: ImageTable, data: Path) -> list[str]:
    return [warning.removeprefix(f"{data}: ") for warning in table.warnings]


SPLITS = [
    ("training_set", "test_set"),
    ("Training Set", "Test Set"),
    ("train_images", "test_images"),
    ("training-images", "testing-images"),
    ("Train_data", "Test_data"),
    ("trainset", "testset"),
    ("TrainingSet", "TestSet"),
    ("x_train", "x_test"),
    ("xtrain", "xtest"),
    ("train2017", "val2017"),
    ("01_train", "02_test"),
    ("train_224", "valid_224"),
    ("seg_train", "seg_test"),
    ("flowers_train", "flowers_test"),
    ("TrainFlowers", "TestFlowers"),
    ("train_dogs", "test_final"),
    ("trainval", "test"),
    ("train_val", "test"),
    ("train", "dev"),
    ("TRAIN", "VALIDATE"),
    ("train", "eval"),
    ("train", "holdout"),
    ("train", "hold-out"),
    ("Train", "TEST"),
    ("trn", "tst"),
    ("train", "unseen_test"),
]


@pytest.mark.parametrize(("train", "test"), SPLITS)
def test_split_folders_by_other_names(tmp_path: Path, train: str, test: str) -> None:
    put(tmp_path, *(f"{split}/{label}" for split in (train, test) for label in ("cat", "dog")))
    for table in (read_table(tmp_path), read_labelled(tmp_path)):
        assert table.classes == ("cat", "dog")
        assert inside(table, tmp_path, "train") == {f"{train}/cat", f"{train}/dog"}
        assert inside(table, tmp_path, "test") == {f"{test}/cat", f"{test}/dog"}
    assert has_splits(tmp_path)
    plain = split_mark(train).strength + split_mark(test).strength == 0  # type: ignore[union-attr]
    note = f"taken as splits: {train}/ is train, {test}/ is {'val, used to test' if 'val' in test.lower() or test == 'dev' else 'test'}"
    assert said(read_table(tmp_path), tmp_path) == ([] if plain else [note])


def test_the_folders_of_an_archive(tmp_path: Path) -> None:
    put(tmp_path, *(f"seg_{s}/seg_{s}/{c}" for s in ("train", "test") for c in ("sea", "wood")))
    put(tmp_path, "seg_pred/seg_pred", count=3)
    table = read_table(tmp_path)
    assert table.classes == ("sea", "wood")
    assert inside(table, tmp_path, "test") == {"seg_test/seg_test/sea", "seg_test/seg_test/wood"}
    assert said(table, tmp_path) == [
        "taken as splits: seg_train/seg_train/ is train, seg_test/seg_test/ is test",
        f"3 images in seg_pred/ without class folders left out; to label them: offshelf predict MODEL '{tmp_path}/seg_pred'",
    ]


@pytest.mark.parametrize("inner", ["data", "data/photos", "images", "Some Name", "a/b/c"])
@pytest.mark.parametrize("splits", [("",), ("train/", "test/"), ("training_set/", "test_set/")])
def test_a_single_folder_around_everything(
    tmp_path: Path, inner: str, splits: tuple[str, ...]
) -> None:
    put(tmp_path, *(f"{inner}/{split}{c}" for split in splits for c in ("cat", "dog")))
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.txt").write_text("x")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert f"the images are those of '{tmp_path / inner}'" in said(table, tmp_path)
    bare = read_table(tmp_path / inner)
    assert (table.paths, table.splits) == (bare.paths, bare.splits)


def test_a_single_folder_to_evaluate(tmp_path: Path) -> None:
    put(tmp_path / "one", "cat/indoor", "cat/outdoor")
    assert read_labelled(tmp_path / "one").classes == ("cat",)
    assert read_table(tmp_path / "one").classes == ("indoor", "outdoor")
    put(tmp_path / "zip", "unpacked/cat", "unpacked/dog")
    assert read_labelled(tmp_path / "zip", known=("Cat", "dog", "emu")).classes == ("cat", "dog")
    put(tmp_path / "wrapped", "name/train/cat", "name/test/cat")
    assert read_labelled(tmp_path / "wrapped").splits == ("train",) * 2 + ("test",) * 2


@pytest.mark.parametrize(
    "tops",
    [
        ("batch1", "batch2"), ("part_a", "part_b"), ("fold1", "fold2", "fold3"), ("Session 1", "Session 2"),
        ("2023", "2024"), ("2024-05-01", "2024-05-02"), ("first batch", "second batch"), ("day1", "day2"),
        ("old_data", "new_data"), ("upload-1", "upload-2"),
    ],
)  # fmt: skip
def test_batches(tmp_path: Path, tops: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{top}/{label}" for top in tops for label in ("cat", "dog")), count=4)
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert len(table) == 8 * len(tops)
    names = ", ".join(f"'{top}'" for top in sorted(tops))
    assert said(table, tmp_path) == [f"the folders inside {names} are the classes"]
    outer = read_table(tmp_path, classes="outer")
    assert outer.classes == tuple(sorted(tops))
    assert said(outer, tmp_path) == [f"taken as classes although named like batches: {names}"]


def test_batches_in_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/batch1/cat", "train/batch2/dog", "test/cat", "test/dog")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert said(table, tmp_path) == [
        "train/: the folders inside 'batch1', 'batch2' are the classes"
    ]


def test_the_level_of_test_decides_that_of_train(tmp_path: Path) -> None:
    deep = ("alice/cat", "alice/dog", "bob/cat", "bob/dog")
    put(tmp_path / "inner", *(f"train/{place}" for place in deep), "test/cat", "test/dog")
    assert read_table(tmp_path / "inner").classes == ("cat", "dog")
    put(tmp_path / "outer", *(f"train/{place}" for place in deep), "test/alice", "test/bob")
    assert read_table(tmp_path / "outer").classes == ("alice", "bob")
    put(tmp_path / "test", "train/cat", "train/dog", *(f"test/{place}" for place in deep))
    assert read_table(tmp_path / "test").classes == ("cat", "dog")


def test_folders_that_cross_are_asked_about(tmp_path: Path) -> None:
    put(tmp_path, *(f"{top}/{label}" for top in ("alice", "bob") for label in ("cat", "dog")))
    with pytest.raises(DataError) as caught:
        read_table(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: 'alice', 'bob' hold folders of the same names, 'cat', 'dog'; say which are "
        "the classes: --classes outer or --classes inner; if they are splits, call them train/ and "
        "test/"
    )
    assert read_table(tmp_path, classes="outer").classes == ("alice", "bob")
    assert read_table(tmp_path, classes="inner").classes == ("cat", "dog")
    assert read_labelled(tmp_path, known=["dog", "cat"]).classes == ("cat", "dog")
    with pytest.raises(
        DataError, match=r"classes are outer or inner, not 'iner'\. Did you mean 'inner'\?"
    ):
        read_table(tmp_path, classes="iner")


@pytest.mark.parametrize(
    ("places", "notes"),
    [
        (("animals/dogs", "animals/cats", "plants/trees"), ["the outer folders are the classes ('animals', 'plants'), not the 3 folders inside; --classes inner takes those"]),
        (("cat/2023", "cat/2024", "dog/2023", "dog/2024"), []),
        (("cat/images", "dog/images"), []),
        (("cat/batch1", "cat/batch2", "dog/batch1", "dog/batch2"), []),
        (("cat/in", "cat/out", "dog/in", "dog/out", "emu"), []),
        (("cat/old", "dog/new"), []),
        (("valid", "invalid"), ["taken as classes although named like splits: 'valid'"]),
        (("bus", "car", "train"), ["taken as classes although named like splits: 'train'"]),
        (("train_station", "test_tube", "tent"), []),
        (("train_station/day", "train_station/night", "harbour"), []),
        (("test_match", "training_ground"), []),
        (("part1", "part2"), ["taken as classes although named like batches: 'part1', 'part2'"]),
        (("batch1/cat", "batch1/dog", "emu"), ["taken as classes although named like batches: 'batch1'"]),
        (("day1/dawn/cat", "day2/dawn/dog"), ["taken as classes although named like batches: 'day1', 'day2'"]),
    ],
)  # fmt: skip
def test_what_stays_a_class(tmp_path: Path, places: tuple[str, ...], notes: list[str]) -> None:
    table = read_table(put(tmp_path, *places, count=3))
    assert table.classes == tuple(sorted({place.split("/")[0] for place in places}))
    assert said(table, tmp_path) == notes
    assert (
        table.splits.count("test") == len(table.classes) * (len(table) // len(table.classes) > 0)
        or len(places) > 2
    )


def test_splits_inside_the_classes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{c}/{s}" for c in ("cat", "dog") for s in ("train", "val", "test")))
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert inside(table, tmp_path, "train") == {"cat/train", "dog/train"}
    assert inside(table, tmp_path, "test") == {"cat/test", "dog/test"}
    assert said(table, tmp_path) == [
        "splits inside the class folders: 'test', 'train', 'val'",
        "test is used to test; val is left out",
    ]


def test_several_data_sets_are_no_classes(tmp_path: Path) -> None:
    put(
        tmp_path, *(f"{f}/{s}/{c}" for f in ("one", "two") for s in ("train", "test") for c in "ab")
    )
    with pytest.raises(DataError) as caught:
        read_table(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: 'one', 'two' each hold splits with class folders; give one of them as DATA, "
        f"for example '{tmp_path / 'one'}'"
    )


@pytest.mark.parametrize(
    "test", ["test", "test/test", "test/images", "test1", "unlabeled", "to_predict"]
)
@pytest.mark.parametrize("val", ["", "val"])
def test_unlabelled_test_images(tmp_path: Path, test: str, val: str) -> None:
    put(tmp_path, "train/cat", "train/dog", count=4)
    put(tmp_path, test, count=3)
    if val:
        put(tmp_path, "val/cat", "val/dog")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert len(table) == (12 if val else 8)
    assert not any(
        Path(path).is_relative_to(tmp_path / test.split("/", maxsplit=1)[0]) for path in table.paths
    )
    notes = said(table, tmp_path)
    assert any(
        note
        == f"3 images in {test}/ without class folders left out; to label them: offshelf predict MODEL '{tmp_path / test}'"
        for note in notes
    )
    if val:
        assert inside(table, tmp_path, "test") == {"val/cat", "val/dog"}
    else:
        assert "no labelled images to test with: a part of those to train on is held out" in notes
        alone = read_table(put(tmp_path / "alone", "cat", "dog", count=4))
        assert table.splits == alone.splits


def test_test_images_beside_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog", "test/cat", "test/dog")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert inside(table, tmp_path, "train") == {"cat", "dog"}
    assert inside(table, tmp_path, "test") == {"test/cat", "test/dog"}
    assert said(table, tmp_path) == ["taken as splits: the folders beside are train, test/ is test"]


def test_unsorted_images_beside_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog", "unlabeled", count=3)
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert said(table, tmp_path) == [
        f"3 images in unlabeled/ without class folders left out; to label them: offshelf predict MODEL '{tmp_path}/unlabeled'"
    ]


@pytest.mark.parametrize("unsorted", ["unlabeled", "unlabeled/new", "pred"])
@pytest.mark.parametrize("name", ["labeled", "data", "flowers"])
def test_one_folder_of_classes_beside_unsorted_images(
    tmp_path: Path, name: str, unsorted: str
) -> None:
    put(tmp_path, f"{name}/cat", f"{name}/dog", unsorted, count=3)
    table = read_table(tmp_path)
    assert (table.classes, len(table)) == (("cat", "dog"), 6)
    top = unsorted.partition("/")[0]
    assert said(table, tmp_path) == [
        f"the images are those of '{tmp_path}/{name}'",
        f"3 images in {top}/ without class folders left out; to label them: offshelf predict MODEL '{tmp_path}/{top}'",
    ]


def test_masks_beside_the_images_of_each_class_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, *(f"{top}/{kind}" for top in ("cat", "dog") for kind in ("images", "masks")))
    table = read_table(tmp_path)
    assert (table.classes, len(table)) == (("cat", "dog"), 4)
    assert inside(table, tmp_path, "train") == {"cat/images", "dog/images"}
    assert said(table, tmp_path) == ["the images of each class are those in its folder 'images'"]
    assert len(read_table(tmp_path, classes="outer")) == 8


def test_unsorted_images_among_the_classes_of_a_split_are_said(tmp_path: Path) -> None:
    put(tmp_path, "train/cat", "train/dog", "train/unlabeled", "test/cat", "test/dog")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog", "unlabeled")
    assert said(table, tmp_path) == [
        "taken as classes although named like splits: 'unlabeled'",
        "learned but never tested, only in train: 'unlabeled'",
    ]


def test_what_servers_and_programs_leave_behind_is_no_class(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog", "#recycle/cat", "$Recycle.Bin", "@Recycle", "__pycache__")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert said(table, tmp_path) == ["4 hidden files or folders left out"]


def test_a_table_beside_the_folders_is_named(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog")
    (tmp_path / "labels.csv").write_text("path,label\n")
    assert said(read_table(tmp_path), tmp_path)[0] == (
        "not used: 'labels.csv' beside the folders; give it as DATA if it has the labels"
    )


ASKED = [
    (("cat", "dog", "test"), "'test' may be test images or a class; move it out of there, or say --classes outer if it is a class"),
    (("cat", "dog", "test_set"), "'test_set' may be test images or a class; move it out of there, or say --classes outer if it is a class"),
    (("train/cat", "train/dog", "photos"), "'train' holds class folders and 'photos' no folders; give '{}/train' as DATA, or say --classes outer if 'train' is a class"),
    (("test_images", "train_images"), "train_images: holds images but no class folders; put the images of each class in a folder of its own, or give a CSV file with the columns path,label"),
    (("test", "val"), "'test', 'val' are splits by their names, but not all hold class folders; put the images of each class in a folder of its own, or give a CSV file with the columns path,label"),
    (("bus_train", "bus_test", "car_train", "car_test"), "folders name class and split in one, 'bus_test', 'bus_train', 'car_test', 'car_train'; make a folder train/ and a folder test/, and put the class folders into them"),
    (("images/training", "images/validation", "annotations/training"), "'annotations', 'images' are not classes, to judge by their names; give '{}/images' as DATA, or say --classes outer if they are"),
    (("images", "masks"), "'images', 'masks' are not classes, to judge by their names; give '{}/images' as DATA, or say --classes outer if they are"),
    (("cat", "dog", "flowers/cat", "flowers/dog"), "'flowers' holds folders of the same names as those beside it ('cat', 'dog'); move it out of there, or say --classes outer if it is a class"),
    (("cat", "dog", "batch2/cat", "batch2/dog"), "'batch2' holds folders of the same names as those beside it ('cat', 'dog'); move it out of there, or say --classes outer if it is a class"),
    (("one/train/cat", "one/train/dog", "two/test/cat"), "'one', 'two' hold one split each, so no class is in two; put the class folders into a folder train/ and a folder test/"),
    (("Train/cat", "train/cat", "test/cat"), "'Train', 'train' both mean train; rename or remove one"),
    (("train_1/cat", "train_2/cat", "test/cat"), "'train_1', 'train_2' both mean train; rename or remove one"),
    (("cat/train", "cat/test", "dog/train", "dog/test", "dog/more"), "'cat', 'dog' hold splits such as train/ and test/, but 'dog' images or folders beside them; move those into train/ or test/, or say --classes outer if they are no splits"),
    (("cat/train", "cat/test", "dog", "emu"), "'cat' holds splits such as train/ and test/, but 'dog', 'emu' images or folders beside them; move those into train/ or test/, or say --classes outer if they are no splits"),
    (("cars/train/cat", "cars/train/dog", "cars/test/cat", "cars/test/dog", "figures"), "'cars' holds splits with class folders, 'figures' none; give '{}/cars' as DATA, or say --classes outer if all are classes"),
    (("data/cat", "data/dog", "figures"), "'data' holds folders ('cat', 'dog') and is probably not a class; give '{}/data' as DATA, or say --classes outer if it is"),
    (("Trainingsdaten/cat", "Trainingsdaten/dog", "Testdaten/cat", "Testdaten/dog"), "'Testdaten', 'Trainingsdaten' hold folders of the same names, 'cat', 'dog'; say which are the classes: --classes outer or --classes inner; if they are splits, call them train/ and test/"),
    (("dataset/cat", "dataset/dog", "testset/cat", "testset/dog"), "'testset' may be test images for 'dataset', or a class; call 'dataset' train if it is what to train on, or say --classes outer if both are classes"),
]  # fmt: skip


@pytest.mark.parametrize(("places", "text"), ASKED, ids=["+".join(a) for a, _ in ASKED])
def test_what_is_not_certain_is_asked_about(
    tmp_path: Path, places: tuple[str, ...], text: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_table(put(tmp_path, *places))
    assert str(caught.value).startswith(str(tmp_path))
    assert str(caught.value).endswith(text.format(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_answer_outer_takes_every_folder_as_a_class(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog", "test")
    table = read_table(tmp_path, classes="outer")
    assert table.classes == ("cat", "dog", "test")
    assert said(table, tmp_path) == ["taken as classes although named like splits: 'test'"]


def test_images_between_the_levels_are_said(tmp_path: Path) -> None:
    put(tmp_path, "alice/cat", "alice/dog", "bob/cat", "bob/dog", "carol", count=3)
    assert read_table(tmp_path).classes == ("alice", "bob", "carol")
    table = read_table(tmp_path, classes="inner")
    assert table.classes == ("cat", "dog")
    assert said(table, tmp_path) == [
        "the folders inside 'alice', 'bob' are the classes",
        "3 images directly in 'carol' left out",
    ]
    put(tmp_path / "flat", "cat", "dog")
    with pytest.raises(DataError, match=r"--classes inner: its folders hold no folders of images$"):
        read_table(tmp_path / "flat", classes="inner")


def test_the_inner_level_of_train_is_that_of_test(tmp_path: Path) -> None:
    deep = ("alice/cat", "alice/dog", "bob/cat", "bob/dog")
    put(tmp_path, *(f"train/{place}" for place in deep), "test/cat/new", "test/dog/old")
    assert read_table(tmp_path, classes="inner").classes == ("cat", "dog")


def test_a_lone_folder_of_unsorted_images_is_one_class(tmp_path: Path) -> None:
    put(tmp_path, "pred/a", "pred/b")
    assert read_labelled(tmp_path).classes == ("pred",)


def test_a_table_beside_flat_splits_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train", "test")
    (tmp_path / "train.csv").write_text("id,label\n")
    with pytest.raises(
        DataError, match=r"path,label; perhaps 'train.csv' beside them is that file$"
    ):
        read_table(tmp_path)
    (tmp_path / "test.csv").write_text("id,label\n")
    with pytest.raises(
        DataError, match=r"; perhaps 'test.csv', 'train.csv' beside them are such files$"
    ):
        read_table(tmp_path)


def test_links_do_not_hang_the_first_look(tmp_path: Path) -> None:
    put(tmp_path / "data", "in/cat", "in/dog")
    for name, target in (("up", tmp_path / "data"), ("self", tmp_path / "data" / "in")):
        (tmp_path / "data" / "in" / name).symlink_to(target)
    table = read_table(tmp_path / "data")
    assert (table.classes, len(table)) == (("cat", "dog"), 4)
    assert "links to folders already read are not followed: 'in/self', 'in/up'" in said(
        table, tmp_path / "data"
    )
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop: the folder is empty"):
        read_table(tmp_path / "loop")


def test_linked_splits(tmp_path: Path) -> None:
    put(tmp_path / "far", "one/cat", "one/dog", "two/cat", "two/dog")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "far" / "one")
    (tmp_path / "data" / "test").symlink_to(tmp_path / "far" / "two")
    table = read_table(tmp_path / "data")
    assert (table.classes, table.splits) == (("cat", "dog"), ("train",) * 4 + ("test",) * 4)


def test_names_of_batches_and_heaps() -> None:
    assert [n for n in ("class_1", "person2", "3", "cat", "n01440764", "day") if is_batch(n)] == [
        "day"
    ]
    assert [n for n in ("all_images", "0", "img1", "cat photos") if is_generic(n)] == [
        "all_images",
        "img1",
    ]
