"""Training of one head on all rows, and its scores of rows that are held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.arguments import checked_features, checked_targets
from offshelf.heads.class_balance import class_weights
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head, fit_prepared
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.fitter import CrossFit
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.options import GRID
from offshelf.heads.preparation.prepare import Prepared, prepare_checked
from offshelf.heads.stratified_folds import fold_splits, in_row_order

Train = Callable[[NDArray[np.float32], NDArray[np.int64]], FittedHead]


class Trainer:
    """Trains a head, and scores each row by a head that was trained without its fold.

    What both need of the rows, their preparation and inner products, is computed once.

    Args:
        recipe: how the head is trained.
        features: N x D, finite, float32 (other real types are taken too); left unchanged.
        targets: N class indices, 0 to K - 1.
        classes: K class names, K >= 2, each with at least one row.

    Attributes:
        head: trained on all rows.

    Raises:
        HeadError: as :func:`.fit_head`.

    >>> features = np.array([[1, 0], [2, 1], [0, 1], [1, 3]], dtype=np.float32)
    >>> trainer = Trainer(Recipe(), features, np.array([0, 0, 1, 1]), ["cat", "dog"])
    >>> trainer.head.classes, trainer.held_out(np.array([0, 1, 0, 1])).argmax(axis=1).tolist()
    (('cat', 'dog'), [0, 0, 1, 1])
    """

    def __init__(
        self,
        recipe: Recipe,
        features: NDArray[Any],
        targets: NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        self.recipe = recipe
        self.features = checked_features(features)
        self.targets, self.classes = checked_targets(len(self.features), targets, classes)
        self._prepared = self._prepare()
        self.head = self._fit(self._prepared)
        # What a fold has its own of would only take memory.
        self._prepared.rows.keep("gram", "spectrum")

    def held_out(
        self, fold: NDArray[np.int64], tell: Callable[[], object] = lambda: None
    ) -> NDArray[np.float32]:
        """Return the scores of the rows that are held out, each by a head that never saw it.

        C is the one of :attr:`head`, so it is not chosen again without every fold.

        Args:
            fold: N, what :func:`.held_out_folds` returned: -1 for a row that is never held out.
            tell: called once for each fold that is done.

        Returns:
            M x K float32, in the order of the M rows with a fold.

        Raises:
            HeadError: a head cannot be trained on part of the rows.
        """
        chosen = self.head.parameters.get("C")
        recipe = replace(self.recipe, c=chosen) if isinstance(chosen, float) else self.recipe
        scores = self._cross_fit(recipe, fold) if recipe.by_row else None
        if scores is None:
            return self._trained_anew(recipe, fold, tell)
        for _ in range(int(fold.max()) + 1):
            tell()
        return scores[fold >= 0].astype(np.float32)

    def _prepare(self) -> Prepared:
        recipe, k = self.recipe, len(self.classes)
        # Inner products are shared up to the C that training itself will ask for.
        c = max(GRID) if recipe.options.c == "auto" else recipe.options.c
        c *= max(1.0, float(class_weights(self.targets, k, recipe.class_weight).max()))
        return prepare_checked(
            self.features, recipe.normalisation, recipe.reduction, recipe.seed, c
        )

    def _fit(self, prepared: Prepared) -> FittedHead:
        kind, options = self.recipe.kind, self.recipe.options
        return fit_prepared(kind, prepared, self.targets, self.classes, options)

    def _cross_fit(self, recipe: Recipe, fold: NDArray[np.int64]) -> NDArray[np.float64] | None:
        task = CrossFit(
            rows=self._prepared.rows,
            targets=self.targets,
            n_classes=len(self.classes),
            options=recipe.options,
            fold=fold,
            arrays=self.head.arrays,
        )
        return get_fitter(recipe.kind).cross_fit(task)

    def _trained_anew(
        self, recipe: Recipe, fold: NDArray[np.int64], tell: Callable[[], object]
    ) -> NDArray[np.float32]:
        def train(features: NDArray[np.float32], targets: NDArray[np.int64]) -> FittedHead:
            trained = fit_head(recipe, features, targets, self.classes)
            tell()
            return trained

        return held_out_scores(train, self.features, self.targets, fold)


def held_out_scores(
    train: Train, features: NDArray[Any], targets: NDArray[np.int64], fold: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the scores of the rows that are held out, each by a head that never saw it.

    Those heads have fewer rows than one on all, so they are a little less sure.

    Args:
        train: fits a head of K classes on some of the rows.
        features: N x D.
        targets: N class indices.
        fold: what :func:`held_out_folds` returned.

    Returns:
        M x K float32, in the order of the M rows with a fold.

    Raises:
        HeadError: a head cannot be trained on part of the rows.

    >>> features = np.array([[1, 0], [2, 1], [0, 1], [1, 3]], dtype=np.float32)
    >>> targets, fold = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> train = lambda some, theirs: fit_head(Recipe(), some, theirs, ["cat", "dog"])
    >>> held_out_scores(train, features, targets, fold).argmax(axis=1)
    array([0, 0, 1, 1])
    """
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for held, kept in fold_splits(fold):
        head = train(features[kept], targets[kept])
        parts.append((held, decision(head, features[held])))
    return in_row_order(parts)
