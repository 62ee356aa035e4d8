"""Margins of labels and links of near-duplicates as results in the cache."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.jobs.audit.doubtful_labels import LabelCheck, Margins, recipe_of_labels
from offshelf.jobs.audit.duplicates import Links
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.labelled_features import LabelledFeatures
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.trained_results import Arrays, Form, Kept, array_digest, kept


def kept_margins(
    labelled: LabelledFeatures, check: LabelCheck, folds: int, run: RunSettings
) -> Kept[Margins]:
    """Return the place of the margins of all labels."""
    table = check.table
    key = {
        "margins": labelled.key(check.usable),
        "usable": array_digest(check.usable),
        "table": [len(table), array_digest(table.rows("train")), array_digest(table.rows("test"))],
        "copies": array_digest(check.copies),
        "folds": folds,
        "recipe": dataclasses.asdict(recipe_of_labels(check.seed)),
    }

    def unpack(arrays: Arrays, _: Any) -> Margins:
        found = Margins(**arrays)
        if not found.margin.shape == found.rival.shape == (len(table),):
            raise ValueError("margins of other images")
        return found

    return kept(run, key, Form(lambda found: (vars(found), None), unpack))


def kept_links(
    labelled: LabelledFeatures,
    firsts: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    bounds: Bounds,
    run: RunSettings,
) -> Kept[Links]:
    """Return the place of the links among the rows *firsts*, by their hashes."""
    rows = labelled.key(firsts)
    key = {
        # Labels and classes decide no link.
        "links": {name: rows[name] for name in ("features", "rows")},
        "hashes": array_digest(hashes),
        "bounds": [bounds.hash_distance, bounds.cosine],
    }

    def pack(links: Links) -> tuple[Arrays, Any]:
        parts = dict(vars(links))
        return parts, parts.pop("n")

    def unpack(arrays: Arrays, n: Any) -> Links:
        if n != len(hashes):
            raise ValueError("links of other images")
        return Links(n=n, **arrays)

    return kept(run, key, Form(pack, unpack))
