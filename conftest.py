"""What every test needs, the examples in docstrings and in the README included."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples each time, on a busy machine as on a quiet one.
hypothesis.settings.register_profile("offshelf", deadline=None, derandomize=True)
hypothesis.settings.load_profile("offshelf")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests are no garbage, while they are found and ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session: no test reads or writes the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["OFFSHELF_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same numbers, alone and behind others."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        # torch.manual_seed takes 300 times as long, for devices that no test draws on.
        sys.modules["torch"].default_generator.manual_seed(0)
