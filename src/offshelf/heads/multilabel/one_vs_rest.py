"""Training of a head that learns each of several labels against the rest.

The labels share the preparation of the rows, their inner products and decompositions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.label_stratification import stratified_sides
from offshelf.errors import HeadError
from offshelf.heads.arguments import checked_features
from offshelf.heads.class_balance import ALONE, class_weights, fold_splits
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.mirror_images import Images
from offshelf.heads.group_folds import Groups
from offshelf.heads.head import FittedHead, frozen
from offshelf.heads.kinds.fitter import CrossFit, Fitter
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.kinds.ridge import Ridge, held_out_signs, regressions
from offshelf.heads.label_decisions import LABEL_HEADS
from offshelf.heads.multilabel.label_thresholds import decide_labels, mean_average_precision
from offshelf.heads.options import FOLDS, GRID, Options
from offshelf.heads.preparation.prepare import Prepared, prepare
from offshelf.heads.regularisation_path import best_of, regularisation_path
from offshelf.text import listed

Membership = NDArray[np.bool_]


def check_label_head(kind: str) -> None:
    """Refuse a head that cannot learn several labels.

    >>> check_label_head("knn:5")
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: head 'knn:5' gives one label; for several: svm, logistic, ridge
    """
    get_fitter(kind)
    if kind not in LABEL_HEADS:
        words = ", ".join(LABEL_HEADS)
        raise HeadError(f"head {kind!r} gives one label; for several: {words}")


def fit_label_head(
    recipe: Recipe,
    images: Images | NDArray[Any],
    membership: Membership,
    labels: Sequence[str],
    *,
    groups: Groups | None = None,
    advance: Callable[[], object] = lambda: None,
) -> FittedHead:
    """Train a head on images with several labels, with thresholds and probabilities.

    Five folds that keep the share of each label, and groups together, are held out in turn:
    on their scores each label gets its threshold and its sigmoid (:func:`.decide_labels`), and C,
    where it is ``auto``, is the one of the best mean average precision, the same for all labels.

    Args:
        recipe: which head, and how it is trained: ``svm``, ``logistic`` or ``ridge``.
        images: features N x D, finite, float32, or these with the features of mirror images; an
            image and its mirror image are held out together.
        membership: N x L bool, L >= 2; each label of some images, but not of all.
        labels: L names, all different.
        groups: N numbers of groups that folds keep together; None where rows are independent.
        advance: called once for each value of C that was tried.

    Returns:
        The head: its ``classes`` are the labels, each column of a decision a label's score, and
        its ``decisions`` say which of them an image has.

    Raises:
        HeadError: an argument is out of range, or a label cannot be learned.

    >>> from offshelf.heads.fitting.fit_head import decision
    >>> draw = np.random.default_rng(0)
    >>> membership = draw.random((60, 2)) < 0.5
    >>> features = membership @ np.eye(2, 4) + 0.1 * draw.normal(size=(60, 4))
    >>> head = fit_label_head(Recipe(normalisation="none"), features, membership, ["beach", "sea"])
    >>> bool((head.decisions.present(decision(head, features)) == membership).all())
    True
    """
    check_label_head(recipe.kind)
    if not isinstance(images, Images):
        images = Images(images)
    images = replace(images, rows=checked_features(images.rows))
    _check_membership(len(images.rows), membership, labels)
    fold = label_folds(membership, seed=recipe.seed, groups=groups)
    trainer = _Trainer(recipe, images, membership, tuple(labels), fold)
    c, record, scores = trainer.chosen(advance)
    head, decided = trainer.trained(trainer.prepared, c), decide_labels(membership, scores, labels)
    return replace(head, parameters={**head.parameters, **record}, decisions=decided)


def label_folds(
    membership: Membership, *, seed: int = 0, folds: int = FOLDS, groups: Groups | None = None
) -> NDArray[np.int64]:
    """Return for each of N images the fold that holds it out; -1 where nothing can be held out.

    Each fold has its share of each label; images of a group are in one fold.

    >>> label_folds(np.eye(4, 2, dtype=bool), folds=2).tolist()
    [0, 1, 0, 1]
    """
    own = (
        np.arange(len(membership)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    number = int(own.max()) + 1
    if number < 2:
        return np.full(len(membership), ALONE, np.int64)
    count = min(folds, number)
    order = np.random.default_rng(seed).permutation(number)
    fold = stratified_sides(membership, order[own].astype(np.int64), [1 / count] * count)
    return np.unique(fold, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Trainer:
    """Rows with their labels, and the fold that holds each of them out."""

    recipe: Recipe
    images: Images
    membership: Membership
    labels: tuple[str, ...]
    fold: NDArray[np.int64]

    @cached_property
    def prepared(self) -> Prepared:
        """All rows as the head learns from them."""
        return self._prepare(np.arange(len(self.images.rows)))

    @cached_property
    def _parts(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Prepared]]:
        """Each fold, the rest, and the rest as it is prepared without the fold."""
        return [
            (held, kept, self._prepare(kept))
            for held, kept in fold_splits(self.fold)
            if _learnable(self.membership[kept]).any()
        ]

    def _prepare(self, rows: NDArray[np.intp]) -> Prepared:
        recipe = self.recipe
        c = max(GRID) if recipe.options.c == "auto" else recipe.options.c
        # Inner products are shared up to the C that training itself will ask for.
        weights = [
            class_weights(column[rows].astype(np.int64), 2, recipe.class_weight).max()
            for column in self.membership.T
            if 0 < column[rows].sum() < len(rows)
        ]
        found = self.images.take(rows)
        twice = found.trained and found.mirrors is not None
        return prepare(
            np.concatenate([found.rows, found.mirrors]) if twice else found.rows,
            normalisation=recipe.normalisation,
            reduction=recipe.reduction,
            seed=recipe.seed,
            cs=(c * max(1.0, *weights),),
        )

    def chosen(
        self, advance: Callable[[], object]
    ) -> tuple[float, dict[str, Any], NDArray[np.float64]]:
        """Return C, what it was chosen by, and the scores N x L of rows held out at that C."""
        known: dict[float, NDArray[np.float64]] = {}

        def measure(cs: Sequence[float]) -> list[float]:
            for c in cs:
                known[c] = self.held_out(c)
                advance()
            return [mean_average_precision(self.membership, known[c]) for c in cs]

        given = self.recipe.options.c
        if given != "auto":
            measure((given,))
            return given, {}, known[given]
        cs, figures = regularisation_path(measure)
        best = cs[best_of(figures)]
        record = {"C_grid": list(cs), "mean_average_precisions": figures}
        return best, record, known[best]

    def held_out(self, c: float) -> NDArray[np.float64]:
        """Return the scores N x L of rows by heads that never saw them, NaN where there is none."""
        scores = np.full(self.membership.shape, np.nan)
        if self.fold.max() < 0:
            return scores
        if self.recipe.by_row and not (self.images.trained or self.images.averaged):
            scores = self._cross_fitted(c)
        else:
            for held, kept, prepared in self._parts:
                head = self.trained(prepared, c, kept)
                scores[held] = self.images.take(held).decide(head)
        for held, kept in fold_splits(self.fold):
            scores[np.ix_(held, np.flatnonzero(~_learnable(self.membership[kept])))] = np.nan
        return scores

    def _cross_fitted(self, c: float) -> NDArray[np.float64]:
        options, rows, fitter = self._options(c), self.prepared.rows, self._fitter
        if self._shares_regressions:
            signs = np.where(self.membership, 1.0, -1.0)
            return held_out_signs(rows, signs, c, fold_splits(self.fold))
        arrays = self.trained(self.prepared, c).arrays
        scores = np.zeros(self.membership.shape)
        for place, column in enumerate(self.membership.T):
            fold = self._own_folds(column)
            if fold.max() < 0:
                continue
            own = {name: np.stack([-one[place], one[place]]) for name, one in arrays.items()}
            task = CrossFit(
                rows=rows,
                targets=column.astype(np.int64),
                n_classes=2,
                options=options,
                fold=fold,
                arrays=own,
            )
            found = fitter.cross_fit(task)
            if found is not None:
                scores[:, place] = found[:, 1]
        return scores

    def _own_folds(self, column: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the folds without which a label can be learned, -1 for rows of the others."""
        fold = np.full(len(column), ALONE, np.int64)
        number = 0
        for held, kept in fold_splits(self.fold):
            if 0 < column[kept].sum() < len(kept):
                fold[held] = number
                number += 1
        return fold

    @cached_property
    def _fitter(self) -> Fitter:
        return get_fitter(self.recipe.kind)

    @property
    def _shares_regressions(self) -> bool:
        return isinstance(self._fitter, Ridge) and self.recipe.class_weight is None

    def _options(self, c: float) -> Options:
        return Options(c, self.recipe.seed, self.recipe.class_weight)

    def trained(
        self, prepared: Prepared, c: float, rows: NDArray[np.int64] | None = None
    ) -> FittedHead:
        """Return the head on *rows*, which *prepared* holds; a label without any scores 0."""
        membership = self.membership if rows is None else self.membership[rows]
        if self.images.trained and self.images.mirrors is not None:
            membership = np.tile(membership, (2, 1))
        options, width = self._options(c), prepared.rows.shape[1]
        weight, bias = np.zeros((len(self.labels), width)), np.zeros(len(self.labels))
        notes, places = list[str](), np.flatnonzero(_learnable(membership))
        if self._shares_regressions and len(places):
            signs = np.where(membership[:, places], 1.0, -1.0)
            weight[places], bias[places] = regressions(prepared.rows, signs, c)
            places = places[:0]
        for place in places:
            targets = membership[:, place].astype(np.int64)
            learned = self._fitter.fit(prepared.rows, targets, 2, options)
            weight[place], bias[place] = learned.arrays["weight"][1], learned.arrays["bias"][1]
            notes += [note for note in learned.notes if note not in notes]
        parameters: dict[str, Any] = {"C": c, "seed": self.recipe.seed}
        if options.class_weight is not None:
            parameters["class_weight"] = options.class_weight
        preparation = prepared.preparation
        if preparation.variance is not None:
            parameters["variance_kept"] = preparation.variance
        return FittedHead(
            kind=self.recipe.kind,
            classes=self.labels,
            arrays={"weight": frozen(weight), "bias": frozen(bias)},
            parameters=parameters,
            normalisation=preparation.normalisation,
            notes=tuple(notes),
            reduction=preparation.reduction,
            preparation=preparation.arrays,
        )


def _learnable(membership: Membership) -> NDArray[np.bool_]:
    """Return which labels some, but not all, of the images have."""
    return np.asarray(membership.any(axis=0) & ~membership.all(axis=0))


def _check_membership(n: int, membership: Membership, labels: Sequence[str]) -> None:
    if membership.dtype != np.bool_ or membership.shape != (n, len(labels)):
        raise HeadError(
            f"{n} rows of features and {len(labels)} labels, but membership of shape "
            f"{membership.shape} and {membership.dtype}: need bool, a row for each"
        )
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise HeadError("a head of several labels needs two or more, all different")
    images = membership.sum(axis=0).tolist()
    never = [name for name, count in zip(labels, images, strict=True) if not count]
    if never:
        raise HeadError(
            f"no training image that can be used has {_these(never)}; add images or leave it out"
        )
    always = [name for name, count in zip(labels, images, strict=True) if count == n]
    if always:
        raise HeadError(
            f"every training image that can be used has {_these(always)}, so what lacks it cannot "
            "be learned; add images without it or leave it out"
        )


def _these(names: Sequence[str]) -> str:
    return f"the label {listed(names)}" if len(names) == 1 else f"the labels {listed(names)}"
