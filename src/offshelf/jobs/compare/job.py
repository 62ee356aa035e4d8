"""The comparison of backbones, layers and heads: one pass over the images for each network."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from offshelf import cache
from offshelf.cache import Usage
from offshelf.data.tables.image_table import ImageTable
from offshelf.feature_sets.feature_set import Joining
from offshelf.jobs.compare.chosen_row import ACCURACY, check_preference
from offshelf.jobs.compare.comparison import Comparison
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.feature_sets import Source, View, views_of
from offshelf.jobs.compare.fit_command import MODEL, command_of, fit_command
from offshelf.jobs.compare.grid import (
    HeadAxes,
    NetworkAxes,
    ProtocolSettings,
    check_size,
    described,
    folds_of,
    keep_splits,
    recipes_of,
)
from offshelf.jobs.compare.grid_cell import transfer_of
from offshelf.jobs.compare.plan import Plan, Stored
from offshelf.jobs.compare.processes import run_plan
from offshelf.jobs.compare.row_model import check_model, row_model
from offshelf.jobs.compare.source_features import (
    Extracted,
    Networks,
    Speed,
    extract_all,
    speeds_of,
    usable,
)
from offshelf.jobs.compare.verdicts import Assembled, assemble
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.setup.grouped_table import LEAKS, group_numbers_of
from offshelf.jobs.setup.labelled_features import table_of
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import HeadSettings, JobContext, RunSettings
from offshelf.measurement.splits.protocol import Fold
from offshelf.measurement.transferability import Transfer
from offshelf.progress import Progress, Silent, note_all, notifying


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared, and how.

    Attributes:
        networks: where features come from.
        heads: what is trained on them.
        concat: layers or backbones side by side: ``all``, or ``A:layer+B:layer``.
        protocol: how accuracy is measured.
        transfer: whether cheap scores of transferability are computed, too.
        yes: run a very large grid without asking.
        download: whether weights may be fetched.
        processes: that train heads; None for what processors and memory allow.
        fit: the model file of the best row, or of the preferred one; None writes none.
        prefer: which of the rows that cannot be told from the best becomes the model:
            ``accuracy``, ``speed`` or ``size``, see :func:`.chosen_row`.
    """

    networks: NetworkAxes = field(default_factory=NetworkAxes)
    heads: HeadAxes = field(default_factory=HeadAxes)
    concat: tuple[str, ...] = ()
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)
    transfer: bool = False
    yes: bool = False
    download: bool = True
    processes: int | None = None
    fit: str | Path | None = None
    prefer: str = ACCURACY


