"""The grid of a comparison: its axes, its recipes and its size; its protocol and the folds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import DEEPEST
from offshelf.backbones.specification.spec import CHANNELS
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import check_pooling
from offshelf.errors import DataError, OffshelfError, did_you_mean
from offshelf.feature_sets.feature_set import NO_FLIPS, check_flips
from offshelf.heads.arguments import check_normalisation, checked_options
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.options import ClassWeight, Normalisation
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.jobs.setup.grouped_table import NONE
from offshelf.jobs.setup.settings import DEFAULT_BACKBONE, HeadSettings
from offshelf.measurement.splits.image_groups import (
    check_groups,
    crossing_groups,
    groups_by_column,
    groups_by_pattern,
)
from offshelf.measurement.splits.protocol import Fold, given_split, k_fold, repeats
from offshelf.measurement.splits.split_file import Splits, read_splits, write_splits
from offshelf.text import counted, listed, shown

Weights = Literal["trained", "random"]
Scaling = Literal["weights", "none"]
Protocol = Literal["given", "k-fold", "repeats"]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class NetworkAxes:
    """Where features come from.

    Attributes:
        backbones: names of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layers: names, module paths, ``all`` (one of each stage) or ``deepest`` (the
            penultimate layer, or the deepest one that the weights reach).
        poolings: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid`` or ``pyramid:N``.
        resizes: ``squash``, ``crop``, ``letterbox``; None for the weights' own.
        weights: ``trained`` or ``random`` (no pretraining).
        scalings: ``weights`` (mean and deviation that belong to the weights) or ``none``
            (pixels in 0 .. 1 and nothing else).
        greys: ``replicate`` (colour as it is), ``luma`` (colour removed) or ``summed``.
        precisions: ``fp32``, ``int8``, or what the hardware has.
        flips: ``none``; ``prediction`` averages the scores of a test image and its mirror image,
            ``training`` trains on mirror images, ``both`` does both.
        input_sizes: sides of the input in pixels, None for that of the weights.
    """

    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    layers: tuple[str, ...] = (DEEPEST,)
    poolings: tuple[str, ...] = ("avg",)
    resizes: tuple[str | None, ...] = (None,)
    weights: tuple[str, ...] = ("trained",)
    scalings: tuple[str, ...] = ("weights",)
    greys: tuple[str, ...] = ("replicate",)
    precisions: tuple[str, ...] = ("fp32",)
    flips: tuple[str, ...] = (NO_FLIPS,)
    input_sizes: tuple[int | None, ...] = (None,)

    def check(self) -> None:
        """Raise OffshelfError for a word that no axis has; names are checked where used."""
        for pooling in self.poolings:
            check_pooling(pooling)
        _check_words("weights", self.weights, get_args(Weights))
        _check_words("scaling", self.scalings, get_args(Scaling))
        _check_words("grey", self.greys, CHANNELS)
        for word in self.flips:
            check_flips(word)
        for name, values in vars(self).items():
            _check_filled(name, values)


@dataclass(frozen=True, kw_only=True)
class HeadAxes:
    """What is trained on the features.

    Attributes:
        heads: names of heads, for example ``svm``, ``logistic``, ``knn:5``, ``fc:256``.
        cs: inverse strengths of the regularisation, or ``auto``.
        normalisations: ``l2``, ``none``, ``standard``, ``sqrt``.
        reductions: ``none``, ``pca:N``, ``whiten:N``, ``random:N``.
        class_weights: None, or ``balanced``.
    """

    heads: tuple[str, ...] = ("svm",)
    cs: tuple[float | Literal["auto"], ...] = (1.0,)
    normalisations: tuple[Normalisation, ...] = ("l2",)
    reductions: tuple[str, ...] = ("none",)
    class_weights: tuple[ClassWeight | None, ...] = (None,)

    def check(self) -> None:
        """Raise OffshelfError for an empty axis; values are checked by the heads."""
        for name, values in vars(self).items():
            _check_filled(name, values)


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """How accuracy is measured.

    Attributes:
        kind: ``given`` (the split of the data), ``k-fold`` or ``repeats``.
        folds: k of ``k-fold``.
        repeats: random splits of ``repeats``.
        per_class: training images of each class in ``repeats``.
        groups: a regular expression on file names, or ``FILE:COLUMN``; images of a group
            stay on one side.
        splits_from: file with the splits to use instead.
        splits_to: file to write the splits to.
    """

    kind: str = "given"
    folds: int = 5
    repeats: int = 10
    per_class: int = 100
    groups: str | None = None
    splits_from: str | Path | None = None
    splits_to: str | Path | None = None

    def check(self) -> None:
        """Raise OffshelfError for an unknown protocol."""
        _check_words("protocol", (self.kind,), get_args(Protocol))


def _check_words(what: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            hint = did_you_mean(str(value), known)
            raise OffshelfError(f"unknown {what} {value!r}: use {', '.join(known)}.{hint}")


def _check_filled(name: str, values: tuple[object, ...]) -> None:
    if not values:
        raise OffshelfError(f"nothing to compare: {name.replace('_', ' ')} is empty")


# A larger grid needs --yes.
MAX_HEADS = 5_000
# Seconds for one head of a few thousand rows of a thousand values, on a usual computer.
SECONDS_PER_HEAD = 0.4


def recipes_of(axes: HeadAxes) -> tuple[HeadSettings, ...]:
    """Return every combination, each once; heads without C have one of it.

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
    recipes = (
        HeadSettings(h, c=c, normalisation=n, reduction=r, class_weight=w)
        for n, r, h, c, w in product
    )
    return tuple(dict.fromkeys(map(_usual, recipes)))


