"""The model of a row: made by ``fit`` of the features that the comparison extracted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.errors import OffshelfError
from offshelf.feature_sets.feature_set import FeaturePart, FeatureSet
from offshelf.feature_sets.set_extraction import SetExtraction, ledger, together
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.compare.chosen_row import obstacle
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.compare.source_features import Extracted
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit_labelled, note_replaced
from offshelf.jobs.setup.labelled_features import LabelledFeatures, name_of_data, run_networks
from offshelf.jobs.setup.settings import JobContext
from offshelf.model_file.zip_file import check_target
from offshelf.text import shown

Found = Mapping[Source, Extracted]
Options = Mapping[Backbone, EngineOptions]


def check_model(out: str | Path, views: tuple[View, ...]) -> None:
    """Refuse what is certain to give no model, before any work.

    Raises:
        ModelFileError: no model file can or should be written at *out*.
        OffshelfError: ``fit`` can make none of the views.
    """
    check_target(Path(out))
    if all(map(obstacle, views)):
        raise OffshelfError(
            f"{shown(str(out))}: no row can be made into a model: fit always scales pixels as "
            "belongs to the weights; add --scaling weights,none"
        )


def row_model(
    row: Row, images: tuple[str | Path, ImageTable], found: Found, out: str | Path, job: JobContext
) -> FitResult:
    """Train the head of a row as ``fit`` does, write the model file and return what fit says.

    No network runs again, but one of int8 whose pass had other layers than the row: such a network
    is another one in a model file.

    Args:
        row: one that ``fit`` can make.
        images: the data as they were named, and the image table.
        found: the extracted features.
        out: the model file.
        job: its clock receives the stages of training.

    Raises:
        OffshelfError: what ``fit`` raises.
    """
    data, table = images
    note_replaced(out, job.progress)
    extraction, options = _extraction(row.view, table, found, job)
    labelled = LabelledFeatures(
        table=table, extraction=extraction, options=options, name=name_of_data(data)
    )
    return fit_labelled(labelled, out, (row.recipe, ProbabilitySettings(), None), job)


def _extraction(
    view: View, table: ImageTable, found: Found, job: JobContext
) -> tuple[SetExtraction, Options]:
    """Return the features of a view, as the comparison has them where a model can have them."""
    features = feature_set_of(view, found, job.run.seed)
    sources = {part.source: found[part.source] for part in view.needs}
    if _other_network(features, sources):
        job.progress.note(
            f"{features}: in int8, a network for these layers alone is another one: it runs anew"
        )
        engine = dataclasses.replace(job.run.engine, precision="int8")
        run = dataclasses.replace(job.run, engine=engine)
        extraction, options = run_networks(table, features, dataclasses.replace(job, run=run))
    else:
        passes = {one.backbone: one.extraction for one in sources.values()}
        extraction = together(features, passes)
        options = {one.backbone: one.options for one in sources.values()}
    # Rows of a comparison are measured on images that every network could use.
    every = [extraction, *(one.extraction for one in found.values())]
    return dataclasses.replace(extraction, rows=ledger(every)), options


def feature_set_of(view: View, found: Found, seed: int) -> FeatureSet:
    """Return the features of a view with their networks; *seed* is of a product."""

    def part_of(part: Part) -> FeaturePart:
        one = found[part.source]
        return FeaturePart(one.backbone, one.kinds[part], part.normalisation)

    parts = tuple(map(part_of, view.parts))
    return FeatureSet(parts, view.product, view.flips, seed if view.product else 0)


def _other_network(features: FeatureSet, sources: Found) -> bool:
    """Return whether an int8 network of the comparison was made for other layers, too."""
    return any(
        one.options.precision == "int8" and one.unique_kinds != features.kinds_of(one.backbone)
        for source, one in sources.items()
        if not source.mirrored
    )
