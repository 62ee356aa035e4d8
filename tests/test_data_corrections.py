"""Corrections: what a person decides about labels after an audit, and its effect everywhere."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_run import Run
from offshelf.data.tables.corrections import (
    COLUMNS,
    Correction,
    corrected,
    read_corrections,
    write_corrections,
)
from offshelf.data.tables.image_table import ImageTable, read_table
from offshelf.errors import DataError
from offshelf.files import sha256_file

Write = Callable[..., Path]


@pytest.fixture
def table(scenes: Path) -> ImageTable:
    return read_table(scenes)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file that decides about images; True gives the right hash."""

    def to_file(*rows: tuple[object, str], separator: str = ",", digest: str = "") -> Path:
        file = tmp_path / "corrections.csv"
        lines = [separator.join(COLUMNS)]
        for path, decision in rows:
            known = digest or (sha256_file(Path(str(path))) if Path(str(path)).exists() else "0")
            lines.append(separator.join((str(path), known, "noise", "", decision)))
        file.write_text("\n".join(lines) + "\n")
        return file

    return to_file


def test_decisions_relabel_and_leave_out(table: ImageTable, write: Write, scenes: Path) -> None:
    one, two, three = (scenes / "train" / "noise" / f"{n}.png" for n in range(3))
    file = write((one, "Stripes "), (two, "LEAVE OUT"), (three, ""))
    found = corrected(table, file)
    assert len(found) == len(table) - 1
    assert str(two) not in found.paths
    assert found.labels[found.paths.index(str(one))] == "stripes"
    assert found.labels[found.paths.index(str(three))] == "noise"
    assert found.splits[found.paths.index(str(one))] == "train"
    assert list(zip(found.splits, found.labels, strict=True)) == sorted(
        zip(found.splits, found.labels, strict=True), key=lambda pair: (pair[0] != "train", pair[1])
    )
    assert found.warnings[-1] == f"{file}: 1 image relabelled, 1 left out"
    assert found.corrected is not None
    assert found.corrected.sha256 == sha256_file(file)


def test_without_a_file_nothing_changes(table: ImageTable) -> None:
    assert corrected(table, None) is table


def test_a_file_without_decisions_says_so(table: ImageTable, write: Write, scenes: Path) -> None:
    file = write((scenes / "train" / "noise" / "0.png", ""))
    found = corrected(table, file)
    assert (found.paths, found.labels) == (table.paths, table.labels)
    assert found.warnings[-1] == f"{file}: no decisions yet; fill in its column decision"


def test_a_changed_file_is_said_and_left_as_it_is(
    table: ImageTable, write: Write, scenes: Path
) -> None:
    image = scenes / "train" / "noise" / "0.png"
    file = write((image, "leave out"), digest="ab" * 32)
    found = corrected(table, file)
    assert str(image) in found.paths
    assert found.warnings[-2:] == (
        f"{file}: 0 images relabelled, 0 left out",
        f"{file}: row 2: {image} has changed since the decision, which has no effect; audit it "
        "again, or remove the row",
    )


def test_what_is_not_in_the_data_is_said_and_counted(
    table: ImageTable, write: Write, scenes: Path
) -> None:
    known = (scenes / "train" / "noise" / "0.png", "noise")
    file = write(*((f"/none/{n}.png", "noise") for n in range(13)), known)
    *_, counts, first, second = corrected(table, file).warnings[:3]
    assert counts.endswith("0 images relabelled, 0 left out")
    assert first == (
        f"{file}: row 2: /none/0.png is not an image of the data; the decision has no effect"
    )
    assert "row 3" in second
    assert corrected(table, file).warnings[-1] == f"{file}: 3 more rows like these"


@pytest.mark.parametrize(
    ("number", "its"), [(6, "none of its 6 decisions is"), (1, "its decision is not")]
)
def test_a_file_about_other_data_is_refused(
    write: Write, scenes: Path, capsys: pytest.CaptureFixture[str], number: int, its: str
) -> None:
    file = write(*((f"/none/{n}.png", "noise") for n in range(number)))
    run = Run(capsys, "fit", scenes, "--corrections", file)
    assert (run.code, run.err) == (
        2,
        f"error: {file}: {its} about an image of {scenes}; the first is about /none/0.png; give "
        "the file that was written for this data, or a new name to 'offshelf audit DATA "
        "--corrections FILE.csv'\n",
    )


def test_a_row_without_a_hash_is_about_whatever_is_there(
    table: ImageTable, tmp_path: Path, scenes: Path
) -> None:
    image = scenes / "train" / "noise" / "0.png"
    file = tmp_path / "c.csv"
    file.write_text(f"path,hash,decision\n{image},,leave out\n")
    found = corrected(table, file)
    assert str(image) not in found.paths
    assert found.warnings[-1] == f"{file}: 0 images relabelled, 1 left out"
    # Nor does a suggestion take the place of such a decision.
    one = Correction(path=str(image), sha256="1", label="noise", suggestion="checks")
    assert write_corrections([one], file) == 0
    assert read_corrections(file)[0].decision == "leave out"


