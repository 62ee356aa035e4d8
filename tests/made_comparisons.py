"""Rows of comparisons, made up for tests of what is said and drawn of them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from offshelf.jobs.compare.axis_effects import effects_of, sentences
from offshelf.jobs.compare.comparison_rows import Cost, Row, Score, Verdict
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.measurement.metrics import wilson
from offshelf.measurement.significance_tests import not_distinguishable

TESTED = 200
OF_SOURCE = ("backbone", "weights", "resize", "scaling", "grey", "precision", "size")
OF_HEAD = ("normalisation", "reduction", "head", "c", "class_weight")


def made_row(right: int, **values: Any) -> Row:
    """Return a row that labels the first *right* of 200 test images rightly."""
    source = {"backbone": "efficientnet_lite0", **_some(values, OF_SOURCE)}
    part = Part(Source(**source), values.get("layer", "penultimate"), values.get("pooling", "avg"))
    hits = np.arange(TESTED) < right
    score = Score(
        accuracies=(right / TESTED,),
        balanced=(right / TESTED,),
        interval=wilson(right, TESTED),
        right=hits,
        leaks=0,
        without_leaks=None,
    )
    cost = Cost(
        dimension=values.get("dimension", 1280),
        stored_bytes=10_000,
        model_bytes=values.get("size_of_model", 10_000_000),
        ms_per_image=values.get("ms", 20.0),
        fit_seconds=0.5,
        predict_ms=0.01,
    )
    recipe = HeadSettings(**_some(values, OF_HEAD))
    chosen = (1.0,) if recipe.c == "auto" else (float(recipe.c),)
    return Row(
        view=View((part,), values.get("flips", "none")),
        recipe=recipe,
        score=score,
        cost=cost,
        c=chosen,
        depth=values.get("depth", 0),
    )


def judged(rows: list[Row]) -> tuple[Row, ...]:
    """Return rows as a comparison has them: tested against the best, which is the first."""
    ordered = sorted(rows, key=lambda row: -row.score.accuracy if row.score else 0.0)
    found = not_distinguishable([row.score.right for row in ordered if row.score])
    verdicts = map(Verdict, found.p, found.adjusted, found.same)
    return tuple(
        dataclasses.replace(row, verdict=verdict)
        for row, verdict in zip(ordered, verdicts, strict=True)
    )


def grid(first: int, step: int, **axes: tuple[Any, ...]) -> tuple[Row, ...]:
    """Return the judged rows of every combination, each *step* images worse than the one before."""
    product = itertools.product(*axes.values())
    rows = [
        made_row(max(0, first - step * number), **dict(zip(axes, values, strict=True)))
        for number, values in enumerate(product)
    ]
    return judged(rows)


def said_of(rows: tuple[Row, ...]) -> list[str]:
    """Return the sentences on the axes of rows."""
    return list(sentences(effects_of(rows, (100, TESTED))))


def _some(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
