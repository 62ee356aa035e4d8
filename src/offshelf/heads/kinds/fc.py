"""Fully connected layers trained on features by gradient steps, and stopped early.

torch is used for training only; scores are exact products, as with every other head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.construct.torch_context import one_thread, without_compiler
from offshelf.heads.class_balance import ALONE, class_weights, stratified_folds
from offshelf.heads.group_folds import grouped_folds
from offshelf.heads.head import FittedHead, frozen
from offshelf.heads.kinds.fitter import CrossFit, Learned
from offshelf.heads.kinds.linear import LinearHead, halved, linear_arrays
from offshelf.heads.numerics.reproducible import exact_product
from offshelf.heads.numerics.row_scaling import ScaledRows, blocks
from offshelf.heads.options import Options

if TYPE_CHECKING:
    import torch

MAX_EPOCHS, PATIENCE = 100, 10
WEIGHT_DECAY = 1e-2
# A step changes every weight by up to the learning rate, and a score by that times the number
# of inputs.
_SCORE_STEP, _HIDDEN_SCORE_STEP, _LARGEST_RATE = 4.0, 0.5, 1e-2
# One row in so many is held back for early stopping.
_HELD_BACK = 8
_MIN_BATCH, _MAX_BATCH, _STEPS_PER_EPOCH = 16, 256, 16
_LARGEST_DECAY = 10.0

Array = NDArray[np.float64]


class Connected(LinearHead):
    """One linear layer, or one hidden layer with ReLU and a linear one, on cross entropy.

    AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019) with a
    weight decay of 0.01 / C; one row in eight of each class is held back, whole groups where
    rows have them, and the epoch with the least loss on them is kept (Prechelt, "Early stopping -
    but when?", Neural Networks: Tricks of the Trade, 1998). For training, rows are centred and
    divided by the root of their mean square; the first layer takes that up. Balanced classes
    weight the loss.

    Args:
        hidden: units of the hidden layer, 0 for none.
    """

    searches_c = False

    def __init__(self, hidden: int = 0) -> None:
        self.hidden = hidden

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` and ``bias`` of the first layer and, if hidden, of the second."""
        c = 1.0 if options.c == "auto" else options.c
        decay = min(WEIGHT_DECAY / c, _LARGEST_DECAY)
        kept, held = _split(targets, options)
        centre, scale = _spread(rows)
        inputs = (rows.take(slice(None), np.float32) - centre.astype(np.float32)) * np.float32(
            scale
        )
        weights = class_weights(targets, n_classes, options.class_weight)
        training = _Training(inputs, targets, weights, kept, held)
        sizes = [rows.shape[1], *([self.hidden] if self.hidden else []), n_classes]
        # Batches are so small that threads mostly wait for each other, and sums whose order no
        # number of threads decides come out the same on any machine of a kind.
        with one_thread(), without_compiler():
            run = training.run(sizes, decay, options.seed)
        layers = [
            (weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in run.layers
        ]
        first = layers[0][0] * scale
        layers[0] = (first, layers[0][1] - first @ centre)
        parameters = {
            "C": c,
            "weight_decay": decay,
            "learning_rate": learning_rate(rows.shape[1], self.hidden),
            "hidden": self.hidden,
            "epochs": run.epochs,
            "best_epoch": run.best_epoch,
            "validation_loss": run.loss,
            "validation_rows": len(held),
            "seed": options.seed,
        }
        return Learned(self._arrays(layers), parameters, self._notes(options, run))

    def cross_fit(self, task: CrossFit) -> None:
        """Return None: where early stopping ends without a fold is known only after training."""

    def decide(self, head: FittedHead, rows: Array) -> Array:
        """Return the scores of the last layer, N x K."""
        scores = super().decide(head, rows)
        if not self.hidden:
            return scores
        active = np.maximum(scores, 0)
        scores = exact_product(active, head.arrays["out_weight"].astype(np.float64))
        scores += head.arrays["out_bias"]
        return scores

    def problem(self, arrays: Mapping[str, NDArray[np.float32]], n_classes: int) -> str:
        """Say which array is missing, unknown or misshapen, or "" when none is."""
        if not self.hidden:
            return super().problem(arrays, n_classes)
        names = ["bias", "out_bias", "out_weight", "weight"]
        if sorted(arrays) != names:
            return f"holds the arrays {sorted(arrays)} instead of {names}"
        inner = {name: arrays[name] for name in ("weight", "bias")}
        outer = {name: arrays[f"out_{name}"] for name in ("weight", "bias")}
        if problem := super().problem(inner, self.hidden):
            return problem.replace("classes", "hidden units")
        if problem := super().problem(outer, n_classes):
            return problem
        width = outer["weight"].shape[1]
        return "" if width == self.hidden else f"has weights of {width} for {self.hidden} units"

    def _arrays(self, layers: list[tuple[Array, Array]]) -> dict[str, NDArray[np.float32]]:
        last = linear_arrays(*halved(*layers[-1]))
        if not self.hidden:
            return last
        weight, bias = map(frozen, layers[0])
        outer = {f"out_{name}": array for name, array in last.items()}
        return {"weight": weight, "bias": bias, **outer}

    def _notes(self, options: Options, run: _Run) -> tuple[str, ...]:
        auto = ("fc: C is not searched, early stopping regularises; C=1 was taken",)
        late = (f"fc: the loss still fell after {MAX_EPOCHS} epochs",)
        return (auto if options.c == "auto" else ()) + (
            late if run.best_epoch == MAX_EPOCHS else ()
        )


@dataclass(frozen=True, eq=False)
class _Run:
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    epochs: int
    best_epoch: int
    loss: float


@dataclass(frozen=True, eq=False)
class _Training:
    """Rows to learn from and rows to stop on."""

    inputs: NDArray[np.float32]
    targets: NDArray[np.int64]
    weights: Array
    kept: NDArray[np.intp]
    held: NDArray[np.intp]

    def run(self, sizes: list[int], decay: float, seed: int) -> _Run:
        """Train until the loss on the held-back rows has not fallen for some epochs."""
        import torch

        # A generator of its own: the process's random state stays as it is.
        generator = torch.Generator().manual_seed(seed)
        layers = [_layer(*pair, generator) for pair in pairwise(sizes)]
        flat = [part for layer in layers for part in layer]
        rate = learning_rate(sizes[0], sum(sizes[1:-1]))
        optimiser = torch.optim.AdamW(flat, lr=rate, weight_decay=decay)
        best, best_epoch, epoch = self._loss(layers, self.held), 0, 0
        copies = [part.detach().clone() for part in flat]
        for epoch in range(1, MAX_EPOCHS + 1):
            self._epoch(layers, optimiser, generator)
            loss = self._loss(layers, self.held)
            if loss < best:
                best, best_epoch = loss, epoch
                copies = [part.detach().clone() for part in flat]
            if epoch - best_epoch >= PATIENCE:
                break
        arrays = [part.numpy() for part in copies]
        pairs = list(zip(arrays[::2], arrays[1::2], strict=True))
        return _Run(pairs, epoch, best_epoch, best)

    def _epoch(
        self, layers: list[Any], optimiser: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        import torch

        size = int(np.clip(len(self.kept) // _STEPS_PER_EPOCH, _MIN_BATCH, _MAX_BATCH))
        order = self.kept[torch.randperm(len(self.kept), generator=generator).numpy()]
        for first in range(0, len(order), size):
            optimiser.zero_grad()
            loss = self._cross_entropy(layers, order[first : first + size], "mean")
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def _loss(self, layers: list[Any], rows: NDArray[np.intp]) -> float:
        """Return the mean loss of *rows*, each by the weight of its class."""
        import torch

        with torch.no_grad():
            parts = blocks(len(rows), self.inputs.shape[1])
            total = sum(float(self._cross_entropy(layers, rows[part], "sum")) for part in parts)
        return total / float(self.weights[self.targets[rows]].sum())

    def _cross_entropy(
        self, layers: list[Any], rows: NDArray[np.intp], reduction: str
    ) -> torch.Tensor:
        import torch
        from torch.nn import functional

        values = torch.from_numpy(self.inputs[rows])
        for place, (weight, bias) in enumerate(layers):
            values = functional.linear(values.relu() if place else values, weight, bias)
        return functional.cross_entropy(
            values,
            torch.from_numpy(self.targets[rows]),
            torch.from_numpy(self.weights.astype(np.float32)),
            reduction=reduction,
        )


def learning_rate(dimension: int, hidden: int) -> float:
    """Return the learning rate for rows of so many values and so many hidden units."""
    # A hidden layer passes on what every one of its units changed.
    step = _HIDDEN_SCORE_STEP if hidden else _SCORE_STEP
    return min(_LARGEST_RATE, step / dimension)


def _layer(
    inputs: int, outputs: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights and biases as torch's own linear layer starts with."""
    import torch

    bound = inputs**-0.5
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(outputs).uniform_(-bound, bound, generator=generator)
    return weight.requires_grad_(), bias.requires_grad_()


def _split(
    targets: NDArray[np.int64], options: Options
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows to learn from, of every class one at least, and those to stop on."""
    folds = max(2, min(_HELD_BACK, len(targets) // 2))
    if options.groups is None:
        alone = np.bincount(targets)[targets] == 1
        held = (stratified_folds(targets, folds, options.seed) == 0) & ~alone
    else:
        fold = grouped_folds(targets, options.groups, folds, options.seed)
        held = fold == _fairest(targets, fold, 1 / folds)
    # Where every class has one row, or one group, there is nothing to hold back.
    kept = np.flatnonzero(~held)
    return kept, np.flatnonzero(held) if held.any() else kept


def _fairest(targets: NDArray[np.int64], fold: NDArray[np.int64], share: float) -> int:
    """Return the fold of the most classes, and of these the nearest to a share of each class."""
    n_folds = int(fold.max()) + 1
    if not n_folds:
        # No fold holds a row, as all are marked as alone.
        return 0
    counts = np.zeros((n_folds, int(targets.max()) + 1))
    np.add.at(counts, (fold[fold != ALONE], targets[fold != ALONE]), 1)
    apart = np.abs(counts / np.bincount(targets) - share).sum(axis=1)
    return int(np.lexsort((apart, -(counts > 0).sum(axis=1)))[0])


def _spread(rows: ScaledRows) -> tuple[Array, float]:
    """Return the mean row, and the inverse of the root mean square of values around it."""
    n, dimension = rows.shape
    centre = rows.combine(np.full((1, n), 1 / n))[0]
    parts = blocks(n, dimension)
    squares = sum(float(np.square(rows.take(part) - centre).sum()) for part in parts)
    size = (squares / (n * dimension)) ** 0.5
    return centre, 1 / size if size > 0 else 1.0
