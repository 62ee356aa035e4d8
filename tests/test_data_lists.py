"""Lists of paths, standard input, and patterns that no shell has expanded."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

import io
import os
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

from offshelf.cli.main import main
from offshelf.data.tables.image_table import list_images, read_table
from offshelf.errors import DataError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(folder: Path, *sources: str | Path) -> list[str]:
    return [Path(os.path.relpath(p, folder)).as_posix() for p in list_images(sources).paths]


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), closed=False))


LISTS = [
    b"b.png\na.png\n",
    b"b.png\r\n\r\n  \r\na.png",
    b"\xef\xbb\xbfb.png\na.png\n",
    "b.png\r\na.png\r\n".encode("utf-16"),
    b"b.png\0a.png\0",
    b"./b.png\n x/../a.png \n",
    b"\"b.png\"\n'a.png'\n",
    b"b.png\na.png\nb.png\n",
]


@pytest.mark.parametrize("content", LISTS)
def test_a_list_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    put(tmp_path, "a.png", "b.png", "c.png", "x/d.png")
    for name in ("list.txt", "LIST.TXT", "files.lst"):
        (tmp_path / name).write_bytes(content)
        assert names(tmp_path, tmp_path / name) == ["b.png", "a.png"]
    monkeypatch.chdir(tmp_path)
    given(monkeypatch, content)
    assert names(tmp_path, "-") == ["b.png", "a.png"]


def test_a_list_names_folders_and_tables_too(tmp_path: Path) -> None:
    put(tmp_path, "f/a.png", "f/g/b.png", "c.png")
    (tmp_path / "t.csv").write_text("path\nc.png\n")
    (tmp_path / "list.txt").write_text("f\nt.csv\n")
    assert names(tmp_path, tmp_path / "list.txt") == ["f/a.png", "f/g/b.png", "c.png"]


def test_names_in_a_list(tmp_path: Path) -> None:
    odd = ["sp ace.png ", "star*.png", "#1.png", os.fsdecode(b"caf\xe9.png"), "-dash.png"]
    put(tmp_path, *odd)
    (tmp_path / "list.txt").write_bytes(b"\n".join(map(os.fsencode, odd)))
    assert names(tmp_path, tmp_path / "list.txt") == odd
    line = "new\nline.png"
    put(tmp_path, line)
    (tmp_path / "list.txt").write_bytes(os.fsencode(f"{line}\0"))
    assert names(tmp_path, tmp_path / "list.txt") == [line]


def test_a_list_from_another_system(tmp_path: Path) -> None:
    put(tmp_path, "f/a.png", unicodedata.normalize("NFD", "é.png"))
    (tmp_path / "list.txt").write_text("f\\a.png\n\xe9.png\n", encoding="utf-8")
    table = list_images([tmp_path / "list.txt"])
    assert all(Path(path).exists() for path in table.paths)
    assert table.warnings == (
        f"{tmp_path}/list.txt: backslashes in its paths are taken as folders",
        f"{tmp_path}/list.txt: some file names have accents composed in another way than its paths",
    )


def test_a_list_may_be_relative_to_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "photos/a.png", "lists/x")
    (tmp_path / "lists" / "all.txt").write_text("photos/a.png\nphotos/gone.png\n")
    monkeypatch.chdir(tmp_path)
    table = list_images(["lists/all.txt"])
    assert table.paths == ("photos/a.png", "photos/gone.png")
    assert table.warnings == ("lists/all.txt: its paths are relative to the working directory",)


def test_a_picture_may_be_called_txt(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert names(tmp_path, tmp_path / "a.txt") == ["a.txt"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("f/*.png", ["f/a.png", "f/b.png"]),
        ("f/?.png", ["f/a.png", "f/b.png"]),
        ("f/[b].png", ["f/b.png"]),
        ("f/*", ["f/a.png", "f/b.png", "f/g/c.png"]),
        ("**/*.png", ["f/a.png", "f/b.png", "f/g/c.png", "star*.png"]),
        ("f/**", ["f/a.png", "f/b.png", "f/g/c.png"]),
        ("*/g", ["f/g/c.png"]),
        ("f/*.dat", ["f/odd.dat"]),
        ("star*.png", ["star*.png"]),
        ("*.csv", ["star*.png"]),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str], absolute: bool
) -> None:
    put(tmp_path, "f/b.png", "f/a.png", "f/g/c.png", "f/odd.dat", "f/.hidden.png", "star*.png")
    (tmp_path / "t.csv").write_text("path\nstar*.png\n")
    monkeypatch.chdir(tmp_path)
    assert names(tmp_path, str(tmp_path / pattern) if absolute else pattern) == found


def test_what_a_pattern_leaves_out_is_said(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "notes.md", "b.dat")
    assert list_images([tmp_path / "*"]).warnings == (
        f"{tmp_path}/*: 2 files left out, not images by their names",
    )


def test_a_pattern_for_labelled_data(tmp_path: Path) -> None:
    put(tmp_path, *(f"data-{d}/{c}/{n}.png" for d in "12" for c in "ab" for n in range(3)))
    assert read_table(tmp_path / "*-1").classes == ("a", "b")
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "data-*")
    assert str(caught.value) == (
        f"{tmp_path}/data-*: matches 2 files and folders, where one is needed; DATA is a "
        "folder of class folders, or a .csv or .parquet file of path,label"
    )


@pytest.mark.parametrize(
    ("source", "content", "text"),
    [
        ("-", b"", "standard input: holds no paths; give one image or folder per line"),
        ("-", b"\n \r\n", "standard input: holds no paths; give one image or folder per line"),
        ("-", b"x.png\ny.png\n", "standard input: none of its 2 paths exists; paths are relative to the working directory, the first is 'x.png'"),
        ("list.txt", b"x.png\n", "{}/list.txt: none of its 1 path exists; paths are relative to the folder of the file, the first is '{}/x.png'"),
        ("list.txt", b"s3://x/y.png\n", "{}/list.txt: its paths are addresses, the first is 's3://x/y.png'; download the images, and give the paths of their files"),
        ("list.txt", b"", "{}/list.txt: holds no paths; give one image or folder per line"),
        ("no*.png", b"", "{}/no*.png: no such file or folder, and as a pattern it matches none"),
    ],
)  # fmt: skip
def test_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, content: bytes, text: str
) -> None:
    monkeypatch.chdir(put(tmp_path / "elsewhere", "z").parent)
    given(monkeypatch, content)
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        list_images([source if source == "-" else tmp_path / source])
    assert str(caught.value) == text.replace("{}", str(tmp_path))


def test_labelled_data_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\n")
    needed = "DATA is a folder of class folders, or a .csv or .parquet file of path,label"
    for data, text in (
        ("-", f"standard input: is not a set of labelled images; {needed}"),
        (
            tmp_path / "list.txt",
            f"{tmp_path}/list.txt: is a list of paths without labels; {needed}",
        ),
    ):
        with pytest.raises(DataError) as caught:
            read_table(data)
        assert str(caught.value) == text


def test_files_that_begin_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(put(tmp_path, "-dash.png", "--strict.png", "-k"))
    help_line = "; 'offshelf --help' shows the options\n"
    for name in ("-dash.png", "--strict.png"):
        with pytest.raises(SystemExit):
            main(["predict", "m.offshelf", name])
        assert capsys.readouterr().err == (
            f"error: '{name}' begins with a dash; for the file write './{name}'{help_line}"
        )
    with pytest.raises(SystemExit):
        main(["predict", "m.offshelf", "a.png", "--gone.png"])
    assert capsys.readouterr().err.startswith(
        "error: no option '--gone.png'; for a file of this name write './--gone.png'; "
    )
    assert main(["classify", "gone.png", "-k", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: gone.png: no such file or folder")


def test_names_longer_than_any_file_has(tmp_path: Path) -> None:
    long = "a" * 5000
    put(tmp_path, "1.png")
    (tmp_path / "link").symlink_to(long[:300])
    with pytest.raises(DataError, match=r"^a+\.txt: no such file or folder\.$"):
        list_images([f"{long}.txt"])
    (tmp_path / "list.txt").write_text(f"link\n{long}.png\n1.png\n")
    assert names(tmp_path, tmp_path / "list.txt") == ["link", f"{long}.png", "1.png"]
    with pytest.raises(DataError, match=r"link: is not a set of labelled images"):
        read_table(tmp_path / "link")
