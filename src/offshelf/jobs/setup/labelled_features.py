"""Labelled features: the images of a job, the network, and what it made of them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.corrections import corrected
from offshelf.data.tables.image_table import ImageTable, contradiction, read_table
from offshelf.data.tables.sources import existing
from offshelf.engine.contract import Calibration, EngineOptions
from offshelf.errors import DataError
from offshelf.feature_sets.feature_set import NO_FLIPS, FeatureSet
from offshelf.feature_sets.set_extraction import SetExtraction, extract_set
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.fitting.mirror_images import Images
from offshelf.heads.group_folds import groups_with_copies
from offshelf.jobs.setup.grouped_table import group_numbers_of, grouped
from offshelf.jobs.setup.precision import resolve_precision
from offshelf.jobs.setup.run_costs import EtaProgress
from offshelf.jobs.setup.settings import FeatureSettings, JobContext, RunSettings, feature_set_for
from offshelf.jobs.setup.trained_results import array_digest
from offshelf.model_file.feature_record import network_digest
from offshelf.progress import note_all
from offshelf.text import counted


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFeatures:
    """The images of one split that can be used.

    Attributes:
        rows: N rows of the image table, int64, ascending.
        targets: their class indices, int64, N.
        extraction: of the features.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    extraction: SetExtraction

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """Their features, float32, N x D, read from the store when they are needed first."""
        return self.extraction.read(self.rows)

    @cached_property
    def images(self) -> Images:
        """The same with the features of mirror images, where those are used."""
        return self._images(self.rows, self.matrix)

    def images_at(self, places: NDArray[np.int64]) -> Images:
        """Return some of the N images."""
        whole: NDArray[np.float32] | None = vars(self).get("matrix")
        rows = self.rows[places]
        return self._images(rows, self.extraction.read(rows) if whole is None else whole[places])

    def _images(self, rows: NDArray[np.int64], matrix: NDArray[np.float32]) -> Images:
        features = self.extraction.features
        if features.flips == NO_FLIPS:
            return Images(matrix)
        mirrors = self.extraction.read_mirrored(rows)
        return Images(matrix, mirrors, features.trains_mirrors, features.averages)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """Labelled images with their features.

    Attributes:
        table: the images.
        extraction: the ledger of the images, with the stores of their features.
        options: of each network, the engine as it ran, with its precision and calibration.
        name: of the folder or file of the images, without those it lies in.
    """

    table: ImageTable
    extraction: SetExtraction
    options: Mapping[Backbone, EngineOptions]
    name: str = ""

    @property
    def features(self) -> FeatureSet:
        """The networks and layers."""
        return self.extraction.features

    @cached_property
    def train(self) -> SplitFeatures:
        """The training split; its features are read from the store once.

        Raises:
            DataError: it has no images, or none that can be used.
        """
        return self._split(TRAIN)

    @cached_property
    def test(self) -> SplitFeatures:
        """The test split; its features are read from the store once.

        Raises:
            DataError: it has no images, or none that can be used.
        """
        return self._split(TEST)

    @property
    def contradictions(self) -> tuple[str, ...]:
        """A line about images with several labels; empty where there are none."""
        return contradictions(self.table, self.extraction)

    def _split(self, split: str) -> SplitFeatures:
        rows = usable_rows(self.table, self.extraction, split)
        targets = self.table.targets()[rows]
        return SplitFeatures(rows=rows, targets=targets, extraction=self.extraction)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of rows of the table, float32."""
        return self.extraction.read(rows)

    def key(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Return what decides the features and labels of *rows*, as JSON values."""
        digests = hashlib.sha256(
            b"".join(self.extraction.rows[row].digest for row in rows.tolist())
        )
        groups, table = self.fold_groups(rows), self.table
        truth = table.membership() if table.label_sets else table.targets()
        return {
            "features": self.extraction.identity(),
            "rows": [len(rows), digests.hexdigest()],
            "targets": array_digest(truth[rows]),
            "classes": list(self.table.classes),
            **({} if groups is None else {"groups": array_digest(groups)}),
        }

    def groups_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the numbers of the groups of *rows*; None where images are independent."""
        return group_numbers_of(self.table, rows)

    def fold_groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the same where copies of an image are of one group, too; None without either."""
        digests = [self.extraction.rows[row].digest for row in rows.tolist()]
        return groups_with_copies(self.groups_of(rows), digests)


def labelled_features(
    data: str | Path,
    features: FeatureSettings | None,
    job: JobContext,
    check: Callable[[ImageTable], object] | None = None,
    read: Callable[[str | Path, RunSettings], ImageTable] | None = None,
) -> LabelledFeatures:
    """Read labelled images, open the network and extract one kind of features.

    Args:
        data: a folder with ``train/`` and ``test/``, a folder of class folders, or a CSV
            or Parquet table with ``path``, ``label`` and perhaps ``split``.
        features: backbone, layer, pooling; None for the defaults.
        job: its clock receives the stages ``read``, ``calibrate``, ``start`` and ``extract``.
        check: called with the images before the network runs; raises what is wrong.
        read: reads the images; None for :func:`table_of`.

    Returns:
        The images, and their features as float32 rows on disk; ``train`` and ``test`` read them.

    Raises:
        DataError: the data cannot be read as labelled images.
        OffshelfError: the network cannot be opened or run as the settings say.

    >>> labelled_features("no/such", None, JobContext.of(None, None))
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such: no such file or folder.
    """
    features, run = features or FeatureSettings(), job.run
    with job.clock.stage("read"):
        table = (read or table_of)(data, run)
        note_all(job.progress, table.warnings)
        wanted = feature_set_for(features, run, job.progress)
        if check is not None:
            check(table)
    extraction, options = run_networks(table, wanted, job)
    return LabelledFeatures(
        table=table,
        extraction=extraction,
        options=options,
        name=name_of_data(data),
    )


