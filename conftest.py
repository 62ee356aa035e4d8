"""What every test needs, the examples in docstrings and in the README included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session: no test reads or writes the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["OFFSHELF_CACHE_DIR"] = str(folder)
    return folder