def test_moved_and_renamed_images_are_found_by_hash(
    write: Write, scenes: Path, tmp_path: Path
) -> None:
    data, moved = tmp_path / "data", tmp_path / "moved"
    shutil.copytree(scenes, data)
    noise = data / "train" / "noise"
    shutil.copy(noise / "0.png", noise / "again.png")
    file = write((noise / "again.png", "leave out"), (noise / "1.png", "checks"))
    data.rename(moved)
    noise = moved / "train" / "noise"
    (noise / "1.png").rename(noise / "one.png")
    found = corrected(read_table(moved), file)
    # Of two copies the one that has the name.
    assert str(noise / "0.png") in found.paths
    assert str(noise / "again.png") not in found.paths
    assert found.labels[found.paths.index(str(noise / "one.png"))] == "checks"
    assert found.warnings[-1] == f"{file}: 1 image relabelled, 1 left out"


def test_images_that_swapped_names_or_moved_up_by_one_are_found_by_hash(
    write: Write, scenes: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    noise = data / "train" / "noise"
    file = write((noise / "1.png", "checks"), (noise / "2.png", "leave out"))
    first, second = (noise / f"{number}.png" for number in (1, 2))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    found = corrected(read_table(data), file)
    assert str(first) not in found.paths
    assert found.labels[found.paths.index(str(second))] == "checks"
    assert found.warnings[-1] == f"{file}: 1 image relabelled, 1 left out"
    # As where the first of a numbered series is deleted.
    first.write_bytes(contents[1])
    second.write_bytes((noise / "3.png").read_bytes())
    found = corrected(read_table(data), file)
    assert str(first) not in found.paths
    assert str(second) in found.paths
    assert any("has changed since the decision" in line for line in found.warnings)


@pytest.mark.parametrize("folder", ["data", "."])
def test_paths_may_be_relative(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    # Beside the file first; else where the command runs.
    file = data / "c.csv"
    monkeypatch.chdir(tmp_path / folder)
    path = "train/noise/0.png" if folder == "data" else "data/train/noise/0.png"
    file.write_text(f"path,hash,decision\n{path},,leave out\n")
    assert str(data / "train/noise/0.png") not in corrected(read_table(data), file).paths
    monkeypatch.chdir("/")
    file.write_text("path,hash,decision\ntrain\\noise\\0.png,,leave out\n")
    assert str(data / "train/noise/0.png") not in corrected(read_table(data), file).paths


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (
            "nois",
            "row 2: the decision 'nois' is neither a class of the data nor 'leave out'. Did you "
            "mean 'noise'?",
        ),
        ("delete", "row 2: the decision 'delete' is neither a class of the data nor 'leave out'."),
    ],
)
def test_an_unknown_decision_is_one_line(
    table: ImageTable, write: Write, scenes: Path, decision: str, text: str
) -> None:
    file = write((scenes / "train" / "noise" / "0.png", decision))
    with pytest.raises(DataError) as error:
        corrected(table, file)
    assert str(error.value).removesuffix(" ") == f"{file}: {text}"


def test_blank_lines_move_no_row_number(table: ImageTable, write: Write, scenes: Path) -> None:
    file = write((scenes / "train" / "noise" / "0.png", "nois"))
    header, row = file.read_text().splitlines()
    file.write_text(f"{header}\n\n\n{row}\n")
    with pytest.raises(DataError, match=r"row 4: the decision 'nois'"):
        corrected(table, file)


def test_two_decisions_about_an_image_are_refused(write: Write, scenes: Path) -> None:
    image = scenes / "train" / "noise" / "0.png"
    file = write((image, "checks"), (image, "leave out"))
    with pytest.raises(DataError) as error:
        read_corrections(file)
    assert str(error.value) == (
        f"{file}: rows 2 and 3 decide differently about {image}; keep one of them"
    )


def test_a_class_without_training_images_is_refused(
    table: ImageTable, write: Write, scenes: Path
) -> None:
    every = sorted((scenes / "train" / "noise").iterdir())
    with pytest.raises(DataError, match="1 class is only in test, where none can be predicted"):
        corrected(table, write(*((path, "checks") for path in every)))


def test_spreadsheets_may_write_it(table: ImageTable, write: Write, scenes: Path) -> None:
    file = write((scenes / "train" / "noise" / "0.png", "checks"), separator=";")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert corrected(table, file).labels.count("checks") == 11
    assert write_corrections([], file) == 0


@pytest.mark.parametrize(
    ("encoding", "layout"),
    [
        ("utf-8", {"quoting": csv.QUOTE_ALL}),
        ("utf-8-sig", {"quoting": csv.QUOTE_ALL, "delimiter": ";"}),
        ("utf-8-sig", {"delimiter": "\t"}),
        ("utf-16", {"delimiter": "\t"}),
    ],
)
@pytest.mark.parametrize("step", [1, -1])
def test_saved_in_any_way_it_can_be_written_again(
    tmp_path: Path, encoding: str, layout: dict[str, Any], step: int
) -> None:
    file = tmp_path / "c.csv"
    rows = [COLUMNS, ("/d/1.png", "0", "a", "b", "leave out")]
    with file.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, **layout).writerows(row[::step] for row in rows)
    assert write_corrections([], file) == 0
    assert file.read_text() == "path,hash,label,suggestion,decision\n/d/1.png,0,a,b,leave out\n"


