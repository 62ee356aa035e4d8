"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data set and weights, or a skip that says where it was sought."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("OFFSHELF_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data not here: set OFFSHELF_SHARED or put it at {folder}")
    return folder
