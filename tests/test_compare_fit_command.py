"""The command line of fit that a comparison prints: complete, quoted, and true."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import offshelf
from command_run import Run
from made_comparisons import grid, judged, made_row
from offshelf.data.decode import Limits
from offshelf.engine.contract import EngineOptions
from offshelf.features.reader import ReadOptions
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.feature_sets import View
from offshelf.jobs.compare.fit_command import FitCommand, fit_command, quoted
from offshelf.jobs.compare.grid import ProtocolSettings
from offshelf.jobs.setup.settings import RunSettings


def command_of(rows: tuple[Row, ...], data: str = "photos", **run: Any) -> FitCommand:
    return fit_command(rows, data, RunSettings(**run), ProtocolSettings())


def test_every_axis_is_in_the_command() -> None:
    row = made_row(
        180,
        backbone="vgg16",
        layer="pool5",
        pooling="max",
        weights="random",
        resize="crop",
        grey="luma",
        precision="int8",
        head="fc:64",
        c=0.1,
        normalisation="standard",
        reduction="pca:32",
        class_weight="balanced",
    )
    assert command_of(judged([row])) == FitCommand(
        "offshelf fit photos --backbone vgg16 --layer pool5 --pooling max --weights random "
        "--resize crop --grey luma --precision int8 --head fc:64 --C 0.1 --normalisation standard "
        "--reduction pca:32 --class-weight balanced --out best.offshelf"
    )


def test_what_is_usual_is_named_too_and_a_head_without_c_has_none() -> None:
    row = dataclasses.replace(made_row(180, head="centroid"), c=())
    assert command_of(judged([row])).text == (
        "offshelf fit photos --backbone efficientnet_lite0 --layer penultimate --pooling avg "
        "--grey replicate --precision fp32 --head centroid --normalisation l2 --reduction none "
        "--class-weight none --out best.offshelf"
    )


@pytest.mark.parametrize(
    ("c", "word"),
    [(1.0, "1"), (100.0, "100"), (1 / 3, "0.3333333333333333"), (1e-7, "1e-07"), ("auto", "auto")],
)
def test_c_is_exact(c: object, word: str) -> None:
    words = command_of(judged([made_row(180, c=c)])).text.split()
    assert words[words.index("--C") + 1] == word


def test_what_decides_numbers_and_places_is_in_the_command() -> None:
    text = command_of(
        grid(180, 1, head=("svm",)),
        engine=EngineOptions(engine="torch", device="cpu", cache_dir="-kept"),
        reading=ReadOptions(
            limits=Limits(max_pixels=1000, max_memory=5_000_000, keep_damaged=True)
        ),
        seed=7,
        test_size=0.3,
        classes="inner",
        corrections="my decisions.csv",
    ).text
    assert text.endswith(
        "--class-weight none --engine torch --device cpu --cache-dir ./-kept --seed 7 "
        "--test-size 0.3 --classes inner --corrections 'my decisions.csv' --max-pixels 1000 "
        "--max-memory 5000000 --keep-damaged --out best.offshelf"
    )


def test_groups_are_in_the_command() -> None:
    rows = grid(180, 1, head=("svm",))
    groups = ProtocolSettings(groups="(.+)-[0-9]+")
    text = fit_command(rows, "photos", RunSettings(), groups).text
    assert text.endswith("--class-weight none --groups '(.+)-[0-9]+' --out best.offshelf")


NAMES = ("a b", "it's", "$HOME", "--out", "ä", "new\nline", "caf\udce9", "`x`", 'q"q', "*", "\t")


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_the_data_is_quoted(name: str) -> None:
    text = command_of(grid(180, 1, head=("svm",)), name).text
    third = f"{quoted(name)}" if name != "--out" else "./--out"
    assert text.startswith(f"offshelf fit {third} --backbone ")
    assert text.isprintable()
    bash = shutil.which("bash")
    if bash:
        said = subprocess.run(
            [bash, "-c", f"printf %s {third}"], check=True, capture_output=True
        ).stdout
        assert said == name.encode("utf-8", "surrogateescape").replace(b"--out", b"./--out")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scaling": "none"}, "it always scales pixels as belongs to the weights"),
    ],
)
def test_the_best_row_that_fit_can_make(change: dict[str, object], reason: str) -> None:
    rows = judged([made_row(190, **change), made_row(180, head="ridge"), made_row(170)])
    found = command_of(rows)
    assert "--head ridge" in found.text
    assert found.notes == (
        f"fit cannot make the best row: {reason}; the command makes "
        "efficientnet_lite0 penultimate, ridge, C = 1: 90.00 %",
    )
    assert command_of(rows[:1]) == FitCommand("", (f"no row can be made by fit: {reason}",))


def test_layers_side_by_side_sizes_and_mirror_images() -> None:
    part = dataclasses.replace(made_row(1).view.parts[0], normalisation="l2")
    larger = dataclasses.replace(part.source, size=320)
    other = dataclasses.replace(part, source=larger, layer="stem", pooling="pyramid")
    both = View((part, other), "both")
    rows = judged([dataclasses.replace(made_row(190), view=both)])
    features = "efficientnet_lite0:penultimate+efficientnet_lite0@320:stem/pyramid"
    assert f"fit photos --features {features} --flips both --grey" in command_of(rows).text
    single = View((dataclasses.replace(part, source=larger, normalisation="none"),))
    rows = judged([dataclasses.replace(made_row(190), view=single)])
    assert "--pooling avg --input-size 320 --grey" in command_of(rows).text


@pytest.mark.parametrize(
    "protocol", [ProtocolSettings(kind="k-fold"), ProtocolSettings(splits_from="splits.json")]
)
def test_another_protocol_is_said(protocol: ProtocolSettings) -> None:
    rows = grid(180, 1, head=("svm",))
    assert fit_command(rows, "photos", RunSettings(), protocol).notes == (
        "fit measures on the one split of the data, so it will state another accuracy",
    )


AXES = {
    "heads": ["--heads", "ridge,svm", "--reductions", "pca:4", "--normalisations", "standard"],
    "auto": ["--C", "auto", "--heads", "lda", "--class-weights", "balanced"],
    "features": ["--layers", "stage3", "--poolings", "max", "--resizes", "crop", "--grey", "luma"],
    "random": ["--weights", "random", "--layers", "stem", "--C", "0.1,10"],
    "seed": ["--seed", "3", "--max-pixels", "100000"],
}


@pytest.mark.slow
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_the_printed_command_makes_the_best_row(
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    axes: list[str],
) -> None:
    data = tmp_path / "my 'scenes'"
    shutil.copytree(scenes, data)
    monkeypatch.chdir(tmp_path)
    printed = Run(capsys, "compare", data, *axes, "--quiet").out
    (line,) = [one for one in printed.splitlines() if one.startswith("  offshelf fit ")]
    document = Run(capsys, "compare", data, *axes, "--quiet", "--json").document
    assert document["fit_command"] == line.strip()
    _, *words = shlex.split(line)
    made = Run(capsys, *words, "--quiet", "--json").document
    assert made["accuracy"] == document["best"]["accuracy"]
    assert made["C"] == document["best"]["C_chosen"][0]
    assert (tmp_path / "best.offshelf").is_file()


def test_the_command_in_python(scenes: Path) -> None:
    found = offshelf.compare(scenes, heads=["ridge", "svm"])
    assert found.fit_command.startswith(f"offshelf fit {scenes} --backbone efficientnet_lite0 ")
    assert found.to_json()["fit_command"] == found.fit_command
    assert f"a model of the best row:\n  {found.fit_command}" in str(found)
    assert found.data == str(scenes)


@pytest.mark.slow
def test_colour_is_an_axis(scenes: Path) -> None:
    found = offshelf.compare(scenes, grey=["replicate", "luma"], layers="stage3")
    assert [row.view.grey for row in found.rows] in (
        ["replicate", "luma"],
        ["luma", "replicate"],
    )
    assert sum("no colour (luma)" in line for line in found.findings) >= 1
    with pytest.raises(offshelf.OffshelfError) as caught:
        offshelf.compare(scenes, grey="gray")
    assert str(caught.value) == "unknown grey 'gray': use replicate, summed, luma."
