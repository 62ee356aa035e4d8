"""The package as a whole: public names, what an import loads, version, pins, typing mark."""

from __future__ import annotations

import ast
import importlib
import importlib.resources
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import offshelf
from offshelf.backbones.catalogue import names as catalog
from offshelf.cli import main as cli
from offshelf.functions import commands as functions
from offshelf.functions.call import IN_PYTHON, Command
from offshelf.functions.values import keyword_of

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "offshelf"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = offshelf._NAMES

HEAVY = {"torch", "torchvision", "timm", "openvino", "matplotlib"}
HEAVY |= {"sklearn", "scipy", "pandas", "pyarrow"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a new Python process after it has run *code*."""
    report = "import sys, json; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_public_name_resolves(name: str) -> None:
    module, attribute = NAMES[name]
    assert getattr(offshelf, name) is getattr(
        importlib.import_module(f"offshelf.{module}"), attribute
    )
    assert name in dir(offshelf)


def test_type_checkers_see_the_names_of_the_table() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (str(node.module).removeprefix("offshelf."), alias.name)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == NAMES
    assert set(offshelf.__all__) == {*NAMES, "__version__"}


def test_no_public_name_hides_a_submodule() -> None:
    # The import of a submodule sets the attribute of its name: offshelf.prediction would be
    # the function before that import and the module after it.
    parts = {path.stem for path in SOURCE.iterdir()}
    assert not parts & set(NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'offshelf' has no attribute 'nothing'"):
        _ = offshelf.nothing


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import offshelf") & (HEAVY | {"numpy", "PIL", "rich"})
    # The probe itself sees what is loaded.
    assert "numpy" in loaded_by("import numpy")


def test_only_engines_and_estimators_load_what_is_heavy() -> None:
    names = (
        ".".join(["offshelf", *path.relative_to(SOURCE).with_suffix("").parts])
        for path in SOURCE.rglob("*.py")
        if path.stem not in {"__init__", "__main__"}
    )
    light = [
        name
        for name in names
        if not name.startswith("offshelf.engine.")
        and name not in ("offshelf.estimator", "offshelf.feature_extractor")
    ]
    # scipy comes with what heads and metrics compute; only start-up must do without it.
    assert not loaded_by(f"import {', '.join(light)}") & (HEAVY - {"scipy"})


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    run = (
        f"from offshelf.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit: pass"
    )
    assert not loaded_by(run) & HEAVY


KEEPS_AND_READS = """
import tempfile
from pathlib import Path

import numpy as np
from offshelf.data.decoding.limits import Facts
from offshelf.features.store.feature_store import FeatureStore

folder = Path(tempfile.mkdtemp())
store = FeatureStore(folder, {}, 2)
store.append(b"y" * 32, np.ones(2, np.float32), Facts(width=3, height=2, assumed="grey"))
store.flush()
again = FeatureStore(folder, {})
assert again.facts(b"y" * 32) == Facts(width=3, height=2, assumed="grey")
assert again.read([b"y" * 32]).tolist() == [[1, 1]]
"""


@pytest.mark.slow
def test_features_are_kept_and_read_without_pandas() -> None:
    """pyarrow loads it where it can, a quarter of a second in each process."""
    assert not loaded_by(KEEPS_AND_READS) & {"pandas"}
    assert "pandas" in loaded_by("import pyarrow; pyarrow.array([1])")


def test_the_command_of_a_process_collects_rarely_and_lets_go_at_the_end() -> None:
    run = """
import gc, sys
from offshelf.cli import main
sys.argv = ["offshelf", "--version"]
try:
    main.console()
except SystemExit:
    assert gc.get_threshold()[0] == main.OBJECTS_BETWEEN_COLLECTIONS
    assert gc.get_freeze_count() > 0
else:
    raise SystemExit("no version")
"""
    subprocess.run([sys.executable, "-c", run], check=True, capture_output=True)


def test_the_script_and_the_module_are_the_same_command() -> None:
    assert PROJECT["scripts"] == {"offshelf": "offshelf.cli.main:console"}
    assert "import console" in (SOURCE / "__main__.py").read_text()


def test_the_version_is_one() -> None:
    assert offshelf.__version__ == PROJECT["version"]


def test_the_typing_mark_ships() -> None:
    assert importlib.resources.files("offshelf").joinpath("py.typed").is_file()
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert "py.typed" in tool["setuptools"]["package-data"]["offshelf"]


def pins() -> dict[str, str]:
    """The version of each package in constraints.txt; a line that pins nothing fails."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_direct_requirement_is_pinned_in_its_range() -> None:
    pinned = pins()
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(line for lines in extras for line in lines)]
    for requirement in map(Requirement, asked):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} forbids {version}"


