"""What the rows say in words: the best, what cannot be told from it, depth, concatenation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from offshelf.evaluate.significance.not_distinguishable import corrected_t, mcnemar
from offshelf.evaluate.transfer.rank_agreement import Agreement
from offshelf.jobs.compare.comparison_rows import Row

ALPHA = 0.05


def findings_of(
    rows: Sequence[Row], agreement: dict[str, Agreement], sizes: tuple[int, int]
) -> tuple[str, ...]:
    """Return the sentences.

    Args:
        rows: the best first; only those with a score count.
        agreement: rank correlation of cheap scores with the accuracy.
        sizes: training and test images of a fold.
    """
    scored = [row for row in rows if row.score]
    lines = [
        *_best(scored),
        *_depth(scored),
        *_concatenation(scored, sizes),
        *_leaks(scored[0]),
        *_agreement(agreement),
    ]
    return tuple(lines)


def name_of(row: Row) -> str:
    """Return a row in a few words.

    The pooling is left out where it is the usual one.
    """
    pooling = "" if row.view.pooling == "avg" else f" {row.view.pooling}"
    recipe = row.recipe
    more = [word for word in (recipe.reduction,) if word != "none"]
    more += [word for word in (row.view.weights,) if word != "trained"]
    more += ["no scaling"] if row.view.scaling == "none" else []
    more += [row.view.precision] if row.view.precision != "fp32" else []
    more += ["flips"] if row.view.flips else []
    tail = f" ({', '.join(more)})" if more else ""
    layer = row.view.layer if ":" in row.view.layer else f"{row.view.backbone} {row.view.layer}"
    return f"{layer}{pooling}, {recipe.head}{tail}"


def _best(rows: Sequence[Row]) -> Iterator[str]:
    best = rows[0]
    if best.score is None:
        return
    low, high = best.score.interval
    spread = "" if best.score.sd is None else f", standard deviation {100 * best.score.sd:.2f}"
    yield (
        f"best: {name_of(best)}: {best.score.accuracy:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}{spread})"
    )
    if len(rows) < 2:
        return
    same = [row for row in rows[1:] if row.verdict and row.verdict.same]
    count = len(rows) - 1
    if not same:
        yield f"worse than the best beyond chance: all {count} other rows"
        return
    named = "; ".join(name_of(row) for row in same[:4])
    more = f" and {len(same) - 4} more" if len(same) > 4 else ""
    yield f"not distinguishable from the best: {len(same)} of {count} other rows: {named}{more}"
    yield (
        "the best row was chosen by these test images, so its own accuracy is on the "
        "optimistic side"
    )


def _depth(rows: Sequence[Row]) -> Iterator[str]:
    """Say of each backbone whether accuracy rises with depth."""
    by_backbone: dict[str, dict[int, float]] = {}
    for row in rows:
        if len(row.view.parts) > 1 or row.score is None:
            continue
        depths = by_backbone.setdefault(row.view.backbone, {})
        number = row.depth
        depths[number] = max(row.score.accuracy, depths.get(number, 0.0))
    for backbone, depths in by_backbone.items():
        if len(depths) < 3:
            continue
        values = [depths[number] for number in sorted(depths)]
        steps = int(np.sum(np.diff(values) > 0))
        yield (
            f"depth, {backbone}: accuracy rises in {steps} of {len(values) - 1} steps, from "
            f"{values[0]:.2%} to {values[-1]:.2%}"
        )


def _concatenation(rows: Sequence[Row], sizes: tuple[int, int]) -> Iterator[str]:
    """Test the best concatenation against the best single layer, once."""
    several = next((row for row in rows if len(row.view.parts) > 1), None)
    single = next((row for row in rows if len(row.view.parts) == 1), None)
    if several is None or single is None or several.score is None or single.score is None:
        return
    margin = several.score.accuracy - single.score.accuracy
    if len(several.score.right):
        p = mcnemar(several.score.right, single.score.right).p
    else:
        pairs = several.score.accuracies, single.score.accuracies
        p = corrected_t(*pairs, n_train=sizes[0], n_test=sizes[1]).p
    real = "a real difference" if p <= ALPHA else "not distinguishable"
    yield (
        f"concatenation {name_of(several)} against {name_of(single)}: "
        f"{100 * margin:+.2f} points, p = {p:.2g}: {real}"
    )


def _leaks(best: Row) -> Iterator[str]:
    score = best.score
    if score is None or not score.leaks:
        return
    rest = f"{score.without_leaks:.2%}" if score.without_leaks is not None else "not known"
    yield (
        f"{score.leaks:,} test {'image' if score.leaks == 1 else 'images'} also stand among "
        f"the training images; the best row's accuracy without: {rest}"
    )


def _agreement(agreement: dict[str, Agreement]) -> Iterator[str]:
    for name, found in agreement.items():
        rho = "not defined" if found.spearman is None else f"{found.spearman:.2f}"
        yield (
            f"{name} orders {found.n} kinds of features with a rank correlation of {rho} to the "
            f"measured accuracy; choosing by it would lose {100 * found.regret:.2f} points"
        )
