"""Images without labels: files, folders and tables in the order they were named."""

from __future__ import annotations

from pathlib import Path

import pytest

from offshelf.data.tables.image_table import list_images
from offshelf.errors import DataError


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_files_and_folders_in_their_order(tmp_path: Path) -> None:
    put(tmp_path, "z.png", "folder/b.jpg", "folder/a/c.webp", "folder/x.txt", "odd.dat")
    sources = [tmp_path / "z.png", tmp_path / "folder", str(tmp_path / "odd.dat")]
    table = list_images(sources)
    names = [Path(path).relative_to(tmp_path).as_posix() for path in table.paths]
    assert names == ["z.png", "folder/a/c.webp", "folder/b.jpg", "odd.dat"]
    assert set(table.splits) == {"test"}
    assert (table.classes, set(table.labels)) == ((), {""})
    assert table.targets().tolist() == [-1] * 4
    assert table.warnings == (
        f"{tmp_path / 'folder'}: 1 file left out, not images by their names: .txt (1)",
    )


def test_a_table_without_labels(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "list.csv").write_text("path,split\na.png,whatever\nb.png,\n")
    table = list_images([tmp_path / "list.csv"])
    assert table.paths == (str(tmp_path / "a.png"), str(tmp_path / "b.png"))


def test_named_twice_is_taken_once(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    table = list_images([tmp_path / "a.png", tmp_path])
    assert len(table) == 1
    assert table.warnings == ("1 image named more than once, taken once",)


def test_a_link_to_no_file_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    assert len(list_images([tmp_path / "gone.png"])) == 1


def test_what_is_missing_is_a_row_and_said_once(tmp_path: Path) -> None:
    put(tmp_path, "photo.png", "folder/a.jpg")
    (tmp_path / "list.txt").write_text("none.png\n")
    gone = [tmp_path / "phto.png", tmp_path / "no*.png", tmp_path / "list.txt"]
    table = list_images([gone[0], tmp_path / "photo.png", *gone[1:], tmp_path / "folder"])
    names = ["phto.png", "photo.png", "no*.png", "none.png", "folder/a.jpg"]
    assert table.paths == tuple(str(tmp_path / name) for name in names)
    first = f"{tmp_path / 'phto.png'}: no such file or folder. Did you mean 'photo.png'?"
    assert table.warnings == (f"3 of the names lead nowhere, the first is {first}",)
    assert list_images([tmp_path / "photo.png", gone[0]]).warnings == (first,)
    with pytest.raises(DataError) as caught:
        list_images(gone)
    assert str(caught.value) == first


def test_one_source_need_not_be_a_list(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    assert len(list_images(tmp_path)) == 1  # type: ignore[arg-type]


def test_errors(tmp_path: Path) -> None:
    put(tmp_path, "photo.png", "texts/a.txt")
    with pytest.raises(
        DataError, match=r"phto.png: no such file or folder. Did you mean 'photo.png'?"
    ):
        list_images([tmp_path / "phto.png"])
    with pytest.raises(
        DataError, match=r"texts': no images \(.jpg, .png, .tif, .webp, ...\) found"
    ):
        list_images([tmp_path / "texts"])
    assert (
        f"{tmp_path / 'texts'}: no images found"
        in list_images([tmp_path / "texts", tmp_path / "photo.png"]).warnings
    )
