"""Cells of the grid: one head trained on one fold, its predictions; and scores of each view.

A finished cell is a small JSON file, named by a hash of its inputs: a comparison that was killed
resumes where it was, and the same comparison again reads its results.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offshelf import sealed_json
from offshelf.errors import HeadError
from offshelf.feature_sets.feature_set import BOTH, PREDICTION, TRAINING
from offshelf.features.store.feature_store import FeatureStore
from offshelf.heads.fitting.fit_head import averaged_decision, fit_prepared
from offshelf.heads.fitting.serialise import pack_head
from offshelf.heads.options import GRID, ClassWeight, Normalisation, Options
from offshelf.heads.preparation.prepare import Preparation, Prepared, apply, prepare
from offshelf.jobs.compare.plan import Plan
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.locks import PATIENCE_SECONDS, alone
from offshelf.measurement.transferability import Transfer, transfer_scores
from offshelf.progress import Progress

Matrix = NDArray[np.float32]
# In place of a recipe, for the names of the lock of a unit and of its transfer scores.
UNIT, TRANSFER = HeadSettings("unit"), HeadSettings("transfer scores")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Predictions of one head on one fold.

    Attributes:
        predictions: class index of each test row.
        fit_seconds: to train, preparation of the features included.
        predict_seconds: to label all test rows from their features.
        dimension: values of a row that the head itself sees.
        c: the regularisation in force, None where the head has none.
        searched: the smallest and the largest C that ``auto`` tried; () where C was given.
        notes: what was unusual while training.
        head_bytes: of the arrays of the head.
        problem: why there is no head; "" where there is.
    """

    predictions: tuple[int, ...] = ()
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    dimension: int = 0
    c: float | None = None
    searched: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    head_bytes: int = 0
    problem: str = ""


def read_cell(plan: Plan, view: int, fold: int, recipe: HeadSettings) -> Cell | None:
    """Return a finished cell of *plan*, else None; an impossible one is set aside."""
    place = plan.place(view, fold, recipe)
    document = sealed_json.read(place)
    if document is None:
        return None
    try:
        for name in ("predictions", "notes", "searched"):
            document[name] = tuple(document.get(name, ()))
        cell = Cell(**document)
    except (KeyError, TypeError):
        cell = None
    if cell is not None and _possible(cell, len(plan.folds[fold].test), len(plan.classes)):
        return None if _cut_short(cell, recipe) else cell
    sealed_json.set_aside(place)
    return None


def _cut_short(cell: Cell, recipe: HeadSettings) -> bool:
    """Return whether C was chosen at an end of the grid, and nothing beyond could be tried yet."""
    return recipe.c == "auto" and not cell.searched and cell.c in (GRID[0], GRID[-1])


def _possible(cell: Cell, tested: int, classes: int) -> bool:
    """Return whether a head can have predicted this for *tested* rows and so many classes."""
    c = [] if cell.c is None else [cell.c]
    numbers = [cell.fit_seconds, cell.predict_seconds, cell.head_bytes, *c, *cell.searched]
    if not all(type(number) in (int, float) and 0 <= number < math.inf for number in numbers):
        return False
    if type(cell.dimension) is not int or not all(isinstance(one, str) for one in cell.notes):
        return False
    if cell.problem:
        return isinstance(cell.problem, str) and not cell.predictions
    labels = all(type(label) is int and 0 <= label < classes for label in cell.predictions)
    return labels and len(cell.predictions) == tested and cell.dimension > 0


def run_unit(plan: Plan, view: int, fold: int, wait: bool = True) -> bool:
    """Train the heads that are missing of one view in one fold, and keep what they predict.

    Returns False where another process works on it and was not waited for.

    Raises:
        StoreError: the features cannot be read.
    """
    patience = PATIENCE_SECONDS if wait else 0.0
    with alone(plan.place(view, fold, UNIT), patience) as free:
        if free or wait:
            _run(plan, view, fold)
        return free or wait


