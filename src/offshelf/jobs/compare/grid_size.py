"""The grid: every view with every recipe, bounded, with a forecast for the large."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from offshelf.errors import OffshelfError
from offshelf.heads.check import check_normalisation, checked_options
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.heads.registry import get_fitter
from offshelf.jobs.compare.network_axes import HeadAxes
from offshelf.jobs.compare.plan import Recipe

# Above so many trained heads a person should say that this was meant.
MOST_HEADS = 5_000
# Seconds for one head of a few thousand rows of a thousand values, on a usual computer.
SECONDS_PER_HEAD = 0.4
WITHOUT_C = ("knn", "centroid")


def recipes_of(axes: HeadAxes) -> tuple[Recipe, ...]:
    """Return every combination, each once; heads without C have one.

    Raises:
        HeadError: a name or number that no head knows.

    >>> [recipe.c for recipe in recipes_of(HeadAxes(heads=("svm", "centroid"), cs=(1.0, 10.0)))]
    [1.0, 10.0, 1.0]
    """
    axes.check()
    for kind in axes.heads:
        get_fitter(kind)
    for c, weight in itertools.product(axes.cs, axes.class_weights):
        checked_options(c, 0, weight)
    for normalisation in axes.normalisations:
        check_normalisation(normalisation)
    for reduction in axes.reductions:
        parse_reduction(reduction)
    product = itertools.product(
        axes.normalisations, axes.reductions, axes.heads, axes.cs, axes.class_weights
    )
    recipes = (Recipe(n, r, h, c, w) for n, r, h, c, w in product)
    return tuple(dict.fromkeys(map(_usual, recipes)))


def check_size(views: Sequence[object], recipes: Sequence[object], folds: int, sure: bool) -> None:
    """Refuse a grid that nobody can have meant.

    Raises:
        OffshelfError: too many heads, and *sure* is not set.

    >>> check_size(range(100), range(1000), 1, sure=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: the grid has 100,000 rows ...
    """
    rows = len(views) * len(recipes)
    heads = rows * folds
    if sure or heads <= MOST_HEADS:
        return
    hours = heads * SECONDS_PER_HEAD / 3600
    raise OffshelfError(
        f"the grid has {rows:,} rows in {folds:,} {'fold' if folds == 1 else 'folds'}: "
        f"{heads:,} heads, about {hours:,.1f} hours beside the extraction; "
        "make it smaller, or say --yes"
    )


def _usual(recipe: Recipe) -> Recipe:
    if recipe.head.partition(":")[0] not in WITHOUT_C:
        return recipe
    return Recipe(recipe.normalisation, recipe.reduction, recipe.head, 1.0, recipe.class_weight)
