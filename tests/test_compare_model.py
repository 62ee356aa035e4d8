"""The model that a comparison makes of one of its rows."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offshelf
from command_run import Run
from made_comparisons import grid
from offshelf.errors import LayerError, OffshelfError
from offshelf.heads.fitting.fit_head import averaged_decision
from offshelf.jobs.compare import chosen_row as choosing
from offshelf.jobs.compare import fit_command as commands
from offshelf.jobs.compare.comparison import Comparison
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.comparison_table import narrow_table
from offshelf.jobs.compare.grid import HeadAxes, NetworkAxes, ProtocolSettings
from offshelf.jobs.compare.job import CompareSettings, compare
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.predict import predict
from offshelf.progress import Silent
from test_compare_page import page_of

LITE0, LITE1 = "efficientnet_lite0", "efficientnet_lite1"


def several(row: Row) -> bool:
    return len(row.view.parts) > 1


def last(row: Row) -> bool:
    return row.view.layer == "stage3"


def anything(row: Row) -> bool:
    return True


# Axes, concatenations, which row, and whether the row's networks were run for its layers alone.
ROWS: dict[str, tuple[dict[str, Any], tuple[str, ...], Callable[[Row], bool], bool]] = {
    "all networks": ({"backbones": (LITE0, LITE1)}, ("all",), several, True),
    "a product": ({"layers": ("stem", "stage3")}, ("stem*stage3",), several, True),
    "mirror images": ({"layers": ("stage3",), "flips": ("both",)}, (), anything, True),
    "two sizes": ({"layers": ("stem",)}, (f"{LITE0}@96:stem+{LITE0}@64:stem",), several, True),
    "one of two layers": ({"layers": ("stem", "stage3")}, (), last, False),
}


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Row], bool]], None]:
    """Let a comparison take the first row that is wanted, however good it is."""

    def set_wanted(of: Callable[[Row], bool]) -> None:
        def choose(rows: Sequence[Row], prefer: str) -> choosing.ChosenRow:
            return choosing.ChosenRow(next(filter(of, rows)), "the wanted row")

        monkeypatch.setattr(commands, "chosen_row", choose)

    return set_wanted


def measured(found: Comparison) -> FitResult:
    """Return the model of a comparison, which measures exactly what its row says."""
    row = found.fit.row
    assert found.model is not None
    assert row is not None
    assert row.score is not None
    assert found.model.evaluation.accuracy == row.score.accuracy
    assert found.model.evaluation.balanced_accuracy == row.score.balanced_accuracy
    return found.model


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_a_model_predicts_from_its_file_what_its_row_measured(
    scenes: Path, tmp_path: Path, name: str, wanted: Callable[[Callable[[Row], bool]], None]
) -> None:
    axes, concat, of, alone = ROWS[name]
    wanted(of)
    settings = CompareSettings(
        networks=NetworkAxes(**axes),
        heads=HeadAxes(heads=("ridge",), cs=("auto",)),
        concat=concat,
        fit=tmp_path / "m.offshelf",
    )
    found = measured(compare(scenes, settings))
    assert found.path is not None
    rows = found.table.rows("test")
    paths = [found.table.paths[row] for row in rows]
    answers = predict(found.path, paths).predictions
    classes = found.table.classes
    scores = np.array([[one.scores[name] for name in classes] for one in answers], np.float32)
    ours = found.extraction.read(rows)
    mirrors = found.extraction.read_mirrored(rows) if found.features.averages else None
    known = averaged_decision(found.model.head, ours, mirrors)
    if alone:
        assert np.array_equal(scores, known)
    else:
        assert np.abs(scores - known).max() < 1e-3
    assert predict(found.path, paths[:1]).predictions == answers[:1]
    again = offshelf.evaluate(found.path, scenes)
    assert again.evaluation.accuracy == found.evaluation.accuracy


@pytest.mark.slow
def test_an_int8_network_of_other_layers_runs_anew_and_that_is_said(
    scenes: Path, tmp_path: Path, wanted: Callable[[Callable[[Row], bool]], None]
) -> None:
    wanted(last)
    networks = NetworkAxes(layers=("stem", "stage3"), precisions=("int8",), flips=("prediction",))
    out, progress = tmp_path / "m.offshelf", Silent()
    found = compare(scenes, CompareSettings(networks=networks, fit=out), progress=progress)
    note = f"{LITE0}:stage3: in int8, a network for these layers alone is another one: it runs anew"
    assert progress.notes.count(note) == 1
    assert len(predict(out, [scenes]).predictions) == 30
    alone = dataclasses.replace(networks, layers=("stage3",))
    progress = Silent()
    found = compare(scenes, CompareSettings(networks=alone, fit=out), progress=progress)
    measured(found)
    assert not any("runs anew" in line for line in progress.notes)
    assert any(line.endswith(", and will be replaced") for line in progress.notes)


@pytest.mark.slow
def test_the_command_writes_the_model(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = tmp_path / "ä m.offshelf", tmp_path / "rows.csv"
    grid = ["--heads", "svm,ridge", "--layers", "stage3", "--prefer", "size", "--quiet"]
    said = Run(capsys, "compare", scenes, *grid, "--fit", out, "--commands", "--out", rows)
    assert said.code == 0
    lines = said.out.splitlines()
    place = lines.index("the fit command of each row:")
    assert lines[place + 1 : place + 4 : 2] == ["svm", "ridge"]
    assert lines[place + 2].startswith(f"  offshelf fit {scenes} --backbone {LITE0} ")
    assert lines[-2:] == [f"written: {out}", f"written: {rows}"]
    assert any(line.startswith(f"{out}: ") and line.endswith(", as its row") for line in lines)
    assert any(line.endswith(f"--out '{out}'") for line in lines)
    table = list(csv.DictReader(rows.read_text().splitlines()))
    assert [one["fit command"] for one in table] == [one.strip() for one in lines[place + 2 :: 2]][
        :2
    ]
    document = Run(capsys, "compare", scenes, *grid, "--fit", out, "--json").document
    assert document["written"] == [str(out)]
    assert document["model"]["accuracy"] == document["chosen"]["accuracy"]
    assert all(one["fit_command"].startswith("offshelf fit ") for one in document["rows"])
    assert {one["model_bytes"] for one in document["rows"]} != {0}


@pytest.mark.slow
def test_another_protocol_trains_on_the_split_of_the_data(scenes: Path, tmp_path: Path) -> None:
    protocol = ProtocolSettings(kind="k-fold", folds=3)
    out = tmp_path / "m.offshelf"
    found = compare(
        scenes,
        CompareSettings(networks=NetworkAxes(layers=("stem",)), protocol=protocol, fit=out),
    )
    lines = str(found).splitlines()
    assert found.model is not None
    accuracy = f"{100 * found.model.evaluation.accuracy:.2f} % of 12 test images"
    assert lines[-2:] == [
        "fit measures on the one split of the data, so it will state another accuracy",
        f"{out}: {accuracy}, on the one split of the data",
    ]


@pytest.mark.slow
def test_an_image_that_one_network_cannot_use_is_left_out_of_the_model(
    scenes: Path, tmp_path: Path
) -> None:
    data = tmp_path / "scenes"
    shutil.copytree(scenes, data)
    (data / "test" / "noise" / "0.png").write_bytes(b"no image")
    networks = NetworkAxes(layers=("stem",))
    found = measured(compare(data, CompareSettings(networks=networks, fit=tmp_path / "m.offshelf")))
    assert (found.evaluation.n, len(found.extraction.failures)) == (11, 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"networks": NetworkAxes(scalings=("none",))},
            "m.offshelf: no row can be made into a model: fit always scales pixels as belongs to "
            "the weights; add --scaling weights,none",
        ),
        ({"prefer": "fast"}, "no preference 'fast': accuracy, speed, size."),
        ({"fit": "."}, ".: is a folder; name a file such as my.offshelf"),
    ],
)
def test_what_is_certain_is_refused_before_any_work(
    scenes: Path, change: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offshelf.jobs.compare.job.extract_all", None)
    with pytest.raises(OffshelfError) as caught:
        compare(scenes, CompareSettings(**({"fit": "m.offshelf"} | change)))
    assert str(caught.value) == text


@pytest.mark.parametrize("text", [f"{LITE0}:stem+{LITE0}@224:stem", "penultimate+global_pool"])
def test_a_layer_under_two_names_is_named_twice(scenes: Path, text: str) -> None:
    with pytest.raises(LayerError, match="names a layer twice"):
        compare(scenes, CompareSettings(concat=(text,)))


def test_rows_of_several_networks_are_named_once(scenes: Path) -> None:
    rows = grid(190, 2, head=("svm", "ridge"))
    part = rows[0].view.parts[0]
    other = dataclasses.replace(part, source=dataclasses.replace(part.source, backbone=LITE1))
    view = dataclasses.replace(rows[0].view, parts=(part, other))
    table = narrow_table([rows[0], dataclasses.replace(rows[1], view=view)])
    assert [column.name for column in table.columns][:2] == ["row", "accuracy"]
    assert table.rows[1][0] == f"{LITE0}:penultimate + {LITE1}:penultimate, ridge"


def test_the_page_holds_the_commands(tmp_path: Path) -> None:
    rows = [
        dataclasses.replace(row, command=f"offshelf fit <{row.recipe.head}>")
        for row in grid(190, 2, head=("svm", "ridge"))
    ]
    text = page_of(tuple(rows))
    assert "<details><summary>The fit command of each row</summary><dl>" in text
    assert "<dt>ridge</dt>" in text
    assert "<dd><code>offshelf fit &lt;ridge&gt;</code></dd>" in text
    assert "<details>" not in page_of(grid(190, 2, head=("svm",)))
