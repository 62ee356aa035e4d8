"""The commands as functions: keywords mean what the options of the command line mean."""

from __future__ import annotations

import argparse
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import offshelf
from offshelf.cli.main import COMMANDS
from offshelf.cli.terminal.parser import Parser
from offshelf.engine.contract import EngineOptions
from offshelf.errors import OffshelfError
from offshelf.functions import commands
from offshelf.functions.call import Command, UnknownOptionError
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Silent

FACES = {name.lower(): one for name, one in vars(commands).items() if isinstance(one, Command)}
# Where a value of the kind does not do: keyword -> words of the command line, value in Python.
VALUES: dict[str, tuple[str, Any]] = {
    "input_size": ("64", 64),
    "C": ("0.5", 0.5),
    "max_memory": ("2G", "2G"),
    "sizes": ("5,10", [5, 10]),
    "classes": ("inner", "inner"),
    "class_weight": ("balanced", "balanced"),
    "class_weights": ("none,balanced", (None, "balanced")),
}


def words_and_value(keyword: str, action: argparse.Action) -> tuple[str, Any]:
    """What a person types after an option, and gives in Python."""
    if keyword in VALUES:
        return VALUES[keyword]
    if action.type is None:
        return ("a", Path("a")) if keyword in ("out", "weights", "cache_dir") else ("a", "a")
    if action.type is float:
        return "0.25", 0.25
    if isinstance(action.default, tuple):
        return "a, b", ["a", "b"]
    return "2", 2


@pytest.mark.parametrize("name", sorted(FACES))
def test_a_keyword_means_what_the_option_means(name: str) -> None:
    command = FACES[name]
    places = [one for one in command.actions.values() if not one.option_strings]
    typed = [f"place{number}" for number, _ in enumerate(places)]
    given = {one.dest: word for one, word in zip(places, typed, strict=True)}
    required = {"layer": ["a"]} if name in ("maps", "top_images") else {}
    for word, values in required.items():
        typed += [f"--{word}", *values]
    for keyword, action in command.actions.items():
        if not action.option_strings or keyword in required:
            continue
        option = action.option_strings[-1]
        if action.nargs == 0:
            more, value = [option], True
        else:
            text, value = words_and_value(keyword, action)
            more = [option, text]
        expected = command.parser.parse_args([*typed, *more])
        assert command.arguments({**given, **required}, {keyword: value}) == expected, keyword
        if isinstance(action, argparse._AppendAction):
            twice = command.parser.parse_args([*typed, *more, option, "b"])
            assert command.arguments({**given, **required}, {keyword: ("a", "b")}) == twice
        assert getattr(command.arguments(given, {keyword: None}), action.dest) == action.default


def test_fit_writes_a_model_that_predict_evaluate_and_explain_use(
    scenes: Path, tmp_path: Path
) -> None:
    place = tmp_path / "scene.offshelf"
    result = offshelf.fit(scenes, place, C="auto", head="ridge", seed=3, class_weight="balanced")
    assert (result.path, result.model.head.kind, result.model.data["seed"]) == (place, "ridge", 3)
    assert result.model.head.parameters["class_weight"] == "balanced"
    images = sorted((scenes / "test").rglob("*.*"))[:2]
    answers = offshelf.predict(place, images, tmp_path / "labels.csv", columns=["path", "label"])
    assert [row.path for row in answers.predictions] == [str(one) for one in images]
    assert (tmp_path / "labels.csv").read_text().splitlines()[0] == "path,label"
    one = offshelf.predict(str(place), images[0]).predictions
    assert [row.scores for row in one] == [answers.predictions[0].scores]
    measured = offshelf.evaluate(place, scenes, reliability=tmp_path / "reliability.svg")
    assert measured.evaluation.accuracy == result.evaluation.accuracy
    assert (tmp_path / "reliability.svg").stat().st_size > 1000
    label = result.model.classes[0]
    why = offshelf.explain(place, images[0], tmp_path / "why.png", class_name=label, smooth=True)
    assert (why.label, (tmp_path / "why.png").is_file()) == (label, True)
    several = offshelf.explain(place, images, tmp_path / "new" / "why")
    assert len(several.explanations) == len(list((tmp_path / "new" / "why").iterdir())) == 2
    with pytest.raises(offshelf.OffshelfError, match="that of a new folder in a slash"):
        offshelf.explain(place, images, tmp_path / "why.jpg")


