"""Frames of made-up clips: what divides a clip flatters, and what keeps it whole is honest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offshelf
from made_clips import PATTERN, write_clips
from offshelf import TransferClassifier
from offshelf.cli.main import main
from offshelf.jobs.fit.fit_result import FitResult

pytestmark = pytest.mark.slow
# What the division of clips adds to the accuracy at least, and how far an honest one may be off.
FLATTERY, OFF = 0.08, 0.08
# A split tests a quarter of the clips, whose accuracy moves by chance: the mean of several counts.
SEEDS = range(6)
WAYS = ("none", PATTERN)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of five frames of each of three classes."""
    return write_clips(tmp_path_factory.mktemp("clips") / "data")


@pytest.fixture(scope="module")
def fits(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[FitResult]]:
    """Fits that divide clips, and fits that do not."""
    folder = tmp_path_factory.mktemp("models")
    return {
        groups: [
            offshelf.fit(clips, folder / f"{place} {seed}.offshelf", groups=groups, seed=seed)
            for seed in SEEDS
        ]
        for place, groups in enumerate(WAYS)
    }


@pytest.fixture(scope="module")
def unseen(
    fits: dict[str, list[FitResult]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """What those models say of frames of 120 clips that none of them saw."""
    images = write_clips(tmp_path_factory.mktemp("unseen"), clips=40, frames=1, seed=100)
    return {
        groups: [offshelf.evaluate(str(one.path), images).to_json() for one in made]
        for groups, made in fits.items()
    }


@pytest.fixture(scope="module")
def truth(unseen: dict[str, list[dict[str, Any]]]) -> float:
    """The accuracy on images of other clips."""
    return float(np.mean([one["accuracy"] for one in unseen[PATTERN]]))


def check(flattering: float, honest: float, truth: float) -> None:
    assert flattering > truth + FLATTERY
    assert abs(honest - truth) < OFF


def test_fit(fits: dict[str, list[FitResult]], truth: float) -> None:
    found = [np.mean([one.evaluation.accuracy for one in fits[groups]]) for groups in WAYS]
    check(float(found[0]), float(found[1]), truth)


def test_the_interval_over_clips(fits: dict[str, list[FitResult]], truth: float) -> None:
    """Images of a clip are right or wrong together, so fewer than there are tell the accuracy."""
    for one in fits[PATTERN]:
        assert one.group_interval is not None
        low, high = one.group_interval
        assert low < one.evaluation.accuracy_interval[0]
        assert low < truth < high
        assert one.to_json()["accuracy_interval_of_groups"] == [low, high]
        assert (
            "images of a group are alike: over groups, the 95 % interval of the accuracy is "
            f"{100 * low:.2f} to {100 * high:.2f} %\n"
        ) in str(one)
    assert fits["none"][0].group_interval is None
    assert fits["none"][0].to_json()["accuracy_interval_of_groups"] is None


def test_probabilities_of_a_fit(unseen: dict[str, list[dict[str, Any]]]) -> None:
    """Where folds divide clips, a model is surer of other clips than it should be."""
    for figure, more in (("log_loss", 0.05), ("ece", 0.02)):
        apart, whole = (np.mean([one[figure] for one in unseen[groups]]) for groups in WAYS)
        assert apart > whole + more


@pytest.mark.parametrize("protocol", ["k-fold", "repeats"])
def test_compare(clips: Path, truth: float, protocol: str) -> None:
    options: dict[str, Any] = {"protocol": protocol, "folds": 4, "per_class": 45, "repeats": 6}
    found = [
        offshelf.compare(clips, groups=groups, **options).rows[0].score.accuracy for groups in WAYS
    ]
    check(found[0], found[1], truth)


def test_compare_with_a_made_split(clips: Path, truth: float) -> None:
    found = [
        np.mean(
            [
                offshelf.compare(clips, groups=groups, seed=seed).rows[0].score.accuracy
                for seed in SEEDS
            ]
        )
        for groups in WAYS
    ]
    check(float(found[0]), float(found[1]), truth)


def test_curve(clips: Path, truth: float) -> None:
    found = [
        np.mean(
            [
                offshelf.curve(clips, groups=groups, sizes=[36], repeats=2, seed=seed).accuracies
                for seed in SEEDS
            ]
        )
        for groups in WAYS
    ]
    check(float(found[0]), float(found[1]), truth)


@pytest.mark.parametrize("head", ["svm", "logistic", "ridge", "lda"])
def test_c_is_judged_on_other_clips(clips: Path, head: str) -> None:
    found = {}
    for groups in WAYS:
        chosen = offshelf.fit(clips, groups=groups, head=head, C="auto").model.head.parameters
        found[groups] = (
            float(np.mean(chosen["fold_accuracies"], axis=1).max())
            if "fold_accuracies" in chosen
            else 1 - min(chosen["left_out_errors"])
        )
    assert found["none"] > found[PATTERN] + FLATTERY


def test_the_fully_connected_head_stops_on_other_clips(clips: Path, few_epochs: None) -> None:
    loss = {
        groups: offshelf.fit(clips, groups=groups, head="fc").model.head.parameters[
            "validation_loss"
        ]
        for groups in WAYS
    }
    assert loss[PATTERN] > 1.2 * loss["none"]


def test_audit(tmp_path: Path) -> None:
    """The frames of a clip that is labelled wrongly confirm each other, where folds divide it."""
    data = write_clips(tmp_path / "data", strength=22, frames=8)
    wrong = {path.name for path in (data / "class0").glob("clip0[03]-*.png")}
    for name in wrong:
        (data / "class0" / name).rename(data / "class1" / name)
    found = []
    for groups in WAYS:
        doubted = offshelf.audit(data, groups=groups).of_kind("doubtful_label")
        found.append(len({Path(one.images[0].path).name for one in doubted} & wrong))
    assert found[0] < found[1] == len(wrong)


def test_the_estimator(clips: Path) -> None:
    files = sorted(clips.rglob("*.png"))
    labels = [path.parent.name for path in files]
    groups = [path.name.split("-")[0] for path in files]
    apart, whole = (
        TransferClassifier(C="auto").fit(files, labels, groups=each) for each in (None, groups)
    )
    sure = [one.predict_proba(files).max(axis=1).mean() for one in (apart, whole)]
    assert sure[0] > sure[1] + 0.05
    best = [
        np.mean(one.head_.parameters["fold_accuracies"], axis=1).max() for one in (apart, whole)
    ]
    assert best[0] > best[1] + FLATTERY


def test_the_command_line(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"fit": [], "curve": ["--sizes", "8"], "audit": [], "compare": ["--protocol", "k-fold"]}
    for command, more in words.items():
        assert main([command, str(clips), "--groups", PATTERN, *more]) in (0, 1)
        assert "36 groups of 180 images, kept together in every split" in capsys.readouterr().err


@pytest.fixture(scope="module")
def copies(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are each there four times, under labels that say nothing of them."""
    file = tmp_path_factory.mktemp("copies") / "t.csv"
    draw = np.random.default_rng(1)
    lines = ["path,label,split"]
    for path in sorted(scenes.rglob("*.png")):
        label = draw.choice(["one", "two"])
        lines += [f"{path},{label},{path.parent.parent.name}"] * 4
    # A table names an image once; a copy has another name.
    for number in range(1, len(lines)):
        path, *rest = lines[number].split(",")
        copy = file.with_name(f"{number}.png")
        copy.write_bytes(Path(path).read_bytes())
        lines[number] = ",".join([copy.name, *rest])
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize("head", ["svm", "logistic", "ridge", "lda"])
def test_copies_are_held_out_together(copies: Path, head: str) -> None:
    """Each image is told from its copies, and by chance without them."""
    chosen = offshelf.fit(copies, head=head, C="auto").model.head.parameters
    assert np.mean(chosen["fold_accuracies"], axis=1).max() < 0.75


def test_copies_do_not_make_sure(copies: Path) -> None:
    found = offshelf.fit(copies).model.certainty
    sure = found.probabilities(np.array([[-1.0, 1.0]], np.float32))
    assert sure is not None
    assert sure.max() < 0.8


def test_compare_holds_copies_out_as_fit_does(copies: Path) -> None:
    row = offshelf.compare(copies, C=["auto"], heads=["svm"], protocol="given").rows[0]
    assert row.c == (offshelf.fit(copies, C="auto").model.head.parameters["C"],)


def test_the_estimator_holds_copies_out(copies: Path) -> None:
    table = [line.split(",") for line in copies.read_text().splitlines()[1:]]
    files, labels = [copies.parent / row[0] for row in table], [row[1] for row in table]
    chosen = TransferClassifier(C="auto").fit(files, labels).head_.parameters
    assert np.mean(chosen["fold_accuracies"], axis=1).max() < 0.75
