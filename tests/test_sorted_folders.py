"""Images sorted into a folder for each class: nothing is replaced, lost, or touched outside."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_run import Run
from offshelf import files
from offshelf.errors import DataError
from offshelf.jobs.predict import PredictFiles, predict
from offshelf.jobs.sorted_folders import SortedImages, folder_names, lies_in, sort_images
from offshelf.prediction import Prediction
from offshelf.progress import Silent

CLASSES = ("cat", "dog")


def photo(path: Path, content: str, label: str | None = "cat", unknown: bool = False) -> Prediction:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return Prediction(
        path=str(path), status="ok", reason="", label=label, scores={}, unknown=unknown
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[Prediction]:
    """Two images of one name, one more, one rejected, and one without a label."""
    return [
        photo(tmp_path / "x" / "a.jpg", "first"),
        photo(tmp_path / "y" / "a.jpg", "second"),
        photo(tmp_path / "x" / "b.jpg", "third", "dog"),
        photo(tmp_path / "x" / "c.jpg", "fourth", "dog", unknown=True),
        photo(tmp_path / "x" / "d.jpg", "", None),
    ]


def sorted_into(folder: Path, rows: list[Prediction], link: bool = False) -> SortedImages:
    return sort_images(rows, CLASSES, folder, Silent(), link)


def tree(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


ALL = {
    "cat/a.jpg": "first",
    "cat/a-2.jpg": "second",
    "dog/b.jpg": "third",
    "unknown/c.jpg": "fourth",
}


@pytest.mark.parametrize("link", [False, True])
def test_once_again_and_in_another_order(
    tmp_path: Path, rows: list[Prediction], link: bool
) -> None:
    os.utime(rows[0].path, (1e9, 1e9))
    before, out = tree(tmp_path), tmp_path / "new" / "out"
    for order, present in ((rows, 0), (rows, 4), (rows[::-1], 4)):
        found = sorted_into(out, order, link)
        assert tree(out) == ALL
        assert (found.present, found.failures) == (present, {})
        assert found.counts == {"cat": 2, "dog": 1, "unknown": 1}
        assert found.files[rows[1].path] == out / "cat" / "a-2.jpg"
    assert {path.is_symlink() for path in out.rglob("*.jpg")} == {link}
    assert (out / "cat" / "a.jpg").stat().st_mtime == 1e9
    shutil.rmtree(tmp_path / "new")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("link", [False, True])
def test_what_cannot_be_written_is_named(
    tmp_path: Path, rows: list[Prediction], link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "odd", None, "names")

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr("os.symlink", full)
    with pytest.raises(DataError) as caught:
        sorted_into(tmp_path / "out", rows, link)
    hint = "; without --link it is copied" if link else ""
    place = tmp_path / "out" / "cat" / "a.jpg"
    assert str(caught.value) == f"{place}: cannot be written (No space left on device){hint}"
    assert tree(tmp_path / "out") == {}


def test_nothing_is_replaced(tmp_path: Path, rows: list[Prediction]) -> None:
    out = tmp_path / "out"
    (out / "cat").mkdir(parents=True)
    (out / "cat" / "a.jpg").write_text("mine")
    (out / "cat" / "a-2.jpg").symlink_to("nowhere")
    for _ in range(2):
        sorted_into(out, rows[:2])
        assert (out / "cat" / "a.jpg").read_text() == "mine"
        assert (out / "cat" / "a-2.jpg").is_symlink()
        assert sorted(path.name for path in (out / "cat").iterdir()) == [
            "a-2.jpg",
            "a-3.jpg",
            "a-4.jpg",
            "a.jpg",
        ]


def test_equal_images_of_one_name_stay_two(tmp_path: Path) -> None:
    same = [photo(tmp_path / folder / "a.jpg", "same") for folder in "xy"]
    for _ in range(2):
        sorted_into(tmp_path / "out", same)
        assert set(tree(tmp_path / "out")) == {"cat/a.jpg", "cat/a-2.jpg"}


def test_long_and_strange_names(tmp_path: Path) -> None:
    names = [f"{'é' * 125}.jpg", "-a\n.jpg", os.fsdecode(b"\xe9.png"), ".hidden.jpg", "none"]
    strange = [photo(tmp_path / folder / name, folder) for name in names for folder in "xy"]
    for _ in range(2):
        sorted_into(tmp_path / "out", strange)
        found = sorted(path.name for path in (tmp_path / "out" / "cat").iterdir())
        assert len(found) == 2 * len(names)
        assert {"-a\n.jpg", "-a\n-2.jpg", "none-2", ".hidden-2.jpg"} <= set(found)


FOLDERS = [
    (["a/b", "a\\b", "a_b"], ("a_b-2", "a_b-3", "a_b")),
    (["..", ".", ".git", " "], ("_", "_-2", "_git", "_-3")),
    (["con", "Aux.x", "__MACOSX", "lpt9"], ("con_", "Aux.x_", "__MACOSX_", "lpt9_")),
    (["a. ", "b\0c", "d\x1b[1m", "é", "e\u0301"], ("a", "b_c", "d_[1m", "é", "e\u0301-2")),
    (["Cat", "cat", "UNKNOWN"], ("Cat", "cat-2", "UNKNOWN")),
    (["x" * 300, "é" * 300], ("x" * 200, "é" * 100)),
]


@pytest.mark.parametrize(("classes", "expected"), FOLDERS)
def test_names_of_classes_that_are_none_of_folders(
    classes: list[str], expected: tuple[str, ...], tmp_path: Path
) -> None:
    *found, unknown, unlike = folder_names(classes)
    assert tuple(found) == expected
    assert unknown == ("unknown-2" if "UNKNOWN" in classes else "unknown")
    assert unlike == "unlike"
    every = [
        photo(tmp_path / "x" / f"{number}.jpg", name, name) for number, name in enumerate(classes)
    ]
    sort_images(every, classes, tmp_path / "out" / "in", Silent())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in"]
    assert sorted(path.name for path in (tmp_path / "out" / "in").iterdir()) == sorted(expected)


def test_images_unlike_the_training_images_stand_apart(tmp_path: Path) -> None:
    classes = ("cat", "Unlike")
    rows = [
        photo(tmp_path / "x" / f"{name}.jpg", name, label, unknown)
        for name, label, unknown in (
            ("a", "cat", False),
            ("b", "cat", True),
            ("c", "Unlike", False),
        )
    ]
    rows = [dataclasses.replace(row, unlike=row.path[-5] != "c") for row in rows]
    found = sort_images(rows, classes, tmp_path / "out", Silent())
    assert tree(tmp_path / "out") == {
        "unlike-2/a.jpg": "a",
        "unknown/b.jpg": "b",
        "Unlike/c.jpg": "c",
    }
    assert (found.unlike, found.to_json()["unlike"]) == ("unlike-2", "unlike-2")


def test_an_image_that_has_gone_is_told(tmp_path: Path, rows: list[Prediction]) -> None:
    Path(rows[0].path).unlink()
    found = sorted_into(tmp_path / "out", rows[:2])
    assert found.failures == {rows[0].path: "No such file or directory"}
    assert repr(found) == (
        f"SortedImages\nsorted   1 copy in 1 folder in {tmp_path}/out\nfolders  cat 1\nfailed   1"
    )
    assert tree(tmp_path / "out") == {"cat/a.jpg": "second"}


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_where_another_program_was_quicker(
    tmp_path: Path, rows: list[Prediction], links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = Path.hardlink_to

    def quicker(target: Path, temporary: Path) -> None:
        if not links:
            raise OSError(95, "Operation not supported")
        if target.name == "a.jpg":
            target.write_text("theirs")
        linked(target, temporary)

    monkeypatch.setattr(Path, "hardlink_to", quicker)
    sorted_into(tmp_path / "out", rows[:1])
    mine, theirs = ("a-2", {"cat/a.jpg": "theirs"}) if links else ("a", {})
    assert tree(tmp_path / "out") == {f"cat/{mine}.jpg": "first", **theirs}


@pytest.mark.slow
def test_killed_and_run_again(tmp_path: Path, rows: list[Prediction]) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from offshelf import files
from offshelf.jobs.sorted_folders import sort_images
from offshelf.prediction import Prediction
from offshelf.progress import Silent
left, sync = [int(sys.argv[1])], files._sync
def stop(path):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(path)
files._sync = stop
given = [one.split("=") for one in sys.argv[3:]]
rows = [Prediction(path=p, status="ok", reason="", label=l, scores={}) for p, l in given]
sort_images(rows, ("cat", "dog"), Path(sys.argv[2]), Silent())
"""
    out = tmp_path / "out"
    given = [f"{row.path}={row.label}" for row in rows[:3]]
    for stop in (1, 2):
        words = [sys.executable, "-c", code, str(stop), str(out), *given]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        left = [path.name for path in (out / "cat").iterdir()]
        assert any(files.FILE_NAME.fullmatch(name) for name in left)
    sorted_into(out, rows)
    assert tree(out) == ALL


