"""The whole comparison on a small data set: figures, statistics, resuming, files, refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import offshelf
from offshelf import sealed_json
from offshelf.cli.main import main
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError, HeadError, LayerError, MissingExtraError, OffshelfError
from offshelf.jobs.compare import grid_cell, processes, source_features
from offshelf.jobs.compare.comparison import Comparison, check_pictures
from offshelf.jobs.compare.comparison_charts import available, picture
from offshelf.jobs.compare.grid import HeadAxes, NetworkAxes, ProtocolSettings
from offshelf.jobs.compare.job import CompareSettings, compare
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.measurement.metrics import wilson
from offshelf.measurement.significance_tests import holm, mcnemar
from offshelf.progress import Silent

GRID = CompareSettings(
    networks=NetworkAxes(layers=("stem", "stage3", "penultimate")),
    heads=HeadAxes(heads=("svm", "ridge"), reductions=("none", "pca:4")),
    transfer=True,
)
REPEATS = ProtocolSettings(kind="repeats", repeats=4, per_class=4)


@pytest.fixture(scope="module")
def result(scenes: Path) -> Comparison:
    return compare(scenes, GRID)


def figures(result: Comparison) -> list[tuple[object, ...]]:
    return [
        (row.view.layer, row.recipe, row.score.accuracies if row.score else None)
        for row in result.rows
    ]


@pytest.mark.slow
def test_the_grid_is_complete_and_sorted(result: Comparison) -> None:
    assert len(result.rows) == 12
    accuracies = [row.score.accuracy for row in result.rows if row.score]
    assert accuracies == sorted(accuracies, reverse=True)
    assert result.best is result.rows[0]
    assert len({(row.view.layer, row.recipe) for row in result.rows}) == 12


@pytest.mark.slow
@pytest.mark.parametrize("head", ["svm", "ridge"])
def test_a_row_says_what_fit_says(result: Comparison, scenes: Path, head: str) -> None:
    for layer in ("stem", "penultimate"):
        alone = fit(
            scenes, features=FeatureSettings(layer=layer), head=HeadSettings(head)
        ).evaluation
        row = next(
            row
            for row in result.rows
            if (row.view.layer, row.recipe.head, row.recipe.reduction) == (layer, head, "none")
        )
        assert row.score is not None
        assert row.score.accuracy == alone.accuracy
        assert row.score.balanced_accuracy == alone.balanced_accuracy
        assert row.score.interval == wilson(alone.correct, alone.n)


@pytest.mark.slow
def test_costs(result: Comparison) -> None:
    for row in result.rows:
        assert row.cost is not None
        reduced = row.recipe.reduction == "pca:4"
        widths = {"stem": 32, "stage3": 40, "penultimate": 1280}
        assert row.cost.dimension == (4 if reduced else widths[row.view.layer])
        assert row.cost.stored_bytes == 30 * 4 * row.cost.dimension
        assert row.cost.fit_seconds > 0
        assert row.cost.ms_per_image is not None
    ms = {row.view.layer: row.cost.ms_per_image for row in result.rows if row.cost}
    assert (ms["stem"] or 0) < (ms["stage3"] or 0) < (ms["penultimate"] or 0)


@pytest.mark.slow
def test_verdicts_are_mcnemars_with_holms_correction(result: Comparison) -> None:
    best, *others = result.rows
    assert best.verdict is not None
    assert best.score is not None
    assert best.verdict.p == 1.0
    assert best.verdict.same
    expected = [mcnemar(best.score.right, row.score.right).p for row in others if row.score]
    assert [row.verdict.p for row in others if row.verdict] == pytest.approx(expected)
    assert [r.verdict.adjusted for r in others if r.verdict] == pytest.approx(holm(expected))
    assert all(r.verdict.same == (r.verdict.adjusted > 0.05) for r in others if r.verdict)
    assert best in result.not_distinguishable


@pytest.mark.slow
def test_the_same_again_trains_nothing_and_says_the_same(
    result: Comparison, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a head was trained again")

    monkeypatch.setattr(processes, "run_unit", never)
    again = compare(scenes, GRID)
    assert again.render() == result.render()
    assert again.to_json()["rows"] == result.to_json()["rows"]


@pytest.mark.slow
def test_moved_images_cost_nothing(result: Comparison, scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "moved")
    again = compare(tmp_path / "moved", GRID)
    assert figures(again) == figures(result)


def apart(folder: Path) -> RunSettings:
    return RunSettings(engine=EngineOptions(cache_dir=folder))


@pytest.mark.slow
def test_what_was_stopped_goes_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(
        GRID, heads=HeadAxes(heads=("svm",), cs=(0.3, 3.0)), transfer=False
    )
    kept, calls = grid_cell.run_unit, []

    def stop(*arguments: object, **named: object) -> bool:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(processes, "run_unit", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(scenes, settings)
    monkeypatch.setattr(processes, "run_unit", kept)
    resumed = compare(scenes, settings, run=RunSettings())
    unbroken = compare(scenes, settings, run=apart(tmp_path))
    assert figures(resumed) == figures(unbroken)
    assert len(resumed.rows) == 6


@pytest.mark.slow
def test_repeats_are_random_splits_with_a_spread(scenes: Path) -> None:
    settings = CompareSettings(
        networks=NetworkAxes(layers=("stem", "penultimate")), heads=HeadAxes(), protocol=REPEATS
    )
    first, again = compare(scenes, settings), compare(scenes, settings)
    other = compare(scenes, settings, run=RunSettings(seed=1))
    assert figures(first) == figures(again)
    assert figures(first) != figures(other)
    assert first.test == "corrected_t"
    assert "4 repeats of 4 training images per class: 12 images to train, 18 to test" in str(first)
    score = first.rows[-1].score
    assert score is not None
    assert len(score.accuracies) == 4
    assert score.accuracy == pytest.approx(np.mean(score.accuracies))
    assert score.sd == pytest.approx(np.std(score.accuracies, ddof=1))
    low, high = score.interval
    assert 0 <= low <= score.accuracy <= high <= 1


@pytest.mark.slow
def test_k_fold_tests_every_image_once(scenes: Path) -> None:
    settings = CompareSettings(protocol=ProtocolSettings(kind="k-fold", folds=5))
    found = compare(scenes, settings)
    assert found.protocol == "5-fold cross-validation: 24 images to train, 6 to test"


def test_splits_written_and_read_give_the_same(scenes: Path, tmp_path: Path) -> None:
    place = tmp_path / "splits.json"
    write = dataclasses.replace(REPEATS, splits_to=place)
    first = compare(scenes, CompareSettings(protocol=write))
    read = ProtocolSettings(splits_from=place)
    assert figures(compare(scenes, CompareSettings(protocol=read))) == figures(first)


@pytest.mark.slow
def test_every_way_to_run_a_network_is_a_row(scenes: Path) -> None:
    axes = NetworkAxes(weights=("trained", "random"), scalings=("weights", "none"))
    found = compare(scenes, CompareSettings(networks=axes))
    assert {(row.view.weights, row.view.scaling) for row in found.rows} == {
        (weights, scaling) for weights in ("trained", "random") for scaling in ("weights", "none")
    }
    table = found.table()
    assert [column.name for column in table.columns][:3] == ["weights", "scaling", "accuracy"]
    assert sum(line.startswith("trained against random weights: ") for line in found.findings) == 1
    assert (
        "all rows: efficientnet_lite0 penultimate, avg pooling, l2 normalisation, svm, C = 1, "
        in (str(found))
    )


@pytest.mark.slow
def test_random_weights_are_said_to_be_random(scenes: Path) -> None:
    progress = Silent()
    compare(scenes, CompareSettings(networks=NetworkAxes(weights=("random",))), progress=progress)
    assert any("random" in note for note in progress.notes)


@pytest.mark.slow
def test_flips_and_concatenations(scenes: Path) -> None:
    settings = CompareSettings(
        networks=NetworkAxes(layers=("stage3", "penultimate"), flips=("no", "yes")),
        concat=("efficientnet_lite0:stage3+efficientnet_lite0:penultimate",),
    )
    found = compare(scenes, settings)
    assert len(found.rows) == 6
    both = [row for row in found.rows if row.view.layer == "stage3 + penultimate"]
    assert [row.cost.dimension for row in both if row.cost] == [1320, 1320]
    plain, flipped = (
        next(row for row in found.rows if row.view.layer == "penultimate" and row.view.flips == f)
        for f in ("none", "prediction")
    )
    assert plain.cost is not None
    assert flipped.cost is not None
    assert flipped.cost.ms_per_image == pytest.approx(2 * (plain.cost.ms_per_image or 0))
    assert any(line.startswith("concatenation ") for line in found.findings)


def test_a_reduction_that_cannot_be_costs_a_row(scenes: Path) -> None:
    settings = CompareSettings(heads=HeadAxes(reductions=("none", "pca:1000")))
    found = compare(scenes, settings)
    *_, last = found.rows
    assert last.score is None
    assert "pca:1000" in last.problem or "1000" in last.problem
    assert last.problem in found.render("csv", every=True)
    assert max(map(len, found.render().splitlines())) <= 110
    assert found.to_json()["rows"][-1]["accuracy"] is None


def test_leaks_are_said(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "leak")
    source = next((tmp_path / "leak" / "train" / "checks").iterdir())
    shutil.copy(source, tmp_path / "leak" / "test" / "checks" / "copy.png")
    found = compare(tmp_path / "leak")
    assert found.best.score is not None
    assert found.best.score.leaks == 1
    assert found.best.score.without_leaks is not None
    assert any(line.startswith("1 test image also") for line in found.findings)


def test_an_unreadable_image_is_listed_and_nothing_moves(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "broken")
    bad = tmp_path / "broken" / "test" / "noise" / "0.png"
    bad.write_bytes(b"not an image")
    found = compare(tmp_path / "broken")
    assert [failure["path"] for failure in found.failures] == [str(bad)]
    assert "11 to test" in found.protocol


@pytest.mark.slow
def test_cheap_scores_stand_beside_the_accuracy(result: Comparison) -> None:
    assert set(result.agreement) == {"LogME", "H-score", "ridge leave-one-out"}
    assert all(found.n == 3 for found in result.agreement.values())
    by_layer = {row.view.layer: row.transfer for row in result.rows}
    assert by_layer["penultimate"] is not None
    assert by_layer["stem"] is not None
    assert "LogME" in result.render()


@pytest.mark.slow
def test_files(result: Comparison, tmp_path: Path) -> None:
    for suffix in (".md", ".csv", ".txt", ".html", ".tex", ".json", ".parquet"):
        assert result.write(tmp_path / f"rows{suffix}").stat().st_size > 100
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    assert table.num_rows == 12
    accuracies = [row.score.accuracy for row in result.rows if row.score]
    assert table.column("accuracy").to_pylist() == accuracies
    assert json.loads((tmp_path / "rows.json").read_text())["rows"][0]["accuracy"] == accuracies[0]
    assert (tmp_path / "rows.csv").read_text().count("\n") == 13


@pytest.mark.slow
def test_frames(result: Comparison) -> None:
    frame = result.to_frame()
    assert len(frame) == 12
    assert frame["accuracy"].iloc[0] == result.rows[0].score.accuracy  # type: ignore[union-attr]
    assert {"accuracy_low", "accuracy_high", "transfer_logme", "C"} <= set(frame.columns)


@pytest.mark.slow
def test_pictures(result: Comparison, tmp_path: Path) -> None:
    written = result.write_pictures(tmp_path / "pictures")
    assert [path.stem for path in written] == [
        *("depth", "reduction", "head", "cost", "dimension", "rows"),
    ]
    for path in written:
        assert path.read_bytes()[1:4] == b"PNG"
    assert result.plot("depth").to_bytes() == result.plot("depth").to_bytes()
    assert b"<svg" in result.plot("cost").to_bytes("svg")


@pytest.mark.slow
def test_the_usual_picture_is_the_first_that_there_is(result: Comparison, scenes: Path) -> None:
    assert result.plot().to_bytes() == result.plot("depth").to_bytes()
    one = compare(scenes)
    assert one.plot().to_bytes() in {one.plot(kind).to_bytes() for kind in ("cost", "dimension")}


@pytest.mark.slow
def test_the_best_row_is_one_line(result: Comparison) -> None:
    best = str(result.best)
    assert best.startswith(f"{result.best.view.backbone} {result.best.view.layer}, ")
    assert f"accuracy {100 * result.best.score.accuracy:.2f} % (95 % interval " in best  # type: ignore[union-attr]
    assert best.endswith("= best")
    assert repr(result.best) == f"<Row {best}>"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "dept",
            "unknown picture 'dept': use depth, backbone, pooling, weights, resize, scaling, grey, "
            "input_size, precision, flips, normalisation, head, C, class_weight, reduction, cost, "
            "dimension, rows. Did you mean 'depth'?",
        ),
        ("depth", "the picture 'depth' needs two layers of a backbone: --layers all"),
        ("reduction", "the picture 'reduction' needs reductions, for example pca:64"),
        ("class_weight", "the picture 'class_weight' needs two values of it"),
        ("C", "the picture 'C' needs two values of it"),
    ],
)
def test_pictures_that_cannot_be(scenes: Path, kind: str, text: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        compare(scenes).plot(kind)
    assert str(caught.value) == text


def test_the_public_names() -> None:
    assert "backbones" in str(offshelf.compare.__doc__)
    assert offshelf.CompareSettings is CompareSettings


def never_extracts(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("images were extracted before the mistake was found")

    monkeypatch.setattr("offshelf.jobs.compare.job.extract_all", never)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            CompareSettings(
                networks=NetworkAxes(
                    backbones=("efficientnet_lite0", "alexnet"),
                    weights=("random",),
                    layers=("stage3",),
                )
            ),
            LayerError,
            "alexnet: no layer 'stage3'.",
        ),
        (
            CompareSettings(protocol=ProtocolSettings(kind="repeats", per_class=50)),
            DataError,
            "50 training images per class and one to test cannot be taken from 'checks', "
            "which has 10: choose at most 9",
        ),
        (
            CompareSettings(protocol=ProtocolSettings(kind="k-fold", folds=11)),
            DataError,
            "11 folds are more than the 10 images of the smallest class 'checks': "
            "choose at most 10",
        ),
        (
            CompareSettings(heads=HeadAxes(cs=tuple(n + 1.0 for n in range(100_000)))),
            OffshelfError,
            "the grid has 100,000 rows in 1 fold: 100,000 heads, about 11.1 hours beside the "
            "extraction; make it smaller, or say --yes",
        ),
        (
            CompareSettings(networks=NetworkAxes(precisions=("auto",))),
            OffshelfError,
            "a comparison needs a stated precision: give fp32 and int8 as two rows, not auto",
        ),
        (
            CompareSettings(networks=NetworkAxes(poolings=("mean",))),
            LayerError,
            "mean",
        ),
    ],
)
def test_mistakes_are_found_before_the_work(
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: CompareSettings,
    error: type[OffshelfError],
    text: str,
) -> None:
    never_extracts(monkeypatch)
    with pytest.raises(error) as caught:
        compare(scenes, settings)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_command(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    code = main(
        [
            *("compare", str(scenes), "--layers", "stem,penultimate", "--heads", "svm,knn:3"),
            *("--out", str(out), "--pictures", str(tmp_path / "pictures"), "--quiet"),
        ]
    )
    said = capsys.readouterr().out
    assert code == 0
    assert "= best" in said
    assert "best: efficientnet_lite0" in said
    assert f"written: {out}" in said
    assert out.is_file()


def test_the_command_prints_one_document(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(scenes), "--C", "0.1,auto", "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["C"] for row in document["rows"]] in ([0.1, "auto"], ["auto", 0.1])
    assert document["best"] == document["rows"][0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--out", "rows.doc"], "rows.doc: the ending says the form: use .md, .csv"),
        (["--out", "no/such/rows.csv"], "no/such/rows.csv: the folder no/such does not exist"),
        (["--pictures", "no/such/place"], "no/such/place: the folder no/such does not exist"),
        (["--C", "much"], "'much' is no number and not 'auto'"),
        (["--heads", "svn"], "unknown head 'svn'"),
        (["--protocol", "fold"], "unknown protocol 'fold': use given, k-fold, repeats."),
        (["--splits", "no.json"], "no.json"),
        (["--groups", "("], "is not a regular expression for groups"),
    ],
)
def test_wrong_options_are_one_line(
    scenes: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    try:
        code = main(["compare", str(scenes), "--quiet", *arguments])
    except SystemExit as stopped:
        code = int(str(stopped.code))
    said = capsys.readouterr().err
    assert code == 2
    assert text in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_damaged_record_of_speed_is_made_again(scenes: Path, tmp_path: Path) -> None:
    before = compare(scenes, run=apart(tmp_path))
    (place,) = (tmp_path / "compiled").glob("speed-*.json")
    for content in ("", '{"ms": 1.0}', {"ms": -1.0}, {"ms": "fast"}, {"ms": float("inf")}, {}):
        if isinstance(content, str):
            place.write_text(content)
        else:
            sealed_json.write(place, content)
        told = Silent()
        again = compare(scenes, run=apart(tmp_path), progress=told)
        note = f"{place}: damaged, set aside; it is made again"
        assert [line for line in told.notes if "damaged" in line] == [note]
        assert again.best.cost is not None
        assert again.best.cost.ms_per_image is not None
        assert again.best.cost.ms_per_image > 0
        assert figures(again) == figures(before)
        assert json.loads(place.read_text())["ms"] > 0


@pytest.mark.slow
def test_the_speed_of_another_number_of_threads_is_timed_apart(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(scenes, run=apart(tmp_path))
    monkeypatch.setattr(source_features, "_sampled", lambda *_: 1234.0)
    engine = dataclasses.replace(apart(tmp_path).engine, threads=97)
    slow = compare(scenes, run=dataclasses.replace(apart(tmp_path), engine=engine)).best.cost
    assert slow is not None
    assert slow.ms_per_image == 1234.0


@pytest.mark.slow
def test_copies_are_no_reason_to_time_again(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the network was timed once more")

    monkeypatch.setattr(source_features, "take_sample", never)
    data = tmp_path / "copies"
    shutil.copytree(scenes, data)
    source = data / "train" / "checks" / "0.png"
    shutil.copy(source, source.with_name("copy.png"))
    found = compare(data, run=apart(tmp_path / "cache"))
    assert found.best.cost is not None
    assert found.best.cost.ms_per_image is not None


def test_groups_stay_on_one_side(scenes: Path) -> None:
    by_number = ProtocolSettings(kind="k-fold", folds=3, groups=r"(\d)\.png$")
    found = compare(scenes, CompareSettings(protocol=by_number))
    assert found.best.score is not None
    assert len(found.best.score.accuracies) == 3
    with pytest.raises(DataError) as caught:
        compare(scenes, CompareSettings(protocol=ProtocolSettings(groups=r"(\d)\.png$")))
    assert "on both sides" in str(caught.value)


def test_no_usable_image_is_one_line(scenes: Path, tmp_path: Path) -> None:
    for name, split, text in (
        ("all", "*", "none of the images can be used; 'offshelf audit' says why"),
        ("test", "test", "none of the test images can be used; 'offshelf audit' says why"),
        ("train", "train", "none of the training images can be used; 'offshelf audit' says why"),
    ):
        data = tmp_path / name
        shutil.copytree(scenes, data)
        for path in data.glob(f"{split}/*/*.png"):
            path.write_bytes(b"no image")
        with pytest.raises(DataError) as caught:
            compare(data)
        assert str(caught.value) == text


def test_pictures_go_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OffshelfError) as caught:
        check_pictures(tmp_path / "file")
    assert str(caught.value) == f"{tmp_path / 'file'}: is a file; name a folder for the pictures"


@pytest.mark.slow
def test_costs_that_are_not_known_cannot_be_drawn(result: Comparison) -> None:
    rows = [
        dataclasses.replace(row, cost=dataclasses.replace(row.cost, ms_per_image=None))
        for row in result.rows
        if row.cost
    ]
    with pytest.raises(OffshelfError) as caught:
        picture(rows, "cost")
    assert str(caught.value) == "the picture 'cost' needs the speed of the networks"
    assert "cost" not in available(rows)


@pytest.mark.slow
def test_frames_say_what_they_need(result: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError) as caught:
        result.to_frame()
    assert str(caught.value) == (
        "to_frame (pandas) needs an optional part: pip install 'offshelf[frames]'"
    )


def test_results_that_vanish_are_said(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offshelf.jobs.compare.job.run_plan", lambda *_: None)
    with pytest.raises(HeadError) as caught:
        compare(scenes, CompareSettings(heads=HeadAxes(cs=(0.123,))))
    assert str(caught.value) == (
        "a result file was deleted while the comparison ran: run the same command again"
    )
