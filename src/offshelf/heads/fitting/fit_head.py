"""Training and scoring of heads: pure functions on arrays, deterministic under a seed.

With the same number of BLAS threads, training gives the same bits; another number adds sums in
another order, which moves scores by about 1e-6 of the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.arguments import checked_features, checked_options, checked_targets
from offshelf.heads.class_balance import class_weights, fold_splits, in_row_order
from offshelf.heads.group_folds import Groups
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.fitter import CrossFit
from offshelf.heads.kinds.group_search import fit_by_groups
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.options import GRID, ClassWeight, Normalisation, Options
from offshelf.heads.preparation.prepare import Prepared, block_parts, prepare, prepared_block
from offshelf.heads.preparation.reduction import parse_reduction

DEFAULTS = Options()
Train = Callable[[NDArray[np.intp]], FittedHead]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a head is trained.

    Attributes:
        kind: a name in :mod:`.kinds.registry`; ``knn:5`` asks for five neighbours, ``fc:256``
            for a hidden layer of 256.
        c: inverse strength of the regularisation, > 0. ``auto`` takes the best of seven
            values from 0.01 to 100: for ``svm`` and ``logistic`` by cross-validation in
            five stratified folds, for ``ridge`` and ``lda`` by leaving out each row; where
            rows have groups, all four in five folds of whole groups. The
            head's ``parameters`` hold the choice and the figures it rests on. ``knn`` and
            ``centroid`` do not use it, ``fc`` takes 1 for ``auto``.
        normalisation: ``l2``, ``none``, ``standard`` or ``sqrt``.
        reduction: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``; this and
            *normalisation* as in :func:`.preparation.prepare.prepare`.
        class_weight: ``balanced`` gives all classes the same weight, whatever their number
            of rows.
        seed: of all random choices, 0 to 2**32 - 1.
    """

    kind: str = "svm"
    c: float | Literal["auto"] = 1.0
    normalisation: Normalisation = "l2"
    reduction: str = "none"
    class_weight: ClassWeight | None = None
    seed: int = 0

    @property
    def by_row(self) -> bool:
        """Whether a row is prepared in the same way whatever other rows are trained on."""
        reduction = parse_reduction(self.reduction).name
        return self.normalisation != "standard" and reduction in ("none", "random")

    @property
    def options(self) -> Options:
        """Those of the kind of head; a HeadError says which is out of range."""
        return checked_options(self.c, self.seed, self.class_weight)


def fit_head(
    recipe: Recipe,
    features: NDArray[Any],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    groups: Groups | None = None,
) -> FittedHead:
    """Train a head on a feature matrix.

    Args:
        recipe: which head, and how it is trained.
        features: N x D, finite, float32 (other real types are taken too); left unchanged.
        targets: N class indices, 0 to K - 1.
        classes: K class names, K >= 2, each with at least one row.
        groups: N numbers of groups, which the folds that choose C, and the rows that are held
            back to stop on, keep together; None where rows are independent.

    Returns:
        The head; its ``notes`` say when a solver did not converge.

    Raises:
        HeadError: an argument is out of range, features and targets do not fit together,
            values are not finite, or a class has no row.

    >>> features = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], dtype=np.float32)
    >>> head = fit_head(Recipe(kind="svm"), features, np.array([0, 0, 1, 1]), ["cat", "dog"])
    >>> [head.classes[k] for k in decision(head, features).argmax(axis=1)]
    ['cat', 'cat', 'dog', 'dog']
    """
    get_fitter(recipe.kind)
    options = recipe.options
    matrix = checked_features(features)
    checked_targets(len(matrix), targets, classes)
    prepared = prepare(
        matrix,
        normalisation=recipe.normalisation,
        reduction=recipe.reduction,
        seed=recipe.seed,
    )
    return fit_prepared(recipe.kind, prepared, targets, classes, options, groups)


def fit_prepared(
    kind: str,
    prepared: Prepared,
    targets: NDArray[np.int64],
    classes: Sequence[str],
    options: Options = DEFAULTS,
    groups: Groups | None = None,
) -> FittedHead:
    """Train the head *kind* on rows that :func:`.prepare.prepare` gave.

    Several heads and values of C share the preparation, and what they compute of the rows:
    beside them ``svm`` keeps at most N x N values, ``ridge``, ``lda`` and ``logistic`` each one
    matrix of N x N or d x d float64, the smaller, and one more where classes are balanced.
    Other arguments are those of :func:`fit_head`.

    Raises:
        HeadError: as :func:`fit_head`.

    >>> from offshelf.heads.preparation.prepare import prepare
    >>> prepared, given = prepare(np.eye(4), normalisation="none", cs=[1, 10]), ([0, 0, 1, 1], "ab")
    >>> heads = [fit_prepared("svm", prepared, *given, Options(c=c)) for c in (1, 10)]
    >>> [head.parameters["C"] for head in heads]
    [1.0, 10.0]
    """
    fitter = get_fitter(kind)
    options = checked_options(options.c, options.seed, options.class_weight)
    options = replace(options, groups=groups)
    targets, classes = checked_targets(prepared.rows.shape[0], targets, classes)
    if groups is not None and options.c == "auto" and fitter.searches_c:
        learned = fit_by_groups(fitter, prepared.rows, targets, options)
    else:
        learned = fitter.fit(prepared.rows, targets, len(classes), options)
    parameters, preparation = dict(learned.parameters), prepared.preparation
    if options.class_weight is not None:
        parameters["class_weight"] = options.class_weight
    if preparation.variance is not None:
        parameters["variance_kept"] = preparation.variance
    return FittedHead(
        kind=kind,
        classes=classes,
        arrays=learned.arrays,
        parameters=parameters,
        normalisation=preparation.normalisation,
        notes=learned.notes,
        reduction=preparation.reduction,
        preparation=preparation.arrays,
    )


