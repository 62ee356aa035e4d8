"""Cheap scores of transferability for each view, kept like cells."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from offshelf import files
from offshelf.evaluate.transfer import Transfer, transfer_scores
from offshelf.heads.prepare import Preparation, apply
from offshelf.jobs.compare.cells import training_matrix
from offshelf.jobs.compare.plan import Plan, Recipe
from offshelf.locks import alone
from offshelf.progress import Progress

# Stands in the key where a cell has its recipe.
_MARK = Recipe(head="transfer scores")


def transfer_of(plan: Plan, progress: Progress) -> dict[int, Transfer]:
    """Return the scores of each view on the L2-normalised training rows of the first fold."""
    progress.start("transfer scores", len(plan.views))
    found = {}
    try:
        for view in range(len(plan.views)):
            place = plan.place(view, 0, _MARK)
            found[view] = _read(place) or _made(plan, view, place)
            progress.advance()
    finally:
        progress.finish()
    return found


def _made(plan: Plan, view: int, place: Path) -> Transfer:
    with alone(place):
        # Another comparison may have made them in the meantime.
        kept = _read(place)
        if kept is None:
            kept = _scores(plan, view)
            files.write_json(place, asdict(kept))
        return kept


def _scores(plan: Plan, view: int) -> Transfer:
    rows = training_matrix(plan, view, 0)
    scaled = apply(Preparation("l2", "none", {}), rows)
    return transfer_scores(scaled, plan.targets[plan.folds[0].train])


def _read(place: Path) -> Transfer | None:
    try:
        return Transfer(**json.loads(place.read_text()))
    except (OSError, ValueError, TypeError):
        return None
