"""The demo's images: real, the same every time, and harmless to write again."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from offshelf.data import demo_images
from offshelf.data.decode import as_rgb
from offshelf.data.demo_images import write_demo
from offshelf.data.tables.image_table import list_images, read_table
from offshelf.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "of offshelf"
    assert write_demo(folder) == folder / "digits"
    return folder


def test_digits(folder: Path) -> None:
    table = read_table(folder / "digits")
    assert table.classes == tuple("0123456789")
    assert (len(table.rows("train")), len(table.rows("test"))) == (1000, 797)
    assert set(Counter(table.labels[row] for row in table.rows("train")).values()) == {100}
    assert table.warnings == ()
    assert as_rgb(table.paths[0]).shape == (32, 32, 3)


def test_photos_and_credits(folder: Path) -> None:
    photos = list_images([folder / "photos"])
    assert [Path(path).name for path in photos.paths] == ["china.jpg", "flower.jpg"]
    assert as_rgb(photos.paths[0]).shape == (427, 640, 3)
    assert "Alpaydin" in (folder / "CREDITS.txt").read_text()


@pytest.mark.slow
def test_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    def fingerprint(place: Path) -> str:
        files = sorted(path for path in place.rglob("*") if path.is_file())
        listing = "".join(
            f"{path.relative_to(place).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in files
        )
        return hashlib.sha256(listing.encode()).hexdigest()

    write_demo(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(folder)
    before = (folder / "digits").stat().st_mtime_ns
    write_demo(folder)
    assert (folder / "digits").stat().st_mtime_ns == before
    assert {path.name for path in folder.iterdir()} == {"digits", "photos", "CREDITS.txt"}


def test_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo_images, "_write_images", fail)
    with pytest.raises(DataError) as caught:
        write_demo(tmp_path)
    assert str(caught.value) == (f"{tmp_path}: the demo cannot be written: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_another_run_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(folder: Path) -> None:
        (folder / "mine").mkdir(parents=True)
        (tmp_path / "digits" / "theirs").mkdir(parents=True)

    monkeypatch.setattr(demo_images, "_write_images", overtaken)
    assert [path.name for path in write_demo(tmp_path).iterdir()] == ["theirs"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match="file: the demo cannot be written: "):
        write_demo(tmp_path / "file")