def test_nothing_is_written_where_no_place_is_named(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = sorted((scenes / "test").rglob("*.*"))[:2]
    assert len(offshelf.extract([images[0], str(images[1])]).extraction.ok) == 2
    assert offshelf.maps(images[0], "stage1", limit=3)["stage1"].channels == (0, 1, 2)
    assert offshelf.filters("efficientnet_lite0", channels=[4, 7]).channels == (4, 7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_extract_takes_a_list_and_layers(scenes: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    images = sorted((scenes / "test").rglob("*.*"))[:2]
    out = tmp_path / "two.parquet"
    result = offshelf.extract(images[::-1], out, layer=["stage1", "penultimate"], pooling="max")
    table = pq.read_table(out)
    assert table.column("path").to_pylist() == [str(one) for one in images[::-1]]
    assert [kind.column for kind in result.kinds] == ["stage1_max", "penultimate_max"]


def test_one_image_is_one_image_in_memory_too() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    for one in (image, Image.fromarray(image), Path("a.png"), "a.png"):
        (found,) = commands.EXPLAIN.arguments({"image": one}, {}).image
        assert found is one
    assert commands.EXPLAIN_IMAGES.arguments({"image": ["a", "b"]}, {}).image == ["a", "b"]


def test_pictures_of_images_in_memory(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    result = offshelf.maps(image, ["stage1"], tmp_path, channels="0,2-3", sort="strength")
    assert sorted(result["stage1"].channels) == [0, 2, 3]
    assert [one.suffix for one in tmp_path.iterdir()] == [".png"]


def test_top_images_takes_a_folder_and_a_list(scenes: Path) -> None:
    images = sorted((scenes / "test").rglob("*.*"))[:3]
    few = offshelf.top_images(images, "stage1", top=2, limit=1)
    assert {peak.path for peak in few.layers[0].peaks(0)} <= set(map(str, images))
    assert len(offshelf.top_images(images[0].parent, "stage1", limit=1).layers[0].channels) == 1


@pytest.mark.slow
def test_compare_writes_its_rows(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    result = offshelf.compare(scenes, out=out, heads=["ridge", "centroid"], C=[0.5, 1])
    assert len(result.rows) == len(out.read_text().splitlines()) - 1 == 3


def test_a_forecast_is_part_of_an_inspection(scenes: Path) -> None:
    plain = offshelf.inspect("efficientnet_lite0", input_size=64)
    assert (plain.input_size, plain.forecast) == (64, None)
    assert "forecast" not in plain.to_json()


@pytest.mark.slow
def test_settings_objects_take_the_place_of_options(scenes: Path, fitted: FitResult) -> None:
    head = offshelf.HeadSettings("ridge")
    result = offshelf.fit(scenes, features=offshelf.FeatureSettings(), head=head)
    assert (result.model.head.kind, result.path) == ("ridge", None)
    settings = offshelf.CompareSettings(heads=offshelf.HeadAxes(heads=("centroid",)))
    assert [row.recipe.head for row in offshelf.compare(scenes, settings).rows] == ["centroid"]
    mixed = (
        "fit: features=FeatureSettings(...) and layer=...: settings objects and single options "
        "are not mixed; give one kind"
    )
    with pytest.raises(offshelf.OffshelfError) as caught:
        offshelf.fit(scenes, features=offshelf.FeatureSettings(), layer="stage5")
    assert str(caught.value) == mixed


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("fit", {"bakbone": "vgg16"}, "fit has no keyword 'bakbone'. Did you mean 'backbone'?"),
    ("fit", {"c": 1}, "fit has no keyword 'c'. Did you mean 'C'?"),
    ("fit", {"json": True}, "fit has no keyword 'json': the result has to_json()"),
    ("fit", {"samples": 20}, "samples: 20 is not from 0 to 16"),
    ("fit", {"samples": 2.5}, "samples: '2.5' is no whole number"),
    ("fit", {"samples": True}, "samples: 'True' is no whole number"),
    ("fit", {"reject": "often"}, "reject: invalid float value: 'often'"),
    ("fit", {"C": "much"}, "C: 'much' is no number and not 'auto'"),
    ("fit", {"backbone": 16}, "backbone: a text, not 16"),
    ("fit", {"rehash": "no"}, "rehash: True or False, not 'no'"),
    (
        "fit",
        {"class_weight": "balance"},
        "class_weight: no 'balance': none, balanced. Did you mean 'balanced'?",
    ),
    ("fit", {"max_memory": "much"}, "max_memory: 'much' is no size such as 800M or 2G"),
    ("curve", {"sizes": [5, "x"]}, "sizes: '5,x' is no list such as 5,10,20"),
    ("compare", {"settings": "rows.csv"}, "settings: a settings object, not 'rows.csv'"),
    ("fit", {"run": 3}, "run: a settings object, not 3"),
    ("audit", {"target": 0.9}, "audit has no keyword 'target'."),
    (
        "evaluate",
        {"data": "x", "class_weight": "none"},
        "evaluate has no keyword 'class_weight': the model file holds a classifier that is trained",
    ),
]


@pytest.mark.parametrize(("name", "options", "text"), WRONG)
def test_a_wrong_keyword_or_value_is_said_in_one_line(
    name: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(offshelf.OffshelfError) as caught:
        getattr(offshelf, name)("no/data", **options)
    assert str(caught.value) == text


def test_an_unknown_keyword_is_also_a_type_error() -> None:
    assert issubclass(UnknownOptionError, TypeError)
    with pytest.raises(TypeError, match="required positional argument: 'data'"):
        offshelf.fit()  # type: ignore[call-arg]


@pytest.mark.slow
def test_progress_receives_notes(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    progress = Silent()
    offshelf.extract(tmp_path / "a.png", weights="random", progress=progress)
    assert any("UNTRAINED" in note for note in progress.notes)


OLD = {
    "activation_maps": "maps",
    "classify_images": "classify",
    "evaluate_model": "evaluate",
    "extract_features": "extract",
    "first_filters": "filters",
    "learning_curve": "curve",
    "predict_images": "predict",
}


@pytest.mark.parametrize("name", sorted(OLD))
def test_an_old_name_still_takes_settings_and_gives_the_same_result(name: str) -> None:
    old = inspect.signature(getattr(offshelf, name))
    new = inspect.signature(getattr(offshelf, OLD[name]))
    assert "run" in old.parameters
    results = typing.get_args(new.return_annotation) or (new.return_annotation,)
    assert str(old.return_annotation) == " | ".join(one.__name__ for one in results)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: offshelf.predict("m.offshelf", [5]), "paths: a path, not 5"),
        (lambda: offshelf.predict("m.offshelf", None), "paths: a path, not None"),
        (lambda: offshelf.predict(None, ["a.png"]), "model: a path, not None"),
        (lambda: offshelf.predict("m.offshelf", b"a.png"), "paths: a path, not b'a.png'"),
        (lambda: offshelf.fit("d", 5), "out: a path, not 5"),
        (lambda: offshelf.audit(b"d"), "data: a path, not b'd'"),
    ],
)
def test_a_place_that_is_none_is_said_in_one_line(call: Callable[[], object], text: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        call()
    assert str(caught.value) == text


@pytest.mark.parametrize("option", ["backbone", "layer", "resize"])
def test_a_number_in_place_of_a_name_is_said(option: str) -> None:
    classifier = offshelf.TransferClassifier(**{option: 5})
    with pytest.raises(OffshelfError, match=rf"\b(no|unknown) {option}[a-z ]* '?5\b"):
        classifier.fit([np.zeros((8, 8, 3), np.uint8)] * 4, ["a", "b"] * 2)


@pytest.mark.parametrize("by", ["option", "settings"])
def test_a_cache_folder_that_cannot_be_one_is_said_first(by: str, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    run = RunSettings(EngineOptions(cache_dir=place))
    words: dict[str, Any] = {"cache_dir": place} if by == "option" else {"run": run}
    with pytest.raises(OffshelfError, match=rf"^{place}: is a file, no folder"):
        offshelf.fit("no/such/folder", **words)


def test_help_names_options_that_there_are_and_leaves_commands_as_they_are() -> None:
    assert "'offshelf audit --corrections'" in " ".join((offshelf.fit.__doc__ or "").split())
    assert "(default: IMAGE-LAYER.png)" not in (offshelf.maps.__doc__ or "")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.__name__.rpartition(".")[2])
def test_the_help_of_a_command_names_its_own_options_only(command: ModuleType) -> None:
    """Or those of another command that it names in quotes."""
    parser = Parser(prog="offshelf")
    command.configure(parser)
    own = {option for one in parser._actions for option in one.option_strings}
    own |= set(parser.decided)
    for one in parser._actions:
        text = re.sub(r"'offshelf [^']*'", "", one.help or "")
        assert set(re.findall(r"--\w[\w-]*", text)) <= own, one.dest