def test_several_at_once(tmp_path: Path, rows: list[Prediction]) -> None:
    import threading

    many = [photo(tmp_path / f"f{n}" / "a.jpg", f"{n}") for n in range(30)]
    threads = [
        threading.Thread(target=sorted_into, args=(tmp_path / "out", order))
        for order in (many, many[::-1], many)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ["a.jpg", *(f"a-{number}.jpg" for number in range(2, 31))]
    found = tree(tmp_path / "out")
    assert set(found) == {f"cat/{name}" for name in names}
    assert set(found.values()) == {f"{n}" for n in range(30)}


def test_no_way_out_of_the_folder(tmp_path: Path, rows: list[Prediction]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "mine").mkdir()
    (out / "dog").symlink_to(tmp_path / "mine")
    with pytest.raises(DataError) as caught:
        sorted_into(out, rows)
    assert str(caught.value) == (f"{out}/dog: is a link, which may lead out of {out}; remove it")
    (out / "dog").unlink()
    for name in ("unknown", "unlike"):
        (out / name).touch()
        with pytest.raises(DataError) as caught:
            sorted_into(out, rows)
        assert str(caught.value) == f"{out}/{name}: is a file where a folder for images is needed"
        assert tree(out) == {name: ""}
        (out / name).unlink()
    assert not any((tmp_path / "mine").iterdir())


def test_what_lies_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    names = ["in/a", "in/deep/../a", "in/deep/b", "in2/c", "d", "link/a", "in/../d"]
    paths = [f"{tmp_path}/{name}" for name in names]
    expected = [True, True, True, False, False, True, False]
    for folder in ("in", "link", "in/deep/.."):
        assert lies_in(tmp_path / folder, paths) == expected
    assert lies_in(tmp_path / "new", paths) == [False] * len(paths)


@pytest.mark.slow
def test_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, scenes: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(scenes / "test", photos)
    (photos / "empty.png").touch()
    out = photos / "sorted"
    words = ("predict", model, photos, "--sort-into", out)
    run = Run(capsys, *words)
    assert (run.code, run.err) == (0, "")
    assert "\nimages  12, 1 left out; all features " in run.out
    assert f"\nsorted  12 copies in 3 folders in {out}\nleft out: {photos}/empty" in run.out
    made = {path.relative_to(out) for path in out.rglob("*.png")}
    again = Run(capsys, *words, "--link", "--json")
    note = f"note: {out}: 12 images in it left out, as it is sorted into\n"
    assert (again.code, again.err) == (0, note)
    assert {path.relative_to(out) for path in out.rglob("*.png")} == made
    document = again.document["sorted"]
    assert (document["present"], len(document["files"])) == (12, 12)
    assert document["counts"] == {"checks": 4, "noise": 4, "stripes": 4}
    assert "\nsorted  0 copies in 3 folders in " in (third := Run(capsys, *words).out)
    assert ", 12 were there before\n" in third
    refused = Run(capsys, "predict", model, out, "--sort-into", out)
    assert refused.err == f"error: {out}: all images lie in it; sort them into another folder\n"
    assert Run(capsys, "predict", model, photos, "--link").err == (
        "error: --link: makes the links of --sort-into DIR; give that, too\n"
    )


def test_a_file_is_no_folder_to_sort_into(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(DataError, match=r"^the name of the folder to sort .* is empty$"):
        predict("no", ["no"], written=PredictFiles(sort_into=""))
    for place, text in (
        ("f", "{}: is no folder; name one to sort the images into"),
        ("f/g", "{}: cannot be written ({root}/f is no folder)"),
    ):
        with pytest.raises(DataError) as caught:
            predict("no", ["no"], written=PredictFiles(sort_into=tmp_path / place))
        expected = text.replace("{}", f"{tmp_path}/{place}").replace("{root}", str(tmp_path))
        assert str(caught.value) == expected
