"""Newton's method for many squared-hinge problems on the same rows at once.

A problem's minimum is found on its active rows, those within the margin: there the loss is a
square, so one linear system gives the minimum of the piece, and the piece changes until it
holds its own minimum. Keerthi and DeCoste, "A modified finite Newton method for fast solution
of large scale linear SVMs", JMLR 6 (2005), 341-361, with the kernel form of Chapelle,
"Training a support vector machine in the primal", Neural Computation 19 (2007), 1155-1178.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.blas_threads import as_slice, run_in_threads
from offshelf.heads.numerics.row_scaling import Matrix
from offshelf.heads.svm.active_systems import solve_systems
from offshelf.heads.svm.gram import Diagonal, Gram

MAX_ROUNDS = 60
# Whole steps settle in a few rounds; later ones may not go uphill, so that all come to an end.
FREE_ROUNDS = 4
# A first set of active rows that is too large shrinks in one round, one too small overshoots.
_FIRST_MARGIN = 0.02
_BISECTIONS = 20

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Point:
    """Where P problems stand: ``scores = coefficients @ gram`` (+ a given offset), P x n."""

    coefficients: Matrix
    scores: Matrix

    def of(self, problems: Any) -> Point:
        """Return the part of some *problems*; of a slice, in the same memory."""
        return Point(self.coefficients[problems], self.scores[problems])

    def copy(self) -> Point:
        """Return the same point in memory of its own."""
        return Point(self.coefficients.copy(), self.scores.copy())

    def move(self, change: Point, times: int) -> None:
        """Add *times* a point of R problems, in place, to every R of these problems."""
        for mine, each in ((self.coefficients, change.coefficients), (self.scores, change.scores)):
            runs = mine.reshape(-1, *each.shape)
            runs += times * each

    def __add__(self, other: Point) -> Point:
        return Point(self.coefficients + other.coefficients, self.scores + other.scores)

    def __sub__(self, other: Point) -> Point:
        return Point(self.coefficients - other.coefficients, self.scores - other.scores)

    def towards(self, other: Point, share: Matrix) -> Point:
        """Return the point at *share*, P values in 0 .. 1, of the way to *other*."""
        share, change = share[:, None].astype(self.scores.dtype), other - self
        return self + Point(share * change.coefficients, share * change.scores)


@dataclass(frozen=True, eq=False)
class Problems:
    """P problems on n rows.

    Attributes:
        gram: inner products of the rows.
        targets: P x n, 1 or -1, and 0 for rows that a problem leaves out.
        c: weight of the loss, > 0.
        offset: what to add to ``coefficients @ gram``, P x n or 0.
        costs: what C is multiplied by, > 0, for each row of each problem, P x n or 1.
    """

    gram: Gram
    targets: Matrix
    c: float
    offset: Matrix | float = 0.0
    costs: Matrix | float = 1.0

    @property
    def ridge(self) -> Diagonal:
        """What C adds to the diagonal of the active rows' system."""
        return 1 / (2 * self.c * self.costs)

    def of(self, chosen: Any) -> Problems:
        """Return some of the problems; of a slice, in the same memory."""
        offset = self.offset if isinstance(self.offset, float) else self.offset[chosen]
        costs = self.costs if isinstance(self.costs, float) else self.costs[chosen]
        return Problems(self.gram, self.targets[chosen], self.c, offset, costs)

    def active(self, scores: Matrix, margin: float = 0.0) -> Mask:
        """Return which rows are less than 1 + margin on the side of their target."""
        active: Mask = (self.targets * scores < 1 + margin) & (self.targets != 0)
        return active

    def misplaced(self, scores: Matrix, active: Mask) -> Matrix:
        """Return for each problem how far scores may be off for rows wrongly in *active* or not.

        A row that is missing moves by less than what it lacks to the margin. One that does
        not belong was held back by a force of 2 C for each unit that it is beyond.
        """
        wrong = self.active(scores) != active
        distance = np.abs(1 - self.targets * scores) * wrong
        force = np.maximum(1.0, 2 * self.c * self.costs * self.gram.largest)
        distance *= np.where(active, force, 1.0)
        furthest: Matrix = distance.max(axis=1, initial=0)
        return furthest

    def slack(self, scores: Matrix) -> Matrix:
        """Return how far each row is inside the margin, 0 for rows outside or left out."""
        slack: Matrix = np.maximum(0, 1 - self.targets * scores) * (self.targets != 0)
        return slack

    def objective(self, point: Point) -> Matrix:
        """Return ``|w|^2 / 2 + C * sum(costs * slack^2)`` of each problem, float64."""
        slack = self.slack(point.scores)
        return _dot(point.coefficients, point.scores) / 2 + self.c * _dot(self.costs * slack, slack)

    def slope(self, point: Point, change: Point) -> Matrix:
        """Return the derivative of the objective at *point* along *change*."""
        pull = self.targets * self.slack(point.scores) * self.costs
        return _dot(point.coefficients - 2 * self.c * pull, change.scores)


