"""The images of a job with several labels each: read, grouped, split and turned into features."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.label_table import read_label_table
from offshelf.data.tables.sources import existing
from offshelf.errors import DataError
from offshelf.jobs.setup.grouped_table import group_facts, groups_of
from offshelf.jobs.setup.settings import RunSettings
from offshelf.text import shown


def label_table_of(data: str | Path, run: RunSettings) -> ImageTable:
    """Read images with several labels as the settings of a run say, with their groups.

    Raises:
        DataError: the data cannot be read as such images, or the groups not be used.
    """
    if run.corrections is not None:
        raise DataError(
            f"{shown(run.corrections)}: corrections are about one label of each image, and "
            f"{shown(data)} has several; correct its column 'labels'"
        )
    place = existing(data)

    def with_groups(table: ImageTable) -> ImageTable:
        groups, notes = groups_of(table, place, run.groups)
        warnings = (*table.warnings, *notes)
        return dataclasses.replace(table, groups=groups or (), warnings=warnings)

    table = read_label_table(data, test_size=run.test_size, seed=run.seed, with_groups=with_groups)
    lines = [f"{name}: {text}" for name, text in group_facts(table)]
    return dataclasses.replace(table, warnings=(*table.warnings, *lines))


def membership_of(table: ImageTable, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of some images has which label, N x L."""
    return np.asarray(table.membership()[rows])
