"""CSV and Parquet files of images, well made and as they come."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

import csv
import io
import random
import re
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from offshelf.data.tables.delimited import csv_rows
from offshelf.data.tables.image_table import list_images, read_labelled, read_table
from offshelf.errors import DataError


def write(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    for image in ("1.png", "2.png", "3.png", "4.png"):
        (folder / image).write_bytes(b"x")
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


GIVEN = "path,label,split\n1.png,a,train\n2.png,b,train\n3.png,a,test\n4.png,b,test\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GIVEN, "utf-8"),
        (GIVEN, "utf-8-sig"),
        (GIVEN, "utf-16"),
        (GIVEN.replace("\n", "\r\n"), "utf-8"),
        (GIVEN.replace(",", ";"), "utf-8"),
        (GIVEN.replace(",", "\t"), "utf-8"),
        (GIVEN.replace("path,label,split", '"Path", LABEL ,Split'), "utf-8"),
        ("\n" + GIVEN.replace("\n", "\n\n"), "utf-8"),
        (GIVEN.replace("test", "Validation").replace("train", "training"), "utf-8"),
        (GIVEN.replace("1.png", " ./1.png "), "utf-8"),
        ("sep=;\r\n" + GIVEN.replace(",", ";"), "utf-8"),
        ('"sep=|"\n' + GIVEN.replace(",", "|"), "utf-8-sig"),
        ("SEP=\t\n" + GIVEN.replace(",", "\t"), "utf-16"),
        (GIVEN.replace(",", "|"), "utf-8"),
        (GIVEN.replace("\n", "\r"), "utf-8"),
        (
            GIVEN.replace("label,", "label,caption,")
            .replace(",a,", f',a,"{"long, " * 50_000}",')
            .replace(",b,", f",b,{'x' * 200_000},"),
            "utf-8",
        ),
    ],
)
def test_csv_as_it_comes(tmp_path: Path, text: str, encoding: str) -> None:
    table = read_table(write(tmp_path, text, encoding=encoding))
    assert [Path(path).name for path in table.paths] == ["1.png", "2.png", "3.png", "4.png"]
    assert table.paths[0] == str(tmp_path / "1.png")
    assert (table.labels, table.splits) == (("a", "b") * 2, ("train",) * 2 + ("test",) * 2)
    assert table.warnings == ()


def test_other_columns_and_absolute_paths(tmp_path: Path) -> None:
    rows = "".join(f'{n},"{tmp_path / f"{n}.png"}",{"ab"[n % 2]}\n' for n in range(1, 5))
    table = read_table(write(tmp_path, "id,path,label\n" + rows), test_size=0.5)
    assert table.splits == ("train", "train", "test", "test")
    assert all(Path(path).exists() for path in table.paths)


def test_a_blank_split_column_is_none(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label,split\n1.png,a,\n2.png,a,\n3.png,b,\n4.png,b,\n")
    assert read_table(file).splits == ("train", "train", "test", "test")
    assert set(read_labelled(file).splits) == {"test"}


@pytest.mark.parametrize("labels", [["a", "b", "a", "b"], [0, 1, 0, 1]])
def test_parquet(tmp_path: Path, labels: list[object]) -> None:
    write(tmp_path, "")
    columns = {
        "Path": ["1.png", "2.png", "3.png", "4.png"],
        "label": pyarrow.array(labels).dictionary_encode(),
        "split": ["train", "train", "val", "val"],
        "size": [1, 2, 3, 4],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    table = read_table(tmp_path / "list.parquet")
    assert table.labels == tuple(map(str, labels))
    assert table.splits == ("train", "train", "test", "test")


def test_parquet_errors(tmp_path: Path) -> None:
    write(tmp_path, "")
    file = tmp_path / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["1.png"], "lable": ["a"]}), file)
    with pytest.raises(
        DataError,
        match=r"has no column 'label'; its columns are 'path', 'lable'. Did you mean 'lable'?",
    ):
        read_table(file)
    columns = {"path": ["1.png", "2.png"], "label": [1.5, float("nan")]}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    with pytest.raises(DataError, match=r"list.parquet: row 2 has an empty label$"):
        read_table(file)
    for content in (b"PAR1 nothing", file.read_bytes()[:-20]):
        file.write_bytes(content)
        with pytest.raises(
            DataError, match=r"list.parquet: is not a Parquet file, or it is damaged"
        ):
            read_table(file)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the file is empty; it needs the columns path,label"),
        ("path,label\n", "has no rows; it needs one row per image"),
        ("file,lable\n1.png,a\n", "has no column 'path'; its columns are 'file', 'lable'. Rename the one that holds it to path."),
        ("path,lable\n1.png,a\n", "has no column 'label'; its columns are 'path', 'lable'. Did you mean 'lable'?"),
        ("path,label,label\n1.png,a,b\n", "has 2 columns 'label'"),
        ("path,label\n1.png,a\n\n2.png, \n3.png,\n", "row 4 (and 1 more) has an empty label"),
        ("path,label\n,a\n", "row 2 has an empty path"),
        (GIVEN.replace("test", "tset"), "row 4 has an unknown split 'tset'; use train, test or val. Did you mean 'test'?"),
        (GIVEN.replace("b,test", "b,"), "row 5 has an empty split; use train, test or val."),
        ("path,label\na,b.png,c\n", "row 2 has 3 cells and the header 2; put a path that holds the separator in double quotes"),
        ('path,label\n1.png,a\n\n2.png,"b\n', "row 4 is not valid CSV: a quote is not closed"),
        ('path,label\n1.png,"a"b\n', "row 2 is not valid CSV: text follows a closing quote"),
        ("path,label\n1.png,a\0\n", "holds NUL characters, as UTF-16 without its mark does; save it as CSV UTF-8"),
        ("path,label\nx/1.png,a\nx/2.png,b\n", "none of its 2 images exists; paths are relative to the folder of the file, the first is '{}/x/1.png'"),
        (GIVEN.replace("test", "train"), "no images to test with"),
        (GIVEN.replace("train", "test"), "no images to train on"),
        (GIVEN.replace("a,train", "c,train"), "1 class is only in test, where none can be predicted: 'a'"),
        ("path,label\n1.png,a\n2.png,a\n", "holds one class only, 'a'; a classifier needs at least two."),
    ],
)  # fmt: skip
def test_errors(tmp_path: Path, text: str, error: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(error.format(tmp_path))) as caught:
        read_table(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_not_text(tmp_path: Path) -> None:
    file = write(tmp_path, GIVEN)
    file.write_bytes(b"path,label\n1.png,a\n\xe9.png,a\n")
    with pytest.raises(DataError, match="row 3 is not UTF-8 text; save it as CSV UTF-8"):
        read_table(file)


def test_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, GIVEN)

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"list.csv: cannot be read: Permission denied"):
        read_table(file)


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ("1.png,a,train\n", "1 repeated row left out"),
        ("1.png,b,train\n", "images with more than one label: '1.png'"),
        ("1.png,a,test\n", "images both in train and in test (accuracy too high): '1.png'"),
        ("./1.png,a,test\n", "images both in train and in test (accuracy too high): '1.png'"),
        ("x/../1.png,a,train\n", "1 repeated row left out"),
        ("3.png,a,eval\n", "test rows are the test split; 1 val row left out"),
        ("1.png,a,val\n", "test rows are the test split; 1 val row left out"),
        ("gone.png,A,train\n", "single letters that differ in case are classes of their own: 'A', 'a'"),
        ("gone.png,B ,test\n", "1 test class taken as the train class of nearly the same name: 'B as b'"),
        ("gone.png,Cat,train\n5.png,cat,train\n6.png,c at,train\n", "one class, as the names differ only in case or spaces: 'Cat', 'c at', 'cat' as 'Cat'; rename them if they are several"),
        ("gone.png,cafe\u0301,train\n5.png,caf\xe9,train\n", "one class, as the names differ only in Unicode composition: 'cafe\u0301', 'caf\xe9' as 'caf\xe9'; rename them if they are several"),
    ],
)  # fmt: skip
def test_warnings(tmp_path: Path, more: str, warning: str) -> None:
    file = write(tmp_path, GIVEN + more)
    assert f"{file}: {warning}" in read_table(file).warnings


def test_labels_of_the_two_splits_are_merged(tmp_path: Path) -> None:
    file = write(
        tmp_path, GIVEN.replace("a,train", "Living Room,train").replace("a,test", "livingroom,test")
    )
    table = read_table(file)
    assert table.classes == ("Living Room", "b")
    assert table.warnings == (
        f"{file}: 1 test class taken as the train class of nearly the same name: "
        "'livingroom as Living Room'",
    )


def test_words_that_mean_nothing_to_pandas_are_labels(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label\n1.png,NA\n2.png,NA\n3.png,nan\n4.png,nan\n")
    assert read_table(file).classes == ("NA", "nan")


def test_paths_from_windows(tmp_path: Path) -> None:
    (tmp_path / "put").mkdir()
    write(tmp_path / "put", "")
    text = GIVEN.replace("1.png", "put\\1.png").replace("2.png", ".\\put\\2.png")
    file = tmp_path / "list.csv"
    file.write_text(text.replace("3.png", "put/3.png").replace("4.png", "put/4.png"))
    table = read_table(file)
    assert [Path(path).relative_to(tmp_path).as_posix() for path in table.paths] == [
        f"put/{number}.png" for number in range(1, 5)
    ]
    assert table.warnings == (f"{file}: backslashes in its paths are taken as folders",)


def test_names_without_their_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write(tmp_path / "images", "")
    file = tmp_path / "list.csv"
    file.write_text(GIVEN)
    with pytest.raises(DataError) as caught:
        read_table(file)
    assert str(caught.value) == (
        f"{file}: none of its 4 images exists; paths are relative to the folder of the file, the "
        f"first is '{tmp_path}/1.png'; it lies in 'images', which its path has to name"
    )


def test_a_backslash_may_be_part_of_a_name(tmp_path: Path) -> None:
    file = write(tmp_path, GIVEN.replace("1.png", "1\\x.png"))
    (tmp_path / "1\\x.png").write_bytes(b"x")
    table = read_table(file)
    assert (Path(table.paths[0]).name, table.warnings) == ("1\\x.png", ())


@pytest.mark.parametrize(("here", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_composed_in_another_way(tmp_path: Path, here: str, there: str) -> None:
    folder = tmp_path / unicodedata.normalize(here, "été")
    folder.mkdir()
    write(folder, "")
    inside = unicodedata.normalize(there, "été")
    (folder / unicodedata.normalize(there, "é.png")).write_bytes(b"x")
    rows = [f"{inside}/{n}.png,{c},{s}" for n, c, s in ((1, "a", "train"), (2, "b", "train"))]
    rows += [f"{inside}/3.png,b,test", f"{inside}/{unicodedata.normalize(here, 'é')}.png,a,test"]
    file = tmp_path / "list.csv"
    file.write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    table = read_table(file)
    assert all(Path(path).exists() for path in table.paths)
    assert table.warnings == (
        f"{file}: some file names have accents composed in another way than its paths",
    )


def parquet(folder: Path, labels: object) -> Path:
    write(folder, "")
    file = folder / "list.parquet"
    columns = {"path": ["1.png", "2.png", "3.png", "4.png"], "label": labels}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([["a", "x"], ["b"], ["a"], ["b"]], "list<element: string>"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}, {"name": "b"}], "struct<name: string>"),
    ],
)
def test_a_parquet_label_that_is_no_text(tmp_path: Path, labels: object, kind: str) -> None:
    file = parquet(tmp_path, labels)
    with pytest.raises(DataError) as caught:
        read_table(file)
    assert str(caught.value) == (
        f"{file}: its column 'label' holds {kind}, not one text for each row; make it text"
    )
    assert len(list_images([file])) == 4


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0.0, 10.0, 0.0, 10.0], ("0", "10")),
        ([0.5, 1.0, 0.5, 1.0], ("0.5", "1")),
        (pyarrow.array([-0.0, 1e20, 0.0, 1e20], pyarrow.float64()), ("0", "100000000000000000000")),
        (pyarrow.array([1.0, 2.0, 1.0, 2.0]).dictionary_encode(), ("1", "2")),
        ([True, False, True, False], ("False", "True")),
        ([b"cat", b"dog", b"cat", b"dog"], ("cat", "dog")),
    ],
)
def test_parquet_labels_that_are_no_text(
    tmp_path: Path, labels: object, classes: tuple[str, ...]
) -> None:
    file = parquet(tmp_path, labels)
    table = read_table(file)
    assert table.classes == classes
    note = f"{file}: labels are floating-point numbers; whole ones are written without a fraction, such as '{classes[0] if classes[0] != '0.5' else '1'}'"
    assert table.warnings == ((note,) if classes[0] in ("0", "1", "0.5") else ())


def test_the_rows_are_those_of_the_standard_library(tmp_path: Path) -> None:
    draw = random.Random(0)  # noqa: S311
    for _ in range(300):
        rows = [
            ["".join(draw.choices('ab",;\n\r\t é', k=draw.randrange(5))) for _ in range(3)]
            for _ in range(draw.randrange(1, 6))
        ]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=draw.choice(["\n", "\r\n"]))
        writer.writerows([["path", "b", "c"], *rows])
        reader = csv.reader(io.StringIO(text.getvalue(), newline=""), strict=True)
        wanted = [row for row in reader if any(cell.strip() for cell in row)]
        assert [row for _, row in csv_rows(tmp_path, text.getvalue())] == wanted


def test_reading_leaves_the_limit_of_cells_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = GIVEN.replace("label", "label,caption").replace(",a,", f',a,"{"x" * 200_000}",')
    read_table(write(tmp_path, long.replace(",b,", ",b,short,")))
    assert csv.field_size_limit() == before


def test_a_path_longer_than_any_file_has(tmp_path: Path) -> None:
    long = f"{'a' * 5000}.png"
    rows = f"path,label\n{long},a\n"
    table = list_images([write(tmp_path, f"{rows}1.png,b\n")])
    assert table.paths == (str(tmp_path / long), str(tmp_path / "1.png"))
    with pytest.raises(DataError, match="none of its 1 image exists"):
        read_table(write(tmp_path, rows))


def test_the_first_of_two_columns_of_one_name_is_judged_and_used(tmp_path: Path) -> None:
    rows = "path,label,of,of\n1.png,a,x,train\n2.png,b,y,train\n3.png,a,z,test\n4.png,b,x,test\n"
    table = read_table(write(tmp_path, rows), seed=1)
    assert not [note for note in table.warnings if "column" in note]