def test_the_pins_hold_for_a_cpu_build_of_torch() -> None:
    pinned = pins()
    assert "+" not in pinned["torch"]
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offshelf", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("offshelf ")


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of everything that may tell a person to install something."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    pages = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    for path in [*pages, *sorted((ROOT / "docs").rglob("*.md"))]:
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def extras_named(text: str) -> set[str]:
    """The extras in *text*; braces are filled in from data that a test reads by itself."""
    found = {name for one in re.findall(r"offshelf\[([^\]{]+)\]", text) for name in one.split(",")}
    calls = r"MissingExtraError\(\s*\"[^\"]*\",\s*(?:extra=)?\"([^\"]+)\"\)"
    return {name.strip() for name in found} | set(re.findall(calls, text))


def test_every_extra_that_a_text_names_exists() -> None:
    extras = set(PROJECT["optional-dependencies"])
    named = [(name, extra) for name, text in texts() for extra in extras_named(text)]
    assert [pair for pair in named if pair[1] not in extras] == []
    assert {"lite", "frames"} <= {extra for _, extra in named}
    specs = [catalog.get_spec(name) for name in catalog.names()]
    assert {spec.extra for spec in specs} - {""} <= extras
    calls = sum(text.count("MissingExtraError(") for _, text in texts())
    literal = sum(len(re.findall(r"MissingExtraError\(\s*\"", text)) for _, text in texts())
    assert calls - literal == 1, "an extra that is not written out, beside the class itself"


def test_every_package_that_a_text_tells_to_install_is_a_requirement() -> None:
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(line for lines in extras for line in lines)]
    known = {canonicalize_name(Requirement(line).name) for line in asked}
    told = {
        (name, package)
        for name, text in texts()
        for package in re.findall(r"pip install (?:-U )?'?([a-zA-Z][\w-]*)", text)
    }
    strangers = {pair for pair in told if canonicalize_name(pair[1]) not in known | {"offshelf"}}
    assert strangers == set()
    assert "nncf" in {package for _, package in told}


def faces() -> dict[str, Command[Any]]:
    """Public name -> the command behind the function of that name."""
    found = {name.lower(): one for name, one in vars(functions).items() if isinstance(one, Command)}
    assert set(found) <= set(offshelf.__all__)
    return found


FACES = faces()
# Commands without a function, and what Python has in its place.
WITHOUT = {
    "backbones": "offshelf.catalogue, whose options have always been keywords",
    "layers": "offshelf.list_layers, whose option has always been a keyword",
    "weights": "looks after this installation",
    "show": "offshelf.show, whose one option has always been a keyword",
    "demo": "shows the command line",
    "doctor": "looks after this installation",
}


def test_every_command_is_a_function_or_says_why_not() -> None:
    assert {one.name for one in FACES.values()} | set(WITHOUT) == set(cli.NAMES)


@pytest.mark.parametrize("name", sorted(FACES))
def test_a_function_has_the_options_of_its_command(name: str) -> None:
    """One for each, of the same name and default, and the other way round.

    An option that is new on the command line is a key of its class in
    ``functions/option_types.py``, or stands with its reason in ``hidden`` of its Command.
    """
    command, parameters = FACES[name], inspect.signature(getattr(offshelf, name)).parameters
    options = {keyword_of(one): one for one in command.parser._actions if one.dest != "help"}
    in_python = set(IN_PYTHON) - set(options)
    expected, found = set(options) - set(command.terminal_only), set(parameters) - in_python
    assert expected - found == set(), "options of the command line that have no keyword"
    assert found - expected == set(), "keywords that are no options of the command line"
    assert all(command.terminal_only.values())
    for word, one in parameters.items():
        if one.kind is one.KEYWORD_ONLY:
            assert one.default == (options[word].default if word in options else None), word
        else:
            # What a person has to name, and the file: where none is named, none is written.
            assert one.default is (None if word in ("out", "settings") else one.empty), word


@pytest.mark.parametrize("name", sorted(FACES))
def test_the_help_of_a_function_is_that_of_its_command(name: str) -> None:
    text = " ".join((getattr(offshelf, name).__doc__ or "").split())
    for word, action in FACES[name].actions.items():
        # As far as no other option is named, which is another word here, nor a default of a file.
        words = re.split(r"--|%|;| \(default: ", action.help or "")[0]
        help_text = " ".join(words.split())
        assert f"{word}: {help_text}" in text