def name_of_data(data: str | Path) -> str:
    """Return the name of a folder or file of images, without those it lies in."""
    return Path(os.path.abspath(existing(data))).name  # noqa: PTH100 (links keep their names)


def table_of(data: str | Path, run: RunSettings) -> ImageTable:
    """Read labelled images as the settings of a run say, with groups and corrections.

    Raises:
        DataError: the data cannot be read as labelled images, or the groups or corrections
            not used.
    """
    table = read_table(data, test_size=run.test_size, seed=run.seed, classes=run.classes)
    return corrected(grouped(table, existing(data), run), run.corrections, data)


def run_network(
    table: ImageTable, backbone: Backbone, kinds: Sequence[FeatureKind], job: JobContext
) -> tuple[Extraction, EngineOptions]:
    """Resolve the precision and extract *kinds* in one pass, with the time-left line.

    Args:
        table: the images; labels are needed for the precision ``auto`` only.
        backbone: the network.
        kinds: the features wanted.
        job: its clock receives the stages ``calibrate``, ``start`` and ``extract``.

    Returns:
        The extraction, and the engine as it ran, with its precision and calibration.

    Raises:
        EngineError: the engine, device or precision cannot be had.
        LayerError: the weights do not reach a layer.
        StoreError: the store cannot be written.
    """
    with job.clock.stage("calibrate"):
        options = resolve_precision(table, backbone, kinds, job.run, job.progress)
    eta = EtaProgress(job.progress, backbone, kinds, options)
    extraction = extract(table.paths, backbone, kinds, options, job.run.reading, eta)
    job.clock.add(extraction.seconds)
    return extraction, options


def run_networks(
    table: ImageTable, features: FeatureSet, job: JobContext
) -> tuple[SetExtraction, dict[Backbone, EngineOptions]]:
    """Extract a feature set, each network in one pass; see :func:`run_network`.

    Mirror images run in the precision of the network's first pass, int8 with the same ranges.
    """
    options: dict[Backbone, EngineOptions] = {}

    def run(backbone: Backbone, kinds: tuple[FeatureKind, ...]) -> Extraction:
        if not backbone.input.mirrored:
            extraction, options[backbone] = run_network(table, backbone, kinds, job)
            return extraction
        plain = dataclasses.replace(
            backbone, input=dataclasses.replace(backbone.input, mirrored=False)
        )
        chosen = finished_options(plain, kinds, options[plain])
        return run_mirrored(table, backbone, kinds, chosen, job)

    return extract_set(features, run), options


def run_mirrored(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    options: EngineOptions,
    job: JobContext,
) -> Extraction:
    """Extract *kinds* of the mirror images, with the finished options of the network's own pass."""
    eta = EtaProgress(job.progress, backbone, kinds, options)
    extraction = extract(table.paths, backbone, kinds, options, job.run.reading, eta)
    job.clock.add(extraction.seconds)
    return extraction


def finished_options(
    backbone: Backbone, kinds: Sequence[FeatureKind], options: EngineOptions
) -> EngineOptions:
    """Return *options* with the int8 network itself, where there is one."""
    if options.precision != "int8":
        return options
    from offshelf.engine.openvino_engine.graph_cache import finished

    network = finished(backbone, tuple(kind.tap for kind in kinds), options).network
    if network is None:
        return options
    calibration = Calibration(network_digest(network), network=network)
    return dataclasses.replace(options, calibration=calibration)


def contradictions(table: ImageTable, extraction: Extraction) -> tuple[str, ...]:
    """Return a line about images with several labels; none where there are none."""
    line = contradiction(table, usable_digests(extraction))
    return (line,) if line else ()


def usable_digests(extraction: Extraction) -> list[bytes]:
    """Return the sha256 of each image's bytes; empty for one that has no features."""
    return [row.digest if row.status == "ok" else b"" for row in extraction.rows]


def usable_rows(table: ImageTable, extraction: Extraction, split: str) -> NDArray[np.int64]:
    """Return the rows of *split* that have features.

    Raises:
        DataError: there is none.
    """
    wanted = table.rows(split)
    rows = np.intersect1d(wanted, extraction.ok)
    if len(rows):
        return rows
    if not len(wanted):
        raise DataError(f"the data has no {split} images")
    first = extraction.rows[int(wanted[0])]
    raise DataError(
        f"none of the {counted(len(wanted), f'{split} image')} can be used; "
        f"the first: {first.path}: {first.status}, {first.reason}"
    )
