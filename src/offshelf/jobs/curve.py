"""Learning curve: accuracy against training images per class.

Features are extracted once; heads are trained on smaller and smaller parts of the training
split and always tested on the same test split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import share, whole
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.mirror_images import train as train_head
from offshelf.heads.group_folds import Groups
from offshelf.jobs.fit.job import check_settings, recipe_of
from offshelf.jobs.setup.grouped_table import describe_groups, group_facts
from offshelf.jobs.setup.labelled_features import LabelledFeatures, labelled_features
from offshelf.jobs.setup.settings import (
    FeatureSettings,
    HeadSettings,
    JobContext,
    RunSettings,
    describe_features,
    describe_run,
    precision_facts,
)
from offshelf.measurement.learning_curve.doubts import MIN_SIZES
from offshelf.measurement.learning_curve.lookahead import (
    Needed,
    halved_sizes,
    images_needed,
    next_accuracy,
    student_interval,
)
from offshelf.measurement.learning_curve.measured_curve import LearningCurve, fit_curve
from offshelf.measurement.metrics import wilson
from offshelf.measurement.splits.protocol import Fold, subsets
from offshelf.progress import Progress, note_all
from offshelf.report import summary
from offshelf.report.pictures.learning_chart import curve_chart, curve_sentences, curve_table
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Charted, Facts
from offshelf.text import counted


@dataclass(frozen=True)
class CurveSettings:
    """What a learning curve measures.

    Attributes:
        sizes: training images per class; None doubles from about 5 to the smallest class.
        repeats: draws of training images at every size, 1 or more.
        target: target accuracy, 0 to 1, to report how many images per class reach it; None
            for the next whole per cent.
    """

    sizes: Sequence[int] | None = None
    repeats: int = 5
    target: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CurveResult(OfFeatures, Charted):
    """A learning curve.

    Attributes:
        curve: what was measured, and the law that was fitted to it.
        accuracies: S x R, of every size and draw.
        draws: S; how many of the R draws differ. One where every class is used up: then
            the spread over draws says nothing.
        needed: images per class for a higher accuracy; None where there is no room.
        n_test: images that every accuracy is of.
        table: the images.
        extraction: the ledger of the images, with the networks and layers.
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
    extraction: SetExtraction
    head: HeadSettings
    seconds: dict[str, float]

    @property
    def intervals(self) -> tuple[tuple[float, float] | None, ...]:
        """The interval of each measured mean, over draws; None where draws do not differ.

        Where draws differ and all have one accuracy, it is Wilson's of the test images.
        """
        return tuple(
            self._interval(row) if draws > 1 else None
            for row, draws in zip(self.accuracies, self.draws, strict=True)
        )

    def _interval(self, row: NDArray[np.float64]) -> tuple[float, float] | None:
        if _is_one(row):
            right = round(float(row[0]) * self.n_test)
            return wilson(right, self.n_test, self.curve.confidence)
        return student_interval(row, self.curve.confidence)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            **self.curve.to_json(),
            "accuracies": self.accuracies.tolist(),
            "intervals": [list(pair) if pair else None for pair in self.intervals],
            "draws": list(self.draws),
            "needed": asdict(self.needed) if self.needed else None,
            "n_test": self.n_test,
            "groups": describe_groups(self.table),
            "n_failed": len(self.extraction.failures),
            "failures": [row.to_json() for row in self.extraction.failures],
            "classes": list(self.table.classes),
            **describe_features(self.features),
            "head": self.head.head,
            "C": self.head.c,
            **describe_run(self.extraction),
            "warnings": list(self.table.warnings),
            "seconds": self.seconds,
            "sentences": list(self.sentences),
            "picture": None,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the curve says of more images, one line each."""
        return tuple(curve_sentences(self.curve, self.needed))

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what more images would do, and how that was measured."""
        for sentence in self.sentences:
            yield "more", sentence
        curve = self.curve
        repeats = curve.points[0].repeats
        draws = "1 draw" if repeats == 1 else f"{repeats} draws"
        ahead = "; ahead, also over images to come and to test" if curve.identified else ""
        one = any(
            n > 1 and _is_one(row) for row, n in zip(self.accuracies, self.draws, strict=True)
        )
        equal = ", or of the test images where all draws have one accuracy" if one else ""
        yield (
            "measured",
            f"on the same {self.n_test:,} test images, {draws} of training images at every size; "
            f"intervals (95 %) are over draws{equal}{ahead}",
        )
        yield from self._counted
        if self.table.corrected:
            yield "corrected", self.table.corrected.sentence
        yield from group_facts(self.table)
        if 1 in self.draws and repeats > 1:
            n = curve.points[self.draws.index(1)].n
            yield "", f"no interval at {n:,}: there, all draws hold the same images"
        yield "backtest", self._backtest
        yield "features", f"{self.features.title}, head {self.head.head}{self.features.changed}"
        ok, failed = len(self.extraction.ok), len(self.extraction.failures)
        yield "images", f"{ok:,}, {failed:,} left out{self.extraction.origin}"
        yield from precision_facts(self.extraction)
        yield "time", f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"

    @property
    def _counted(self) -> Iterator[tuple[str, str]]:
        """Yield that classes do not count alike, where they differ in test images."""
        rows = np.intersect1d(self.table.rows(TEST), self.extraction.ok)
        several = Counter(self.table.labels[row] for row in rows.tolist()).values()
        if min(several) < max(several):
            yield (
                "",
                "plain accuracy, in which a class counts by its test images, "
                f"{min(several):,} to {max(several):,}",
            )

    @property
    def _backtest(self) -> str:
        if self.curve.backtest is None:
            sizes = counted(len(self.curve.points), "size")
            return f"none: needs {MIN_SIZES + 1} sizes or more, measured: {sizes} (--sizes)"
        off = f"{100 * self.curve.backtest:.2f} points"
        return f"extrapolated from the smaller sizes, the largest is off by {off}"

    def blocks(self) -> Iterator[Block]:
        """Yield the accuracy at every size, what more images would do, and what was left out."""
        yield curve_table(self.curve, self.intervals)
        yield ""
        yield Facts(tuple(self.facts()))
        failures = [row.to_json() for row in self.extraction.failures]
        yield from summary.reservations(failures, self.features.trained)

    def plot(self) -> Picture:
        """Return the curve as a picture, dashed where it looks ahead."""
        what = f"{self.features.title}, {self.head.head}"
        title = f"{what}: {self.n_test:,} test images"
        return Picture(
            title, lambda form: curve_chart(self.curve, self.intervals, title, form=form)
        )


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
        progress: receives notes, and how far the work is.

    Raises:
        DataError: a size is larger than a class, there is no test split, or a setting is
            out of range.
        OffshelfError: the data, names or settings cannot be used.

    >>> learning_curve("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such/folder: no such file or folder.
    """
    job = JobContext.of(run, progress)
    settings, head = settings or CurveSettings(), head or HeadSettings()
    check_settings(head, job.run)
    _check(settings)
    # Refused before the network runs; images that cannot be used may still lack.
    labelled = labelled_features(
        data, features, job, lambda table: _check_sizes(table, settings.sizes)
    )
    note_all(job.progress, labelled.contradictions)
    return _measured(labelled, settings, head, job)


def _measured(
    labelled: LabelledFeatures, settings: CurveSettings, head: HeadSettings, job: JobContext
) -> CurveResult:
    seed = job.run.seed
    fold = Fold(labelled.train.rows, labelled.test.rows)
    sizes = sorted(set(settings.sizes or halved_sizes(_smallest(labelled.table, fold.train))))
    draws = subsets(labelled.table, fold, sizes, times=settings.repeats, seed=seed)
    with job.clock.stage("heads"):
        accuracies = _accuracies(labelled, draws, recipe_of(head, seed), job.progress)
    with job.clock.stage("curve"):
        curve = fit_curve(sizes, accuracies, seed=seed, tested=len(fold.test))
        target = next_accuracy(curve) if settings.target is None else settings.target
        needed = None if target is None else images_needed(curve, target)
    return CurveResult(
        curve=curve,
        accuracies=accuracies,
        draws=tuple(len({one.train.tobytes() for one in same}) for same in draws),
        needed=needed,
        n_test=len(fold.test),
        table=labelled.table,
        extraction=labelled.extraction,
        head=head,
        seconds=job.clock.total(),
    )


def _check_sizes(table: ImageTable, sizes: Sequence[int] | None) -> None:
    if sizes is not None:
        subsets(table, Fold(table.rows(TRAIN), table.rows(TEST)), sizes)


def _accuracies(
    labelled: LabelledFeatures,
    draws: tuple[tuple[Fold, ...], ...],
    recipe: Recipe,
    progress: Progress,
) -> NDArray[np.float64]:
    """Train on every draw; the same images are not trained on twice."""
    train, test, classes = labelled.train, labelled.test, labelled.table.classes
    known: dict[bytes, float] = {}
    progress.start("heads", sum(map(len, draws)))
    for one in (one for same in draws for one in same):
        if one.train.tobytes() not in known:
            drawn = np.searchsorted(train.rows, one.train)
            given = train.images.take(drawn), train.targets[drawn], classes
            groups = _several_groups(labelled.fold_groups(one.train), given[1])
            labels = test.images.decide(train_head(recipe, *given, groups)).argmax(axis=1)
            known[one.train.tobytes()] = float((labels == test.targets).mean())
        progress.advance()
    progress.finish()
    return np.array([[known[one.train.tobytes()] for one in same] for same in draws])


def _several_groups(groups: Groups | None, targets: NDArray[np.int64]) -> Groups | None:
    """Return the groups where folds can hold them out: a small draw may have one of each class."""
    if groups is None or len(np.unique(np.stack([groups, targets]), axis=1)[0]) == len(
        np.unique(targets)
    ):
        return None
    return groups


def _is_one(accuracies: NDArray[np.float64]) -> bool:
    return len(accuracies) > 1 and float(np.ptp(accuracies)) == 0.0


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
