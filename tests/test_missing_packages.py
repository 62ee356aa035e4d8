"""An installation without nncf or llvmlite: all else works, and messages say what is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine import int8
from offshelf.engine.openvino_engine.int8_winograd import int8_method
from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.errors import EngineError
from offshelf.jobs.doctor import diagnose
from offshelf.jobs.extract.job import extract_features
from offshelf.jobs.setup import precision
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.workload import Work
from offshelf.machine_code import has_llvm, is_measured, is_possible
from offshelf.progress import Silent
from offshelf.resample import resize

NNCF = "precision int8 needs nncf, a part of every installation that is missing here"
# Fakes that packages are absent, then runs the command line in this fresh process.
START = """
import sys
for name in sys.argv.pop(1).split():
    sys.modules[name] = None
from offshelf.cli.main import console
sys.exit(console())
"""


def without(names: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process where packages are absent."""
    command = [sys.executable, "-c", START, names, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture
def no_llvmlite(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    cached = (kernel.registers, kernel.has_fast_bf16, kernel.has_fast_int8)
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


@pytest.mark.slow
def test_fp32_needs_neither(scenes: Path, tmp_path: Path) -> None:
    """Nothing but a first fit of the same network would differ: not one bit of a score does."""
    fit = ("fit", scenes, "--json", "--quiet", "--cache-dir")
    lacking = without("nncf llvmlite", *fit, tmp_path / "a", "--out", tmp_path / "a.offshelf")
    whole = without("", *fit, tmp_path / "b", "--out", tmp_path / "b.offshelf")
    assert (lacking.returncode, lacking.stderr) == (0, "")
    found, same = (json.loads(run.stdout) for run in (lacking, whole))
    assert found["accuracy"] == same["accuracy"] > 0.9
    scores = [
        without(names, "predict", tmp_path / "a.offshelf", scenes / "test", "--csv").stdout
        for names in ("nncf llvmlite", "")
    ]
    assert scores[0] == scores[1] != ""


@pytest.mark.slow
def test_int8_without_nncf_is_one_line(scenes: Path, tmp_path: Path) -> None:
    run = without(
        "nncf", "extract", scenes, "--precision", "int8", "--quiet", "--cache-dir", tmp_path
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"error: {NNCF}: pip install nncf\n"
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_broken_nncf_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    text = r"which cannot be imported here \(.*\): pip install --force-reinstall nncf$"
    with pytest.raises(EngineError, match=text), int8._quiet_nncf():
        pass


@pytest.mark.parametrize("halves", [False, True])
def test_auto_without_nncf_tries_what_is_left(
    halves: bool, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: halves)
    monkeypatch.setattr(precision, "FEW", 0)
    costly = Work(exact=10, faster=10, rate=100.0, gain=(0.5, 0.5))
    monkeypatch.setattr(precision, "workload", lambda *_: costly)
    notes = Silent()
    run = RunSettings(engine=EngineOptions(precision="auto"))
    done = extract_features(scenes, run=run, progress=notes)
    assert done.extraction.precision == "fp32"
    said = [note for note in notes.notes if note.startswith("precision auto")]
    assert said[0] == "precision auto leaves out int8, which needs nncf: pip install nncf"
    assert said[1].startswith("precision auto takes fp32")
    assert ("bf16" in said[1]) is halves


def test_without_llvmlite_nothing_is_compiled(no_llvmlite: None) -> None:
    assert not has_llvm()
    assert not is_possible()
    assert kernel.registers() is None
    assert not kernel.has_fast_bf16()
    assert int8_method("vgg16") == "nncf"
    maker = resize._Maker()
    picture = np.zeros((4096, 2049), np.uint8)
    assert maker.passes_for(picture) is None
    assert maker._tried


@pytest.mark.skipif(not is_measured(), reason="no code is compiled on this kind of processor")
def test_doctor_says_what_is_missing(
    no_llvmlite: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    checks = {check.name: check for check in diagnose(tmp_path).checks}
    assert not checks["compiled code"].ok
    assert checks["compiled code"].detail == (
        "llvmlite is missing or cannot be loaded: convolutions (VGG, ResNet-18) and resizing "
        "are as exact, and slower; pip install llvmlite"
    )
    assert checks["convolutions"].detail == "direct (no compiled code)"
    assert not checks["int8"].ok
    assert checks["int8"].detail == (
        "nncf is missing: precision auto leaves int8 out, and --precision int8 can calibrate "
        "no network; pip install nncf"
    )
    assert all(check.ok for name, check in checks.items() if name not in ("compiled code", "int8"))


def test_doctor_names_the_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {check.name: check for check in diagnose(tmp_path).checks}
    assert checks["int8"].detail.startswith("nncf ")
    code = "llvmlite " if is_measured() else "none for "
    assert checks["compiled code"].detail.startswith(code)
    monkeypatch.setattr("offshelf.machine_code._X86", frozenset())
    (other,) = (check for check in diagnose(tmp_path).checks if check.name == "compiled code")
    assert (other.ok, other.detail.endswith(": convolutions are direct, Pillow resizes")) == (
        True,
        True,
    )
