"""Accuracy against training images per class.

Features are extracted once; heads are trained on smaller and smaller parts of the training
split and always tested on the same test split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.checks import share, whole
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.evaluate.learning_curve.lookahead import (
    Needed,
    halved_sizes,
    images_needed,
    mean_interval,
    next_accuracy,
)
from offshelf.evaluate.learning_curve.measured_curve import LearningCurve, fit_curve
from offshelf.evaluate.splits.protocol import Fold, subsets
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.fit_head import decision
from offshelf.jobs.fit.test_leaks import contradictions
from offshelf.jobs.setup.precision import settled
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.jobs.setup.stage_times import Clock
from offshelf.jobs.setup.training import (
    check_settings,
    describe,
    images_and_network,
    note_all,
    train_on,
    usable_rows,
)
from offshelf.progress import Progress, Silent


@dataclass(frozen=True)
class CurveSettings:
    """What a learning curve measures.

    Attributes:
        sizes: training images per class; None doubles from about 5 to the smallest class.
        repeats: draws of training images at every size, 1 or more.
        target: accuracy whose price in images is told, 0 to 1; None for the next whole
            per cent.
    """

    sizes: Sequence[int] | None = None
    repeats: int = 5
    target: float | None = None


@dataclass(frozen=True, eq=False)
class CurveResult:
    """A learning curve.

    Attributes:
        curve: what was measured, and the law that was fitted to it.
        accuracies: S x R, of every size and draw.
        draws: S; how many of the R draws differ. One where every class is used up: then
            the spread over draws says nothing.
        needed: images per class for a higher accuracy; None where there is no room.
        n_test: images that every accuracy is of.
        table: the images.
        backbone: network and weights in use.
        extraction: the ledger of the images.
        kind: layer and pooling.
        head: the classifier.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``heads``,
            ``curve``, ``total``.
    """

    curve: LearningCurve
    accuracies: NDArray[np.float64]
    draws: tuple[int, ...]
    needed: Needed | None
    n_test: int
    table: ImageTable
    backbone: Backbone
    extraction: Extraction
    kind: FeatureKind
    head: HeadSettings
    seconds: dict[str, float]

    @property
    def intervals(self) -> tuple[tuple[float, float] | None, ...]:
        """The interval of each measured mean, over draws; None where draws do not differ."""
        return tuple(
            mean_interval(row, self.curve.confidence) if draws > 1 else None
            for row, draws in zip(self.accuracies, self.draws, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            **self.curve.to_json(),
            "accuracies": self.accuracies.tolist(),
            "intervals": [list(pair) if pair else None for pair in self.intervals],
            "draws": list(self.draws),
            "needed": asdict(self.needed) if self.needed else None,
            "n_test": self.n_test,
            "n_failed": len(self.extraction.failures),
            "failures": [row.to_json() for row in self.extraction.failures],
            "classes": list(self.table.classes),
            **describe(self.backbone),
            "layer": self.kind.layer,
            "pooling": self.kind.pooling,
            "head": self.head.head,
            "C": self.head.c,
            "engine": self.extraction.engine,
            "precision": self.extraction.precision,
            "warnings": list(self.table.warnings),
            "seconds": self.seconds,
        }


def learning_curve(
    data: str | Path,
    *,
    settings: CurveSettings | None = None,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> CurveResult:
    """Measure how accuracy grows with training images, and look ahead with caution.

    Args:
        data: labelled images with a test split, as for ``fit``.
        settings: sizes, repeats and the accuracy asked for.
        features: backbone, layer, pooling.
        head: the classifier.
        run: engine, seed, split, limits.
        progress: is told how far the work is.

    Raises:
        DataError: a size is larger than a class, there is no test split, or a setting is
            out of range.
        OffshelfError: the data, names or settings cannot be used.

    >>> learning_curve("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: no/such/folder: no such file or folder.
    """
    settings, head = settings or CurveSettings(), head or HeadSettings()
    features, run = features or FeatureSettings(), run or RunSettings()
    check_settings(head, run)
    _check(settings)
    return _measured(data, settings, features, head, run, progress or Silent())


def _measured(
    data: str | Path,
    settings: CurveSettings,
    features: FeatureSettings,
    head: HeadSettings,
    run: RunSettings,
    progress: Progress,
) -> CurveResult:
    clock = Clock()
    with clock.stage("read"):
        table, backbone, kind = images_and_network(data, features, run, progress)
        if settings.sizes is not None:
            # Refused before the network runs; images that cannot be used may still lack.
            subsets(table, Fold(table.rows(TRAIN), table.rows(TEST)), settings.sizes)
    with clock.stage("calibrate"):
        engine = settled(table, backbone, [kind], run, progress)
    extraction = extract(table.paths, backbone, [kind], engine, run.reading, progress)
    clock.add(extraction.seconds)
    note_all(progress, contradictions(table, extraction))
    fold = Fold(usable_rows(table, extraction, TRAIN), usable_rows(table, extraction, TEST))
    sizes = settings.sizes or halved_sizes(_smallest(table, fold.train))
    sizes = sorted(set(sizes))
    draws = subsets(table, fold, sizes, times=settings.repeats, seed=run.seed)
    with clock.stage("heads"):
        accuracies = _accuracies(table, extraction, kind, draws, head, run.seed, progress)
    with clock.stage("curve"):
        curve = fit_curve(sizes, accuracies, seed=run.seed)
        target = next_accuracy(curve) if settings.target is None else settings.target
        needed = None if target is None else images_needed(curve, target)
    differ = tuple(len({one.train.tobytes() for one in same}) for same in draws)
    n = len(fold.test)
    found = (curve, accuracies, differ, needed, n, table, backbone, extraction, kind, head)
    return CurveResult(*found, clock.total())


def _accuracies(
    table: ImageTable,
    extraction: Extraction,
    kind: FeatureKind,
    draws: tuple[tuple[Fold, ...], ...],
    head: HeadSettings,
    seed: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """Train on every draw; the same images are not trained on twice."""
    targets = table.targets()
    every = np.unique(np.concatenate([one.train for same in draws for one in same]))
    test = draws[0][0].test
    features, tested = extraction.matrix(kind, every), extraction.matrix(kind, test)
    known: dict[bytes, float] = {}
    progress.start("heads", sum(map(len, draws)))
    for one in (one for same in draws for one in same):
        if one.train.tobytes() not in known:
            rows = features[np.searchsorted(every, one.train)]
            fitted = train_on(rows, targets[one.train], table.classes, head, seed)
            labels = decision(fitted, tested).argmax(axis=1)
            known[one.train.tobytes()] = float((labels == targets[test]).mean())
        progress.advance()
    progress.finish()
    return np.array([[known[one.train.tobytes()] for one in same] for same in draws])


def _check(settings: CurveSettings) -> None:
    whole("repeats", settings.repeats, 1)
    if settings.target is not None:
        share("target accuracy", settings.target)
    if settings.sizes is not None:
        if not settings.sizes:
            raise DataError("no sizes: name at least one number of training images per class")
        for size in settings.sizes:
            whole("n per class", size, 1)


def _smallest(table: ImageTable, rows: NDArray[np.int64]) -> int:
    return min(Counter(table.labels[row] for row in rows.tolist()).values())
