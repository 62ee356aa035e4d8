"""Accuracy with and without test images that also stand in the training split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from offshelf.cli.main import main
from offshelf.jobs.fit.evaluation import Leaks
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.measurement.metrics import evaluate


def leaky(root: Path, scenes: Path, copies: list[tuple[str, str]]) -> Path:
    """The scenes, with training images copied into the test split."""
    shutil.copytree(scenes, root)
    for source, target in copies:
        shutil.copy(root / "train" / source, root / "test" / target)
    return root


def test_without_leaks_there_is_no_second_accuracy(fitted: FitResult) -> None:
    document = fitted.to_json()
    assert document["n_test_in_train"] == 0
    assert "accuracy_without_leaks" not in document


def test_leaks_are_counted_and_left_out(tmp_path: Path, scenes: Path, fitted: FitResult) -> None:
    # Two copies under their label, and one under a wrong one: that one is surely missed.
    copies = [("checks/0.png", "checks/a.png"), ("noise/0.png", "noise/a.png")]
    data = leaky(tmp_path / "leaky", scenes, [*copies, ("stripes/0.png", "checks/b.png")])
    result = fit(data)
    document = result.to_json()
    assert document["n_test"] == 15
    assert document["n_test_in_train"] == 3
    assert document["accuracy_without_leaks"] == fitted.evaluation.accuracy
    assert result.leaks.without is not None
    assert result.leaks.without.n == 12
    assert [Path(result.table.paths[row]).name for row in result.leaks.rows] == [
        "a.png",
        "b.png",
        "a.png",
    ]
    assert document["accuracy"] == (result.leaks.without.correct + 2) / 15


def test_a_test_split_of_leaks_only(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "same"
    shutil.copytree(scenes / "train", data / "train")
    shutil.copytree(scenes / "train", data / "test")
    document = fit(data).to_json()
    assert document["n_test_in_train"] == document["n_test"] == 18
    assert document["accuracy_without_leaks"] is None


def test_unreadable_copies_do_not_count(tmp_path: Path, scenes: Path) -> None:
    data = leaky(tmp_path / "broken", scenes, [])
    for split in ("train", "test"):
        (data / split / "noise" / "broken.png").write_bytes(b"no image")
    assert fit(data).to_json()["n_test_in_train"] == 0


def test_the_command_says_it(
    tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = leaky(tmp_path / "leaky", scenes, [("checks/0.png", "checks/a.png")])
    assert main(["fit", str(data), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "1 test image also stands in the training split; accuracy without: " in said
    assert main(["fit", str(scenes), "--quiet"]) == 0
    assert "also stand" not in capsys.readouterr().out


def test_sentences() -> None:
    figures = evaluate(np.array([0, 1]), np.array([0, 0]), ["a", "b"])
    none, some = np.array([], np.int64), np.array([4, 5])
    assert Leaks(none, None).sentence() == ""
    assert Leaks(some, figures).sentence() == (
        "2 test images also stand in the training split; accuracy without: 50.00 %"
    )
    assert Leaks(some[:1], None).sentence() == (
        "1 test image also stands in the training split; no others are left"
    )


@pytest.fixture
def torn(tmp_path: Path, scenes: Path) -> Path:
    """The scenes, with one training image under a second label."""
    shutil.copytree(scenes, tmp_path / "torn")
    train = tmp_path / "torn" / "train"
    shutil.copy(train / "checks" / "0.png", train / "noise" / "copy.png")
    return tmp_path / "torn"


@pytest.mark.parametrize(
    "words", [["fit"], ["curve", "--repeats", "2"], ["compare"]], ids=lambda words: words[0]
)
def test_a_picture_under_two_labels_is_one_note(
    words: list[str], torn: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], str(torn), *words[1:]]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "more than one" in line]
    assert notes == [
        "note: 1 picture has more than one label, for example "
        f"{torn / 'train' / 'checks' / '0.png'} ('checks', 'noise'); see 'offshelf audit'"
    ]
    assert main([words[0], str(scenes), *words[1:]]) == 0
    assert "more than one label" not in capsys.readouterr().err


def test_a_picture_under_two_labels_is_a_warning_of_the_result(
    torn: Path, fitted: FitResult
) -> None:
    (line,) = fit(torn).to_json()["warnings"]
    assert line.startswith("1 picture has more than one label")
    assert fitted.warnings == ()