def decision(head: FittedHead, features: NDArray[Any]) -> NDArray[np.float32]:
    """Return the score of every class for every row.

    A row's scores have the same bits alone, in any batch, at any place in it, and with
    any number of threads (see :mod:`.numerics.reproducible`). Rows are prepared inside,
    block by block, so memory does not grow by a copy of *features*.

    Args:
        head: what :func:`fit_head` returned.
        features: N x D, finite, float32 (other real types are taken too), N >= 0.

    Returns:
        N x K float32, column k for ``head.classes[k]``; the largest wins. For two classes
        the columns are -f and f, except for ``knn``, whose scores are shares of votes.

    Raises:
        HeadError: *features* is no matrix, has another dimension than the head, or holds
            NaN or infinity.

    >>> weight = np.array([[-1.0, 1.0], [1.0, -1.0]], dtype=np.float32)
    >>> arrays = {"weight": weight, "bias": np.zeros(2, dtype=np.float32)}
    >>> head = FittedHead("svm", ("cat", "dog"), arrays, {}, "l2")
    >>> decision(head, np.array([[5.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """
    fitter = get_fitter(head.kind)
    matrix = checked_features(features, head.dimension)
    scores = np.empty((len(matrix), len(head.classes)), dtype=np.float32)
    for part in block_parts(matrix.shape, head.arrays, head.preparation):
        rows = prepared_block(matrix[part], head.normalisation, head.preparation)
        scores[part] = fitter.decide(head, rows)
    return scores


def averaged_decision(
    head: FittedHead, features: NDArray[np.float32], mirrors: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the scores N x K of images, averaged with those of their mirror images if given."""
    scores = decision(head, features)
    return scores if mirrors is None else (scores + decision(head, mirrors)) / np.float32(2)


class Trainer:
    """Trains a head, and scores each row by a head that was trained without its fold.

    The arguments are those of :func:`fit_head`, and *advance*, which is called once for each fold
    that is scored; :attr:`head` is trained on all rows. What both need of the rows, their
    preparation and inner products, is computed once.

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
        *,
        groups: Groups | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> None:
        self.recipe, self.groups, self._advance = recipe, groups, advance
        self.features = checked_features(features)
        self.targets, self.classes = checked_targets(len(self.features), targets, classes)
        self._prepared = self._prepare()
        self.head = self._fit(self._prepared)
        # What a fold has its own of would only take memory.
        self._prepared.rows.keep("gram", "spectrum")

    def held_out(self, fold: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of the rows that are held out, each by a head that never saw it.

        C is the one of :attr:`head`, so it is not chosen again without every fold.

        Args:
            fold: N, what :func:`.held_out_folds` returned: -1 for a row that is never held out.

        Returns:
            M x K float32, in the order of the M rows with a fold.

        Raises:
            HeadError: a head cannot be trained on part of the rows.
        """
        recipe = self._recipe()
        scores = self._cross_fit(recipe, fold) if recipe.by_row else None
        if scores is None:
            return self._trained_anew(recipe, fold)
        for _ in range(int(fold.max()) + 1):
            self._advance()
        return scores[fold >= 0].astype(np.float32)

    def retrained(self, kept: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the scores of *rows* by a head that is trained on the rows at *kept* alone.

        len(rows) x K', a column for each of the K' classes that *kept* has, in their order. C is
        that of :attr:`head`. HeadError where so few rows do not make a head.
        """
        present, targets = np.unique(self.targets[kept], return_inverse=True)
        names = [self.classes[place] for place in present]
        given = self.features[kept], targets, names, self._groups_at(kept)
        head = fit_head(self._recipe(), *given)
        return decision(head, self.features[rows])

    def _recipe(self) -> Recipe:
        chosen = self.head.parameters.get("C")
        return replace(self.recipe, c=chosen) if isinstance(chosen, float) else self.recipe

    def _prepare(self) -> Prepared:
        recipe, k = self.recipe, len(self.classes)
        # Inner products are shared up to the C that training itself will ask for.
        c = max(GRID) if recipe.options.c == "auto" else recipe.options.c
        c *= max(1.0, float(class_weights(self.targets, k, recipe.class_weight).max()))
        return prepare(
            self.features,
            normalisation=recipe.normalisation,
            reduction=recipe.reduction,
            seed=recipe.seed,
            cs=(c,),
        )

    def _fit(self, prepared: Prepared) -> FittedHead:
        kind, options = self.recipe.kind, self.recipe.options
        return fit_prepared(kind, prepared, self.targets, self.classes, options, self.groups)

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

    def _trained_anew(self, recipe: Recipe, fold: NDArray[np.int64]) -> NDArray[np.float32]:
        def train(kept: NDArray[np.intp]) -> FittedHead:
            given = self.features[kept], self.targets[kept], self.classes, self._groups_at(kept)
            trained = fit_head(recipe, *given)
            self._advance()
            return trained

        return held_out_scores(train, self.features, fold)

    def _groups_at(self, kept: NDArray[np.intp]) -> Groups | None:
        return None if self.groups is None else self.groups[kept]


def held_out_scores(
    train: Train, features: NDArray[Any], fold: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the scores of the rows that are held out, by heads that *train* fits on the others.

    Those heads have fewer rows than one on all, so they are a little less sure. M x K, in the
    order of the M rows with a fold, as :func:`.held_out_folds` gives it.
    """
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for held, kept in fold_splits(fold):
        head = train(kept)
        parts.append((held, decision(head, features[held])))
    return in_row_order(parts)