def _run(plan: Plan, view: int, fold: int) -> None:
    missing = [r for r in plan.recipes if read_cell(plan, view, fold, r) is None]
    if not missing:
        return
    rows, stored = plan.folds[fold], plan.views[view]
    train, test = (matrix_of(plan, view, side) for side in (rows.train, rows.test))
    mirror = None
    if stored.flips in (PREDICTION, BOTH):
        mirror = matrix_of(plan, view, rows.test, mirrored=True)
    if stored.flips in (TRAINING, BOTH):
        train = np.concatenate([train, matrix_of(plan, view, rows.train, mirrored=True)])
    groups: dict[tuple[str, str], list[HeadSettings]] = {}
    for recipe in missing:
        groups.setdefault((recipe.normalisation, recipe.reduction), []).append(recipe)
    for (normalisation, reduction), recipes in groups.items():
        began = time.perf_counter()
        cs = tuple(recipe.c for recipe in recipes)
        try:
            prepared: Any = prepare(
                train,
                normalisation=cast(Normalisation, normalisation),
                reduction=reduction,
                seed=plan.seed,
                cs=cs,
            )
        except HeadError as error:
            prepared = error
        # What several heads share is a cost of each.
        shared = time.perf_counter() - began
        for recipe in recipes:
            cell = _fit(plan, recipe, prepared, fold, (test, mirror), shared)
            sealed_json.write(plan.place(view, fold, recipe), asdict(cell))


def _fit(
    plan: Plan,
    recipe: HeadSettings,
    prepared: Any,
    fold: int,
    tested: tuple[Matrix, Matrix | None],
    shared: float,
) -> Cell:
    try:
        if isinstance(prepared, HeadError):
            raise prepared
        began = time.perf_counter()
        options = Options(recipe.c, plan.seed, cast(ClassWeight | None, recipe.class_weight))
        targets, groups = _training(plan, fold, prepared)
        head = fit_prepared(recipe.head, prepared, targets, plan.classes, options, groups)
        fitted = time.perf_counter()
    except HeadError as error:
        return Cell(problem=str(error))
    scores = averaged_decision(head, *tested)
    labels = scores.argmax(axis=1)
    seconds = time.perf_counter() - fitted
    return Cell(
        predictions=tuple(labels.tolist()),
        fit_seconds=shared + fitted - began,
        predict_seconds=seconds,
        dimension=int(head.arrays["weight"].shape[1]),
        c=cast(float | None, head.parameters.get("C")),
        searched=_ends(head.parameters.get("C_grid") or ()),
        notes=tuple(head.notes),
        head_bytes=sum(array.nbytes for array in pack_head(head)[0].values()),
    )


def _training(
    plan: Plan, fold: int, prepared: Prepared
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return classes and groups of the rows that are trained on; mirror images come last."""
    rows, groups = plan.folds[fold].train, plan.fold_groups[fold]
    times = prepared.rows.shape[0] // len(rows)
    if times > 1 and groups is None:
        # An image and its mirror image are in one fold where C is chosen.
        groups = np.arange(len(rows))
    tiled = None if groups is None else np.tile(groups, times)
    return np.tile(plan.targets[rows], times), tiled


def _ends(tried: Sequence[float]) -> tuple[float, ...]:
    return (min(tried), max(tried)) if tried else ()


def matrix_of(plan: Plan, view: int, rows: NDArray[np.int64], mirrored: bool = False) -> Matrix:
    """Return the features of *rows*, several parts joined."""
    stored = plan.views[view]
    digests = [plan.digests[row] for row in rows.tolist()]
    identities = stored.mirrors if mirrored else stored.parts
    parts = [FeatureStore(plan.root, dict(identity)).read(digests) for identity in identities]
    return stored.joining.join(parts)


def transfer_of(plan: Plan, progress: Progress) -> dict[int, Transfer]:
    """Return the scores of each view on the L2-normalised training rows of the first fold."""
    progress.start("transfer scores", len(plan.views))
    found = {}
    try:
        for view in range(len(plan.views)):
            found[view] = _transfer(plan, view)
            progress.advance()
    finally:
        progress.finish()
    return found


def _transfer(plan: Plan, view: int) -> Transfer:
    place, rows = plan.place(view, 0, TRANSFER), plan.folds[0].train
    kept = _read_transfer(place, len(rows))
    if kept is not None:
        return kept
    with alone(place):
        # Another comparison may have made them in the meantime.
        kept = _read_transfer(place, len(rows))
        if kept is None:
            scaled = apply(Preparation("l2", "none", {}), matrix_of(plan, view, rows))
            kept = transfer_scores(scaled, plan.targets[rows])
            sealed_json.write(place, asdict(kept))
        return kept


def _read_transfer(place: Path, images: int) -> Transfer | None:
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
