"""Heads with mirror images: trained on each image and its mirror image, or averaged over both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import fold_splits, in_row_order
from offshelf.heads.fitting.fit_head import (
    Recipe,
    Trainer,
    averaged_decision,
    fit_head,
)
from offshelf.heads.group_folds import Groups
from offshelf.heads.head import FittedHead

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Images:
    """Features of N images, and of their mirror images where those are used.

    Attributes:
        rows: float32, N x D.
        mirrors: the same of the mirror images; None where they are not used.
        trained: whether mirror images are trained on.
        averaged: whether scores are averaged over an image and its mirror image.
    """

    rows: Matrix
    mirrors: Matrix | None = None
    trained: bool = False
    averaged: bool = False

    def take(self, places: NDArray[np.intp]) -> Images:
        """Return some of the images."""
        mirrors = None if self.mirrors is None else self.mirrors[places]
        return replace(self, rows=self.rows[places], mirrors=mirrors)

    def decide(self, head: FittedHead) -> Matrix:
        """Return the scores N x K that *head* gives the images."""
        return averaged_decision(head, self.rows, self.mirrors if self.averaged else None)


def train(
    recipe: Recipe,
    images: Images,
    targets: NDArray[np.int64],
    classes: Sequence[str],
    groups: Groups | None = None,
) -> FittedHead:
    """Train a head on images; arguments and errors as for :func:`.fit_head`.

    Where C is chosen, an image and its mirror image are in one fold.

    >>> rows = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], np.float32)
    >>> images = Images(rows, rows[:, ::-1], averaged=True)
    >>> images.decide(train(Recipe(), images, np.array([0, 0, 1, 1]), ["cat", "dog"])).shape
    (4, 2)
    """
    if not images.trained or images.mirrors is None:
        return fit_head(recipe, images.rows, targets, classes, groups)
    if recipe.c == "auto" and groups is None:
        groups = np.arange(len(targets))
    both = np.concatenate([images.rows, images.mirrors])
    twice = None if groups is None else np.tile(groups, 2)
    return fit_head(recipe, both, np.tile(targets, 2), classes, twice)


class MirrorTrainer:
    """What :class:`.Trainer` does, with mirror images; heads of folds are trained anew."""

    def __init__(
        self,
        recipe: Recipe,
        images: Images,
        targets: NDArray[np.int64],
        classes: Sequence[str],
        *,
        groups: Groups | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> None:
        self.images, self.targets, self.classes = images, targets, classes
        self.groups, self._advance = groups, advance
        self.head = train(recipe, images, targets, classes, groups)
        chosen = self.head.parameters.get("C")
        # Folds take the C of all rows.
        self._recipe = replace(recipe, c=chosen) if isinstance(chosen, float) else recipe

    def held_out(self, fold: NDArray[np.int64]) -> Matrix:
        """Return the scores of the rows that are held out; see :meth:`.Trainer.held_out`."""
        parts: list[tuple[NDArray[np.int64], Matrix]] = []
        for held, kept in fold_splits(fold):
            given = self.images.take(kept), self.targets[kept], self.classes
            parts.append((held, self.images.take(held).decide(train(self._recipe, *given))))
            self._advance()
        return in_row_order(parts)

    def retrained(self, kept: NDArray[np.intp], rows: NDArray[np.intp]) -> Matrix:
        """Return scores by a head of the rows at *kept*; see :meth:`.Trainer.retrained`."""
        present, targets = np.unique(self.targets[kept], return_inverse=True)
        names = [self.classes[place] for place in present]
        head = train(self._recipe, self.images.take(kept), targets.astype(np.int64), names)
        return self.images.take(rows).decide(head)


def trainer_of(
    recipe: Recipe,
    images: Images,
    targets: NDArray[np.int64],
    classes: Sequence[str],
    groups: Groups | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Trainer | MirrorTrainer:
    """Return what trains a head on images and scores rows that are held out."""
    if images.mirrors is None or not (images.trained or images.averaged):
        given = recipe, images.rows, targets, classes
        return Trainer(*given, groups=groups, advance=advance)
    return MirrorTrainer(recipe, images, targets, classes, groups=groups, advance=advance)