def start(targets: Matrix) -> Point:
    """Return the point of all zeros."""
    return Point(np.zeros_like(targets), np.zeros_like(targets))


def minimise(problems: Problems, point: Point, tolerance: float) -> tuple[Point, bool]:
    """Return the minimum of each problem, and whether all were found.

    Args:
        problems: P problems; the type of their targets is the type of the work.
        point: where to start; the minimum is written over it.
        tolerance: how much a row may be on the wrong side of its margin at the end. Scores
            are within a small multiple of it.

    >>> from offshelf.heads.svm.gram import DenseGram
    >>> targets = np.array([[1.0, -1.0]])
    >>> problems = Problems(DenseGram(np.eye(2) + 1.0), targets, c=1.0)
    >>> minimise(problems, start(targets), 1e-9)[0].scores.round(3)
    array([[ 0.667, -0.667]])
    """
    found = np.empty(len(problems.targets), dtype=bool)

    def work(chosen: NDArray[np.intp]) -> None:
        some = as_slice(chosen)
        found[some] = _minimise(problems.of(some), point.of(some), tolerance)

    run_in_threads(work, *problems.targets.shape)
    return point, bool(found.all())


def _minimise(problems: Problems, point: Point, tolerance: float) -> Mask:
    """Work on *point* until every problem is settled; return which were found."""
    # Problems are slices as long as all are at work, so that nothing is copied.
    live: Any = slice(None)
    found = np.zeros(len(problems.targets), dtype=bool)
    for turn in range(MAX_ROUNDS):
        part, old = problems.of(live), point.of(live)
        active = part.active(old.scores, 0.0 if turn else min(_FIRST_MARGIN, 2 * tolerance))
        # Systems are solved more nearly than rows are placed, and again so when that stalls.
        new = _piece(part, active, old, 0.2 * 0.1 ** (turn // FREE_ROUNDS) * tolerance)
        settled = part.misplaced(new.scores, active) <= tolerance
        found[live] = settled
        if turn >= FREE_ROUNDS:
            new, moves = _downhill(part, old, new, settled)
            settled |= ~moves
        point.coefficients[live], point.scores[live] = new.coefficients, new.scores
        if settled.all():
            break
        if settled.any():
            live = np.arange(len(found))[live][~settled]
    return found


def _piece(problems: Problems, active: Mask, old: Point, nearness: float) -> Point:
    """Return the minimum that each problem had if exactly its *active* rows had a loss."""
    nothing = isinstance(problems.offset, float) and not problems.offset
    wanted = problems.targets if nothing else problems.targets - problems.offset
    coefficients = solve_systems(
        problems.gram, active, wanted, problems.ridge, old.coefficients, nearness
    )
    scores = problems.gram.times(coefficients)
    scores += problems.offset
    return Point(coefficients, scores)


def _downhill(problems: Problems, old: Point, new: Point, settled: Mask) -> tuple[Point, Mask]:
    """Stop steps that go uphill at the lowest point on their way; say which steps are left."""
    rises = problems.objective(new) > problems.objective(old)
    unsure = np.flatnonzero(rises & ~settled)
    part, first, last = problems.of(unsure), old.of(unsure), new.of(unsure)
    change = last - first
    low, high = np.zeros(len(unsure)), np.ones(len(unsure))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = part.slope(first.towards(last, middle), change) > 0
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    best = first.towards(last, low)
    new.coefficients[unsure], new.scores[unsure] = best.coefficients, best.scores
    moves = np.ones(len(settled), dtype=bool)
    moves[unsure] = low > 2 * 0.5**_BISECTIONS
    return new, moves


def _dot(left: Matrix, right: Matrix) -> Matrix:
    products: NDArray[np.float64] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    return products
