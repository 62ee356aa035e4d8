"""What is written is the same bytes under every code page, and names are spelled one way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offshelf.data.folders.class_names import composed
from offshelf.text import json_text, spelled

CODE_PAGES = {
    "windows": {"PYTHONIOENCODING": "cp1252"},
    "dos": {"PYTHONIOENCODING": "cp437:replace", "PYTHONUTF8": "0"},
    "c": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
LABELS = {"checks": "Straße", "noise": "北京", "stripes": "Łódź \U0001f600"}


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_has_a_spelling_that_can_be_written(name: str) -> None:
    found = spelled(name)
    assert found.encode().decode() == found
    assert spelled(found) == found
    assert json.loads(json_text([name])) == [found]
    assert json_text({name: name}).isascii()


@given(st.text())
def test_text_without_surrogates_stays_as_it_is(name: str) -> None:
    assert spelled(name) == name
    assert json.loads(json_text(name)) == name


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\udce5\udc8c\udc97", "北"),
        ("\udce5\udc8c", r"\xe5\x8c"),
        ("é\udcc3\udca9\udcff", "éé" + r"\xff"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_bytes_that_are_no_utf8_are_escapes(name: str, spelling: str) -> None:
    assert spelled(name) == spelling


def test_a_class_that_was_typed_where_the_locale_is_c_is_the_class() -> None:
    assert composed("\udce5\udc8c\udc97") == "北"


LOCATED = """
import os, sys
from pathlib import Path
from offshelf.data.tables.path_lists import located
place, how = located(Path(sys.argv[1]), os.fsencode(sys.argv[2]).decode("utf-8"))
print(place.is_file(), repr(how), sys.getfilesystemencoding())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of files are bytes there")
@pytest.mark.parametrize(("name", "text"), [("北/1.png", "北/1.png"), ("北/1.png", "北\\1.png")])
def test_a_path_of_a_table_is_found_where_the_locale_is_c(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", LOCATED, str(tmp_path), text],
        env=os.environ | CODE_PAGES["c"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True ")
    assert "utf" not in done.stdout


def test_json_holds_no_number_that_is_none() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([float("nan")])


@pytest.fixture(scope="module")
def data(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes in classes of three scripts, one image with a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("scripts")
    for split in ("train", "test"):
        for name, label in LABELS.items():
            shutil.copytree(scenes / split / name, folder / split / label)
    first = folder / "test" / "北京" / "0.png"
    first.rename(os.fsdecode(os.fsencode(first.parent) + b"/caf\xe9.png"))
    return folder


def run(data: Path, settings: dict[str, str], *words: str) -> bytes:
    command = [sys.executable, "-m", "offshelf", *words, "--quiet"]
    environment = os.environ | settings
    done = subprocess.run(command, cwd=data, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs(data: Path, out: Path, settings: dict[str, str]) -> dict[str, bytes]:
    """Everything that a run gives which is not a time."""
    out.mkdir()
    model, features = str(out / "m.offshelf"), str(out / "f.parquet")
    run(data, settings, "fit", ".", "--out", model)
    run(data, settings, "extract", ".", "-o", features)
    document = json.loads(run(data, settings, "predict", model, "test", "--json"))
    return {
        "csv": run(data, settings, "predict", model, "test", "--csv"),
        "table": run(data, settings, "predict", model, "test"),
        "json": json_text([document["classes"], document["predictions"]]).encode(),
        "parquet": Path(features).read_bytes(),
    }


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs names of bytes")
@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_output_is_the_same_bytes_under_every_code_page(data: Path, tmp_path: Path) -> None:
    usual = outputs(data, tmp_path / "usual", {})
    assert all(label.encode() in usual["csv"] for label in LABELS.values())
    assert rb"caf\xe9.png" in usual["csv"]
    assert rb"caf\\xe9.png" in usual["json"]
    assert rb"caf\xe9.png" in usual["parquet"]
    for page, settings in CODE_PAGES.items():
        assert outputs(data, tmp_path / page, settings) == usual, page
