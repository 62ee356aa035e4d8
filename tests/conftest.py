"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offshelf.data.demo_images import write_demo
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit

# Images of each class that the tests leave in the folder of the demo.
KEPT = {"train": 15, "test": 8}


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data set and weights, or a skip that says where it was sought."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("OFFSHELF_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data not here: set OFFSHELF_SHARED or put it at {folder}")
    return folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set that a network tells apart: stripes, checks and noise; train and test."""
    root = tmp_path_factory.mktemp("scenes")
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 4)):
        for name in ("checks", "noise", "stripes"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(texture(name, draw)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def fitted(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """What ``fit`` says of the small data set; its model file is :func:`model`."""
    return fit(scenes, tmp_path_factory.mktemp("model") / "scenes.offshelf")


@pytest.fixture(scope="session")
def model(fitted: FitResult) -> Path:
    """The model file of the small data set, which no test changes."""
    assert fitted.path is not None
    return fitted.path


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head fc learns for a moment only."""
    monkeypatch.setattr("offshelf.heads.kinds.fc.MAX_EPOCHS", 25)


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader works: ``offshelf-demo``, with fewer digits."""
    home = tmp_path_factory.mktemp("reader")
    digits = write_demo(home / "offshelf-demo")
    for split, count in KEPT.items():
        for folder in (digits / split).iterdir():
            for path in sorted(folder.iterdir())[count:]:
                path.unlink()
    return home


@pytest.fixture
def reader(demonstration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a copy of the reader's, of one page."""
    folder = tmp_path / "reader"
    shutil.copytree(demonstration, folder, copy_function=os.link)
    monkeypatch.chdir(folder)
    return folder


def texture(name: str, draw: np.random.Generator) -> np.ndarray:
    """Return one 48 x 64 RGB picture of a kind, never the same twice."""
    row, column = np.mgrid[:48, :64]
    phase, period = draw.integers(0, 8), draw.integers(6, 10)
    waves = ((column + phase) // period) % 2
    if name == "checks":
        waves = waves ^ ((row + phase) // period) % 2
    grey = 200 * waves + draw.integers(0, 40, waves.shape)
    if name == "noise":
        grey = draw.integers(0, 240, waves.shape)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)
