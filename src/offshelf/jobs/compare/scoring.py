"""Cheap scores of transferability for each view, kept like cells."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from offshelf import sealed_json
from offshelf.evaluate.transfer.transferability import Transfer, transfer_scores
from offshelf.heads.preparation.prepare import Preparation, apply
from offshelf.jobs.compare.grid_cell import training_matrix
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
            found[view] = _read(place, len(plan.folds[0].train)) or _made(plan, view, place)
            progress.advance()
    finally:
        progress.finish()
    return found


def _made(plan: Plan, view: int, place: Path) -> Transfer:
    with alone(place):
        # Another comparison may have made them in the meantime.
        kept = _read(place, len(plan.folds[0].train))
        if kept is None:
            kept = _scores(plan, view)
            sealed_json.write(place, asdict(kept))
        return kept


def _scores(plan: Plan, view: int) -> Transfer:
    rows = training_matrix(plan, view, 0)
    scaled = apply(Preparation("l2", "none", {}), rows)
    return transfer_scores(scaled, plan.targets[plan.folds[0].train])


def _read(place: Path, images: int) -> Transfer | None:
    """Return the scores that were kept for so many images; what cannot be them is set aside."""
    document = sealed_json.read(place)
    if document is None:
        return None
    names = [field.name for field in fields(Transfer)]
    numbers = all(type(document.get(name)) in (int, float) for name in names)
    if numbers and len(document) == len(names) and document["n"] == images:
        return Transfer(**document)
    sealed_json.set_aside(place)
    return None