def check_size(views: Sequence[object], recipes: Sequence[object], folds: int, sure: bool) -> None:
    """Raise OffshelfError for a grid of too many heads, unless *sure*.

    >>> check_size(range(100), range(1000), 1, sure=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: the grid has 100,000 rows ...
    """
    rows = len(views) * len(recipes)
    heads = rows * folds
    if sure or heads <= MAX_HEADS:
        return
    hours = heads * SECONDS_PER_HEAD / 3600
    raise OffshelfError(
        f"the grid has {rows:,} rows in {folds:,} {'fold' if folds == 1 else 'folds'}: "
        f"{heads:,} heads, about {hours:,.1f} hours beside the extraction; "
        "make it smaller, or say --yes"
    )


def _usual(recipe: HeadSettings) -> HeadSettings:
    return recipe if get_fitter(recipe.head).uses_c else dataclasses.replace(recipe, c=1.0)


def folds_of(
    table: ImageTable, settings: ProtocolSettings, seed: int, rows: Rows | None = None
) -> tuple[Fold, ...]:
    """Return the folds of *rows*; None stands for all rows, to check before any work.

    Raises:
        DataError: the protocol does not fit the data; one line says why.
    """
    # Those of the table are those that the settings name, where they were read with it.
    known = table.groups if settings.groups else ()
    asked = known or _groups(table, settings.groups)
    groups = asked or table.groups or None
    if settings.splits_from is not None:
        folds = read_splits(settings.splits_from, table).folds
        if asked:
            _check_apart(folds, asked, settings.splits_from)
    elif settings.kind == "k-fold":
        return k_fold(table, settings.folds, seed=seed, groups=groups, rows=rows)
    elif settings.kind == "repeats":
        return repeats(
            table, settings.per_class, settings.repeats, seed=seed, groups=groups, rows=rows
        )
    else:
        folds = given_split(table, groups=asked)
    return folds if rows is None else tuple(_restricted(fold, rows) for fold in folds)


def uses_given_split(settings: ProtocolSettings) -> bool:
    """Return whether accuracy is measured on the one split of the data, as ``fit`` does."""
    return settings.kind == "given" and settings.splits_from is None


def keep_splits(
    table: ImageTable, folds: tuple[Fold, ...], settings: ProtocolSettings, seed: int
) -> None:
    """Write the folds where the settings say."""
    if settings.splits_to is None:
        return
    document = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(settings).items()
        if not name.startswith("splits")
    }
    write_splits(settings.splits_to, table, Splits(folds, document | {"seed": seed}))


def described(settings: ProtocolSettings, folds: Sequence[Fold], drawn: bool = False) -> str:
    """Return the protocol on one line; *drawn* where the one split is not that of the data.

    >>> fold = Fold(np.arange(4), np.arange(4, 6))
    >>> described(ProtocolSettings(), [fold])
    'given split: 4 images to train, 2 to test'
    """
    if settings.splits_from is not None:
        name = f"splits of {settings.splits_from}"
    elif settings.kind == "k-fold":
        name = f"{settings.folds}-fold cross-validation"
    elif settings.kind == "repeats":
        name = f"{settings.repeats} repeats of {settings.per_class} training images per class"
    else:
        name = "split drawn by chance" if drawn else "given split"
    train, test = (_range([len(getattr(f, side)) for f in folds]) for side in ("train", "test"))
    return f"{name}: {train} images to train, {test} to test"


def _groups(table: ImageTable, text: str | None) -> tuple[str, ...] | None:
    if text is None or text == NONE:
        return None
    file, colon, column = text.rpartition(":")
    if colon and Path(file).is_file():
        return groups_by_column(table, file, column)
    return groups_by_pattern(table, text)


def _check_apart(folds: Sequence[Fold], groups: Sequence[str], file: str | Path) -> None:
    known = check_groups(groups, len(groups))
    for number, fold in enumerate(folds, 1):
        if crossing := crossing_groups(known, fold.train, fold.test):
            raise DataError(
                f"{shown(file)}: split {number} has {counted(len(crossing), 'group')} on both "
                f"sides: {listed(crossing)}; --groups none takes it as it is"
            )


def _restricted(fold: Fold, rows: Rows) -> Fold:
    train, test = np.intersect1d(fold.train, rows), np.intersect1d(fold.test, rows)
    for side, left in (("training", train), ("test", test)):
        if not len(left):
            raise DataError(f"none of the {side} images can be used; 'offshelf audit' says why")
    return Fold(train, test)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