def compare(
    data: str | Path,
    settings: CompareSettings | None = None,
    *,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure which features and heads do best on labelled images, and whether it is real.

    Every network runs once over the images; heads are trained on stored features, in several
    processes. What is finished is kept: the same comparison again, or one that was stopped, only
    does what is missing. What is chosen, such as C, is chosen on training images alone.

    Args:
        data: labelled images, as for ``fit``.
        settings: the grid and the protocol.
        run: engine, limits, cache folder, seed.
        progress: receives the state of the work.

    Raises:
        OffshelfError: names, settings or data cannot be used; before any work where possible.

    >>> compare("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such/folder: no such file or folder.
    """
    settings, run = settings or CompareSettings(), run or RunSettings()
    progress, clock = progress or Silent(), Clock()
    with clock.stage("read"):
        work = _prepare(data, settings, run, progress)
    found, speeds = _extracted(work, run, progress, clock)
    folds = _kept_folds(work, found, settings.protocol, run.seed)
    plan = make_plan(work, folds, found, run)
    with notifying(progress), contextlib.closing(Usage(plan.results, make=True)):
        scores = _trained(plan, settings, progress, clock)
        assembled = _counted(assemble(plan, work.views, (found, speeds), scores), work.table)
    rows = assembled["rows"] = _with_commands(assembled["rows"], data, run, settings.protocol)
    made = fit_command(rows, data, run, settings.protocol, settings.prefer, settings.fit or MODEL)
    images, job = (data, work.table), JobContext(run, progress, clock)
    model = _model(made.row, settings.fit, images, found, job)
    return Comparison(
        **assembled,
        protocol=described(settings.protocol, folds, work.table.split_made),
        failures=_failures(found),
        seconds=clock.total(),
        data=os.fspath(data),
        fit=made,
        model=model,
    )


def _model(
    row: Row | None,
    out: str | Path | None,
    images: tuple[str | Path, ImageTable],
    found: dict[Source, Extracted],
    job: JobContext,
) -> FitResult | None:
    """Make the model that was asked for; its own stages are in what ``fit`` says."""
    if row is None or out is None:
        return None
    with job.clock.stage("model"):
        return row_model(row, images, found, out, JobContext.of(job.run, job.progress))


def _with_commands(
    rows: Sequence[Row], data: str | Path, run: RunSettings, protocol: ProtocolSettings
) -> tuple[Row, ...]:
    return tuple(
        dataclasses.replace(row, command=command_of(row, data, run, protocol.groups))
        for row in rows
    )


def _extracted(
    work: _Work, run: RunSettings, progress: Progress, clock: Clock
) -> tuple[dict[Source, Extracted], dict[Source, Speed]]:
    """Run every network, and see how fast it is."""
    with clock.stage("extract"):
        found = extract_all(work.table, work.views, work.networks, run, progress)
    with clock.stage("speed"), notifying(progress):
        return found, speeds_of(found, work.table, run)


def _kept_folds(
    work: _Work, found: dict[Source, Extracted], protocol: ProtocolSettings, seed: int
) -> tuple[Fold, ...]:
    """Return the folds of the images that can be used, and write them where asked for."""
    folds = folds_of(work.table, protocol, seed, usable(found.values()))
    keep_splits(work.table, folds, protocol, seed)
    return folds


def _failures(found: dict[Source, Extracted]) -> tuple[dict[str, str], ...]:
    ledger = next(iter(found.values())).extraction
    return tuple(failure.to_json() for failure in ledger.failures)


def _trained(
    plan: Plan, settings: CompareSettings, progress: Progress, clock: Clock
) -> dict[int, Transfer]:
    """Train every head that is missing; return the cheap scores where asked for."""
    with clock.stage("heads"):
        run_plan(plan, progress, settings.processes)
    with clock.stage("transfer"):
        return transfer_of(plan, progress) if settings.transfer else {}


@dataclass(frozen=True, eq=False)
class _Work:
    """What is known to be possible before any image is run."""

    table: ImageTable
    networks: Networks
    views: tuple[View, ...]
    recipes: tuple[HeadSettings, ...]


def _counted(assembled: Assembled, table: ImageTable) -> Assembled:
    """Return the parts of a result with a finding that says how many images were corrected."""
    if table.corrected is None:
        return assembled
    line = f"corrections: {table.corrected.sentence}"
    return {**assembled, "findings": (*assembled["findings"], line)}


def _notes(table: ImageTable, protocol: ProtocolSettings) -> tuple[str, ...]:
    """Return what a person should know of the images; of the given split where it is used."""
    given = protocol.kind == "given" and protocol.splits_from is None
    return tuple(line for line in table.warnings if given or not line.startswith(LEAKS))


def _prepare(
    data: str | Path, settings: CompareSettings, run: RunSettings, progress: Progress
) -> _Work:
    """Find every mistake that can be found without running a network."""
    settings.networks.check()
    settings.protocol.check()
    check_preference(settings.prefer)
    recipes = recipes_of(settings.heads)
    table = table_of(data, dataclasses.replace(run, groups=settings.protocol.groups))
    note_all(progress, _notes(table, settings.protocol))
    folds = folds_of(table, settings.protocol, run.seed)
    networks = Networks(run, progress, settings.download)
    views = views_of(settings.networks, settings.concat, networks.layers)
    for view in views:
        networks.check(view)
    if settings.fit is not None:
        check_model(settings.fit, views)
    check_size(views, recipes, len(folds), settings.yes)
    return _Work(table, networks, views, recipes)


def make_plan(
    work: _Work, folds: Sequence[Fold], found: dict[Source, Extracted], run: RunSettings
) -> Plan:
    """Return the work on the extracted features."""
    ledger = next(iter(found.values())).extraction
    stored = tuple(
        Stored(
            tuple(found[part.source].identity(part) for part in view.parts),
            Joining(
                tuple(part.normalisation for part in view.parts),
                view.product,
                run.seed if view.product else 0,
            ),
            tuple(found[part.source].identity(part) for part in view.needs[len(view.parts) :]),
            view.flips,
        )
        for view in work.views
    )
    return Plan(
        root=cache.features_folder(run.engine.cache_dir),
        results=cache.compared_folder(run.engine.cache_dir),
        digests=tuple(row.digest for row in ledger.rows),
        targets=np.asarray(work.table.targets(), np.int64),
        classes=work.table.classes,
        folds=tuple(folds),
        views=stored,
        recipes=work.recipes,
        seed=run.seed,
        groups=group_numbers_of(work.table, np.arange(len(work.table))),
    )
