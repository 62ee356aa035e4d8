"""Labels of images as a person reads them, and what the columns mean."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.probabilities.rejection import IN_WORDS, Threshold
from offshelf.model_file.model import Model
from offshelf.prediction import Prediction
from offshelf.report.tables.result_rows import Column, Table

UNLIKE = "unlike the training images"


def label_table(labelled: Sequence[Prediction], model: Model, top: int = 3) -> Table:
    """Return a row for each image that has a label, with its *top* classes."""
    claiming = claims(model)
    sure = (Column("probability", "percent"),) if model.certainty.calibration else ()
    columns = (Column("image"), Column("label"), *sure, Column("score"), Column("then"))
    cells = tuple(label_cells(row, top, claiming) for row in labelled)
    if any(row.unlike for row in labelled):
        columns = (*columns, Column("note"))
        notes = [UNLIKE if row.unlike else "" for row in labelled]
        cells = tuple((*line, note) for line, note in zip(cells, notes, strict=True))
    return Table("", columns, cells)


def count_table(labelled: Sequence[Prediction]) -> Table:
    """Return how many images have each label, the most frequent first; unknown ones last."""
    found = collections.Counter(row.label for row in labelled if not row.unknown)
    cells = [(str(label), number) for label, number in found.most_common()]
    if unknown := sum(row.unknown for row in labelled):
        cells.append(("(unknown)", unknown))
    return Table("", (Column("label"), Column("images", "integer")), tuple(cells))


def legend(labelled: Sequence[Prediction], model: Model) -> Iterator[str]:
    """Yield what the columns of :func:`label_table` mean."""
    certainty, kind = model.certainty, model.head.kind
    if model.rule:
        yield f"label: {model.rule.sentence(model.classes)}"
    if certainty.calibration:
        yield (
            f"probability: of the label, if the image is of one of the classes ({certainty.kind} "
            "scaling, fitted on training images held out)"
        )
    yield f"score: decision value of the {kind}, no probability"
    if certainty.calibration:
        strange = f"marked as {UNLIKE}" if certainty.unlike else "of no class"
        yield f"believe the probability, not the score; of an image {strange}, neither"
    yield from marks(labelled, model)


def marks(labelled: Sequence[Prediction], model: Model) -> Iterator[str]:
    """Yield what the marks of labels mean: those that a model gives, or that images have."""
    certainty = model.certainty
    if certainty.threshold:
        typical = f"less typical than {_share(certainty.threshold)} % of the training images"
        yield f"unknown: {typical}, {IN_WORDS[certainty.threshold.measure]}"
    if certainty.unlike and any(row.unlike for row in labelled):
        farther = f"farther from them than {_share(certainty.unlike)} % of them from the others"
        yield f"{UNLIKE}: {farther}, {IN_WORDS[certainty.unlike.measure]}"
    if claims(model) and any(max(row.scores.values()) < 0 and not row.unknown for row in labelled):
        yield "(label): no class claims the image, all scores are below zero"


def _share(threshold: Threshold) -> str:
    return f"{100 - 100 * threshold.false_reject:.3g}"


def claims(model: Model) -> bool:
    """Return whether a score below zero claims nothing for its class."""
    return get_fitter(model.head.kind).one_vs_rest


def marked(row: Prediction, claiming: bool) -> str:
    """Return the label of an image with the marks of unknown images and of those of no class."""
    label, *_ = ordered(row)
    if row.unknown:
        return f"unknown (nearest: {label})"
    return f"({label})" if claiming and max(row.scores.values()) < 0 else label


def ordered(row: Prediction) -> list[str]:
    """Return the classes of an image: its label, then the others, the largest score first."""
    return sorted(row.scores, key=lambda name: name != row.label)


def label_cells(row: Prediction, top: int, claiming: bool) -> tuple[str | float, ...]:
    """Return the cells of one image; *claiming* where a score below zero claims nothing."""
    label, *others = ordered(row)[:top]
    shown, score = marked(row, claiming), f"{row.scores[label]:+.3f}"
    if not row.probabilities:
        then = ", ".join(f"{name} {row.scores[name]:+.3f}" for name in others)
        return row.path, shown, score, then
    shares = row.probabilities
    then = ", ".join(f"{name} {100 * shares[name]:.2f} %" for name in others)
    return row.path, shown, shares[label], score, then
