"""Learning curves: sizes, what is measured, what is extrapolated, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import offshelf
from offshelf.cli.main import main
from offshelf.errors import DataError, HeadError
from offshelf.jobs.curve import CurveSettings, learning_curve
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings
from offshelf.measurement.learning_curve.lookahead import (
    Needed,
    halved_sizes,
    images_needed,
    next_accuracy,
    student_interval,
)
from offshelf.measurement.learning_curve.measured_curve import LearningCurve, fit_curve
from offshelf.measurement.metrics import wilson
from offshelf.progress import Silent
from offshelf.report.pictures.learning_chart import curve_chart, curve_sentences, curve_table

SIZES = [5, 10, 20, 40, 80]
WOBBLE = np.array([-0.004, 0.0, 0.004])


def smooth(limit: float = 0.95) -> LearningCurve:
    return fit_curve(SIZES, [limit - 0.6 * n**-0.7 + WOBBLE for n in SIZES])


@pytest.mark.parametrize(
    ("smallest", "sizes"),
    [
        (100, (6, 12, 25, 50, 100)),
        (40, (5, 10, 20, 40)),
        (39, (4, 9, 19, 39)),
        (6, (1, 3, 6)),
        (1, (1,)),
        (1000, (7, 15, 31, 62, 125, 250, 500, 1000)),
    ],
)
def test_sizes_double_up_to_the_smallest_class(smallest: int, sizes: tuple[int, ...]) -> None:
    assert halved_sizes(smallest) == sizes


def test_images_for_an_accuracy_with_their_interval() -> None:
    curve = smooth()
    needed = images_needed(curve, 0.935)
    assert needed.n is not None
    assert curve.at(needed.n).accuracy >= 0.935 > curve.at(needed.n - 1).accuracy
    assert needed.early is not None
    assert needed.early < needed.n
    assert needed.late is None or needed.late > needed.n
    early = curve.at(needed.early).high
    assert early is not None
    assert early >= 0.935
    assert images_needed(curve, 0.999) == Needed(0.999, None, None, None, 320)
    below = images_needed(curve, 0.85)
    assert below.n is not None
    assert below.n < 80


def test_what_the_next_accuracy_is() -> None:
    assert next_accuracy(smooth()) == 0.93
    assert next_accuracy(fit_curve([5, 10], [[0.9], [0.9298]])) == 0.94
    assert next_accuracy(fit_curve([5, 10], [[1.0], [1.0]])) is None
    # The fit lies below what was measured at the largest size.
    short = fit_curve([5, 10, 20, 40], [[0.60], [0.62], [0.66], [0.8298]])
    assert short.at(40).accuracy < 0.8275
    assert next_accuracy(short) == 0.84


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    from scipy import stats

    values = np.array([0.90, 0.93, 0.91, 0.92])
    expected = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert student_interval(values) == pytest.approx(expected)
    assert student_interval(values[:1]) is None
    assert student_interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_a_learning_curve_of_images(scenes: Path, fitted: FitResult) -> None:
    told = Silent()
    result = learning_curve(scenes, settings=CurveSettings(repeats=3), progress=told)
    assert [point.n for point in result.curve.points] == [1, 3, 6]
    assert result.accuracies.shape == (3, 3)
    assert (result.draws, result.n_test) == ((3, 3, 1), 12)
    assert result.intervals[2] is None
    assert result.accuracies[2].tolist() == [fitted.evaluation.accuracy] * 3
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["doubts"][0] == "needs at least 4 sizes, has 3 (--sizes names them)"
    assert document["points"][0]["n"] == 1
    assert {"backbone", "layer", "head", "C", "seconds", "needed"} <= set(document)
    again = learning_curve(scenes, settings=CurveSettings(repeats=3))
    np.testing.assert_array_equal(again.accuracies, result.accuracies)


def test_the_text_says_how_far_off_an_extrapolation_was(scenes: Path) -> None:
    result = learning_curve(scenes, settings=CurveSettings(repeats=2))
    curve = dataclasses.replace(result.curve, backtest=0.0123)
    line = "extrapolated from the smaller sizes, the largest is off by 1.23 points"
    assert line not in str(result)
    assert "backtest  none: needs 5 sizes or more, measured: 3 sizes (--sizes)\n" in str(result)
    assert f"backtest  {line}\n" in str(dataclasses.replace(result, curve=curve))


def test_the_text_names_features_head_and_changed_preprocessing(scenes: Path) -> None:
    features, head = FeatureSettings(resize="crop", grey="luma"), HeadSettings("centroid")
    settings = CurveSettings([2, 4], repeats=1)
    text = str(learning_curve(scenes, settings=settings, features=features, head=head))
    line = "efficientnet_lite0 penultimate, avg, head centroid; resize crop, grey luma"
    assert f"features  {line}\n" in text


def test_it_is_a_public_name() -> None:
    assert offshelf.learning_curve is learning_curve


def test_unreadable_images_are_left_out(tmp_path: Path, scenes: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    (data / "train" / "noise" / "5.png").write_bytes(b"")
    result = learning_curve(data, settings=CurveSettings(repeats=1))
    assert result.curve.points[-1].n == 5
    assert len(result.extraction.failures) == 1


def test_sizes_twice_are_sizes_once(scenes: Path) -> None:
    result = learning_curve(scenes, settings=CurveSettings([4, 2, 4], repeats=2))
    assert [point.n for point in result.curve.points] == [2, 4]


REFUSED = [
    (
        CurveSettings([2, 7]),
        "7 training images per class cannot be taken from 'checks', which has 6: choose at most 6",
    ),
    (CurveSettings([]), "no sizes: name at least one number of training images per class"),
    (CurveSettings([0]), "n per class is a whole number of 1 or more, not 0"),
    (CurveSettings(repeats=0), "repeats is a whole number of 1 or more, not 0"),
    (
        CurveSettings(target=95),
        "target accuracy is a share between 0 and 1 such as 0.95, not 95",
    ),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_cannot_be_measured(scenes: Path, settings: CurveSettings, message: str) -> None:
    with pytest.raises(DataError) as caught:
        learning_curve(scenes, settings=settings)
    assert str(caught.value) == message


def test_a_wrong_head_is_refused_first() -> None:
    with pytest.raises(HeadError, match="unknown head 'smv'"):
        learning_curve("nowhere", head=HeadSettings("smv"))


@pytest.mark.parametrize(
    ("split", "message"), [("train", "no images to test with"), ("test", "no images to train on")]
)
def test_both_splits_are_needed(tmp_path: Path, scenes: Path, split: str, message: str) -> None:
    table = tmp_path / "one.csv"
    rows = [f"{path},{path.parent.name},{split}" for path in sorted(scenes.rglob("*.png"))]
    table.write_text("\n".join(["path,label,split", *rows]))
    with pytest.raises(DataError) as caught:
        learning_curve(table)
    assert str(caught.value).startswith(f"{table}: {message}; add a ")


def test_the_table_holds_what_was_measured_and_extrapolated() -> None:
    curve = smooth()
    intervals = [student_interval(1 - np.array([0.1, 0.2, 0.1]))] * 4 + [None]
    rows = curve_table(curve, intervals).rows
    assert [row[0] for row in rows] == [*SIZES, 160, 320]
    assert [row[-1] for row in rows] == ["measured"] * 5 + ["extrapolated"] * 2
    assert rows[4][2:5] == (None, None, None)
    assert rows[5][3] is not None


def test_sentences() -> None:
    curve = smooth()

    def said(needed: Needed | None, curve: LearningCurve = curve) -> list[str]:
        return list(curve_sentences(curve, needed))

    assert said(Needed(0.93, 129, 110, 150, 320)) == [
        "93 % would take about 129 images per class, 49 more than the 80 measured "
        "(interval: 110 to 150)"
    ]
    assert said(Needed(0.93, 129, 110, None, 320))[0].endswith("(interval: 110 to more than 320)")
    assert said(Needed(0.93, 129, None, None, 320))[0].endswith("more than the 80 measured")
    assert said(Needed(0.99, None, 300, None, 320)) == [
        "99 % is not reached with up to 320 images per class (at the upper end of the interval "
        "with 300)"
    ]
    assert said(Needed(0.9, 31, None, None, 320)) == [
        "90 % is reached with about 31 images per class"
    ]
    assert said(None) == [f"no room above {100 * curve.points[-1].mean:.2f} %"]
    perfect = fit_curve([5, 10, 20, 40], [[1.0] * 3] * 4, tested=20)
    assert said(None, perfect)[-1] == (
        "100.00 % of 20 test images are right, so they can show no gain; of other images 83.89 % "
        "or more are (95 % interval), which more test images would narrow"
    )
    short = fit_curve([5, 10], [[0.8], [0.9]])
    assert said(None, short)[0] == (
        "no look ahead beyond 10 images per class: needs at least 4 sizes, has 2 (--sizes names "
        "them); the largest size must be 4 times the smallest or more (--sizes names them); needs "
        "at least 3 repeats at every size (--repeats 5)"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture(form: str, start: bytes) -> None:
    for curve in (smooth(), fit_curve([5, 10], [[0.8], [0.9]])):
        intervals = [None] * len(curve.points)
        content = curve_chart(curve, intervals, "scenes", form=form)
        assert content.startswith(start)
        assert content == curve_chart(curve, intervals, "scenes", form=form)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path) -> None:
    out = tmp_path / "curve.png"
    words = ["curve", str(scenes), "--quiet", "--repeats", "3", "-o", str(out)]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert text.startswith("Learning curve\nimages per class  accuracy ")
    assert "\nmore      no look ahead beyond 6 images per class: needs at least 4 sizes" in text
    assert (
        "\nmeasured  on the same 12 test images, 3 draws of training images at every size; "
        "intervals (95 %) are over draws, or of the test images where all draws have one accuracy\n"
        "          no interval at 6: there, all draws hold the same images\n"
    ) in text
    assert text.endswith(f"picture: {out}\n")
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["curve", str(scenes), "--json", "--sizes", "2,4", "--target", "0.9"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["needed"]["accuracy"] == 0.9
    assert document["picture"] is None
    assert document["sentences"][0].startswith("no look ahead beyond 4 images per class: ")


def test_an_accuracy_of_all_draws_has_the_interval_of_the_test_images(scenes: Path) -> None:
    result = learning_curve(scenes, settings=CurveSettings([2, 4], repeats=3))
    same = dataclasses.replace(
        result, accuracies=np.array([[1.0] * 3, [1.0, 1.0, 11 / 12]]), draws=(3, 3)
    )
    assert same.intervals[0] == wilson(12, 12)
    assert same.intervals[1] == student_interval(same.accuracies[1])
    end = ", or of the test images where all draws have one accuracy"
    assert f"intervals (95 %) are over draws{end}" in str(same)
    assert "plain accuracy" not in str(same)


def test_the_text_says_that_classes_count_by_their_test_images(
    scenes: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    shutil.copytree(scenes, few)
    for number in (1, 2, 3):
        (few / "test" / "noise" / f"{number}.png").unlink()
    result = learning_curve(few, settings=CurveSettings([2, 4], repeats=2))
    assert "plain accuracy, in which a class counts by its test images, 1 to 4\n" in str(result)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sizes", "5,x"], "--sizes: '5,x' is no list such as 5,10,20"),
        (["--sizes", "0,5"], "--sizes: 0 images per class: one is the least"),
        (["--repeats", "0"], "--repeats: 0 is not from 1 to 1000"),
        (["-o", "a.jpg"], "a.jpg: a picture's name ends in .png or .svg"),
    ],
)
def test_options_that_cannot_be(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        code = main(["curve", "nowhere", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