def test_columns_of_a_person_stay(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(
        "path,hash,decision,Who,\n/d/1.png,0,leave out,Ann,\n/d/2.png,0,,Bob,\n/d/3.png,0,,Cy,\n"
    )
    two = Correction(path="/d/2.png", sha256="1", label="a", suggestion="b")
    assert write_corrections([two], file) == 1
    assert file.read_text() == (
        "path,hash,label,suggestion,decision,who\n/d/1.png,0,,,leave out,Ann\n/d/2.png,1,a,b,,Bob\n"
    )


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("path,hash,decision,Decision\n/d/1.png,0,leave out,\n")
    with pytest.raises(DataError, match=r"c.csv: has two columns 'decision'; keep one of them$"):
        write_corrections([], file)


def test_a_decision_about_other_bytes_gives_way_to_a_suggestion(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("path,hash,label,suggestion,decision\n/d/1.png,0,a,b,leave out\n")
    one = Correction(path="/d/1.png", sha256="1", label="a", suggestion="c")
    assert write_corrections([one], file) == 1
    (found,) = read_corrections(file)
    assert (found.sha256, found.suggestion, found.decision) == ("1", "c", "")


def test_decisions_are_kept_when_new_suggestions_come(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    first = [Correction(path=f"/d/{n}.png", sha256="0", label="a", suggestion="b") for n in "12"]
    assert write_corrections(first, file) == 2
    file.write_text(file.read_text().replace("/d/1.png,0,a,b,", "/d/1.png,0,a,b,leave out"))
    third = Correction(path="/d/3.png", sha256="0", label="a", suggestion="b")
    assert write_corrections([first[0], third], file) == 1
    rows = {one.path: one.decision for one in read_corrections(file)}
    assert rows == {"/d/1.png": "leave out", "/d/3.png": ""}


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("c.txt", "", "a file of corrections ends in .csv"),
        ("c.csv", "path,label\n", "exists and is no file of corrections, so it is not replaced"),
    ],
)
def test_other_files_are_not_replaced(
    tmp_path: Path,
    scenes: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    text: str,
) -> None:
    file = tmp_path / name
    file.write_text(content)
    run = Run(capsys, "audit", scenes, "--corrections", file)
    assert run.code == 2
    assert text in run.err
    assert file.read_text() == content


@pytest.mark.slow
def test_audit_decide_fit(tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: a misplaced image and a leaked one, decided about, and measured without."""
    data, file, model = tmp_path / "data", tmp_path / "c.csv", tmp_path / "m.offshelf"
    shutil.copytree(scenes, data)
    shutil.move(data / "test" / "noise" / "0.png", data / "test" / "checks" / "n.png")
    shutil.copy(data / "train" / "noise" / "1.png", data / "test" / "noise" / "leak.png")
    run = Run(capsys, "audit", data, "--corrections", file, "--margin", "0.2", "--quiet")
    assert f"next: look at what is listed, and fill in the column decision of {file};" in run.out
    rows = {Path(row["path"]).name: row for row in csv.DictReader(file.open())}
    assert rows["n.png"]["suggestion"] == "noise"
    assert rows["n.png"]["hash"] == sha256_file(data / "test" / "checks" / "n.png")
    assert (rows["leak.png"]["suggestion"], rows["leak.png"]["decision"]) == ("leave out", "")
    assert run.out.endswith(f"{len(rows)} images to decide about in {file}\n")
    lines = [",".join(COLUMNS)]
    for name in ("n.png", "leak.png"):
        row = rows[name]
        lines.append(",".join([*list(row.values())[:4], row["suggestion"]]))
    file.write_text("\n".join(lines) + "\n")
    fitted = Run(capsys, "fit", data, "--out", model, "--corrections", file)
    assert "corrected   1 image relabelled, 1 left out\n" in fitted.out
    assert f"note: {file}: 1 image relabelled, 1 left out\n" in fitted.err
    assert "Wrong" not in fitted.out
    from offshelf.model_file.model import load_model

    assert load_model(model).data["corrections"] == {
        "relabelled": 1,
        "left_out": 1,
        "sha256": sha256_file(file),
    }
    again = Run(capsys, "audit", data, "--corrections", file, "--margin", "0.2", "--quiet")
    assert "corrected  1 image relabelled, 1 left out\n" in again.out
    assert {one.decision for one in read_corrections(file)} >= {"noise", "leave out"}
    compared = Run(capsys, "compare", data, "--corrections", file)
    assert "corrections: 1 image relabelled, 1 left out\n" in compared.out
    curve = Run(capsys, "curve", data, "--corrections", file, "--quiet")
    assert "corrected  1 image relabelled, 1 left out\n" in curve.out


def test_a_file_that_is_missing_is_refused_where_it_is_needed(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(capsys, "fit", scenes, "--corrections", "none.csv")
    assert (run.code, run.err) == (
        2,
        "error: none.csv: cannot be read: No such file or directory\n",
    )
