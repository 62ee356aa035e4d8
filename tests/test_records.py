"""Sealed documents: read as they were written, or not at all."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from offshelf import sealed_json
from offshelf.progress import Silent, notifying

DOCUMENT = {"name": "Straße \udc80", "numbers": [1, 2.5, math.inf], "nothing": None}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    sealed_json.write(tmp_path / "a.json", DOCUMENT)
    assert sealed_json.read(tmp_path / "a.json") == DOCUMENT
    sealed_json.write(tmp_path / "nan.json", {"value": math.nan})
    found = sealed_json.read(tmp_path / "nan.json")
    assert found is not None
    assert math.isnan(found["value"])


@pytest.mark.parametrize("damage", ["digit", "cut", "moved", "folder", "number", "empty"])
def test_what_was_not_written_is_set_aside_and_said_once(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.json"
    sealed_json.write(path, DOCUMENT)
    if damage == "digit":
        path.write_text(path.read_text().replace("2.5", "2.6"))
    elif damage == "cut":
        path.write_text(path.read_text()[:-9])
    elif damage == "moved":
        path = path.rename(tmp_path / "b.json")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_text("7" if damage == "number" else "")
    with notifying(told := Silent()):
        assert sealed_json.read(path) is None
        assert sealed_json.read(path) is None
    assert told.notes == [f"{path}: damaged, set aside; it is made again"]
    assert path.with_suffix(".damaged").exists()
    assert not path.exists()


def test_damage_may_come_again(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.touch()
    assert sealed_json.set_aside(path)
    for number in range(2):
        path.mkdir()
        (path / f"{number}.txt").touch()
        assert sealed_json.set_aside(path)
        assert [file.name for file in (tmp_path / "folder.damaged").iterdir()] == [f"{number}.txt"]
    assert not sealed_json.set_aside(path)
