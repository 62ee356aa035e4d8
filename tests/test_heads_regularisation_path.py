"""The values of C that auto tries: the grid alone, or beyond its ends while that is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.options import GRID, LADDER
from offshelf.heads.regularisation_path import best_of, is_end, regularisation_path


def tried(best: float) -> tuple[list[float], list[Sequence[float]]]:
    """Return what is tried where the figures rise towards *best*, and each call."""
    calls: list[Sequence[float]] = []

    def measure(cs: Sequence[float]) -> list[float]:
        calls.append(cs)
        return [-abs(np.log(c / best)) for c in cs]

    return list(regularisation_path(measure)[0]), calls


def test_the_ladder_goes_on_from_the_grid_in_equal_steps() -> None:
    assert (LADDER[0], LADDER[-1]) == (1e-6, 1e6)
    assert tuple(10 ** (-2 + step * (4 / 6)) for step in range(7)) == GRID
    assert np.allclose(np.diff(np.log10(LADDER)), 4 / 6)


@pytest.mark.parametrize("best", GRID[1:-1])
def test_nothing_more_is_tried_where_the_best_is_inside(best: float) -> None:
    assert tried(best) == (list(GRID), [GRID])


@pytest.mark.parametrize(
    ("best", "first", "last"),
    [
        (100.0, 0.01, LADDER[13]),
        (460.0, 0.01, LADDER[14]),
        (1e6, 0.01, 1e6),
        (1e9, 0.01, 1e6),
        (0.01, LADDER[5], 100.0),
        (1e-4, LADDER[2], 100.0),
        (1e-9, 1e-6, 100.0),
    ],
)
def test_values_beyond_an_end_are_tried_until_the_best_is_inside(
    best: float, first: float, last: float
) -> None:
    cs, calls = tried(best)
    assert (cs[0], cs[-1]) == (first, last)
    assert cs == sorted(cs)
    assert calls[0] == GRID
    assert all(len(one) == 1 for one in calls[1:])
    assert len(calls) - 1 == len(cs) - len(GRID)


def test_equal_figures_are_no_reason_to_go_on() -> None:
    for figures in ([1.0] * 7, [1.0, 1.0, *[0.5] * 5], [*[0.5] * 5, 1.0, 1.0]):
        known = dict(zip(GRID, figures, strict=True))
        assert regularisation_path(lambda cs, known=known: [known[c] for c in cs]) == (
            GRID,
            figures,
        )
    assert best_of([0.5, 1.0, 1.0 - 1e-15]) == 1


def test_ends() -> None:
    assert [c for c in LADDER if is_end(c)] == [1e-6, 1e6]


@pytest.mark.parametrize(
    ("kind", "scale", "apart", "beyond"),
    [
        ("svm", 0.001, 1.5, (LADDER[4], 100.0)),
        ("svm", 0.01, 1.5, (0.01, LADDER[13])),
        ("ridge", 0.001, 1.5, (0.01, LADDER[16])),
        ("logistic", 10.0, 1.5, (LADDER[5], 100.0)),
    ],
)
def test_heads_go_on_beyond_the_grid(
    kind: str, scale: float, apart: float, beyond: tuple[float, float]
) -> None:
    draw = np.random.default_rng(0)
    targets = np.arange(120) % 3
    rows = scale * (draw.normal(size=(120, 6)) + apart * np.eye(3, 6)[targets])
    given = rows.astype(np.float32), targets, ["a", "b", "c"]
    head = fit_head(Recipe(kind=kind, c="auto", normalisation="none"), *given)
    grid, c = head.parameters["C_grid"], head.parameters["C"]
    assert (grid[0], grid[-1]) == beyond
    assert grid == sorted(grid)
    figures = head.parameters.get("fold_accuracies") or [
        [-error] for error in head.parameters["left_out_errors"]
    ]
    assert len(figures) == len(grid)
    assert c == grid[best_of([float(np.mean(one)) for one in figures])]
    alone = fit_head(Recipe(kind=kind, c=c, normalisation="none"), *given)
    np.testing.assert_allclose(decision(head, rows), decision(alone, rows), atol=1e-4)
    for place in range(len(GRID)):
        assert grid[grid.index(GRID[0]) + place] == GRID[place]
