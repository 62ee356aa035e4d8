"""The result of an extraction: as text, as JSON and as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.feature_sets.feature_set import FeatureSet
from offshelf.feature_sets.set_extraction import SetExtraction
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind
from offshelf.jobs.extract.feature_columns import JOINED, FeatureColumn, columns_of, parts_of
from offshelf.jobs.extract.feature_file import batches
from offshelf.jobs.setup.settings import (
    describe,
    describe_features,
    describe_run,
    precision_facts,
)
from offshelf.report import summary
from offshelf.report.result import Block, Facts, Result, require_pandas
from offshelf.version import __version__

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExtractResult(Result):
    """Features of a set of images.

    Attributes:
        table: the images.
        extraction: the ledger and the stores.
        backbone: network and weights in use; of a feature set, the first.
        kinds: layers and poolings that were taken.
        out: the Parquet file, or None.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``save``, ``total``.
    """

    table: ImageTable
    extraction: Extraction
    backbone: Backbone
    kinds: tuple[FeatureKind, ...]
    out: Path | None
    seconds: dict[str, float]

    @property
    def features(self) -> FeatureSet | None:
        """The feature set whose joined rows are one column; None for layers by themselves."""
        return self.extraction.features if isinstance(self.extraction, SetExtraction) else None

    @property
    def columns(self) -> tuple[FeatureColumn, ...]:
        """The columns of features."""
        return columns_of(self.extraction, self.kinds)

    def described(self) -> dict[str, Any]:
        """Return what decides the features of a file, column by column, as JSON values."""
        networks = self.features.backbones if self.features else (self.backbone,)
        run = describe_run(self.extraction)
        del run["computed"]
        seen = [network.input.to_json() for network in networks]
        return {
            "offshelf": __version__,
            **self._of(),
            "preprocessing": seen if len(seen) > 1 else seen[0],
            **run,
            "columns": {column.name: column.described for column in self.columns},
        }

    def _of(self) -> dict[str, Any]:
        return describe_features(self.features) if self.features else describe(self.backbone)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        extraction = self.extraction
        return {
            "n_ok": len(extraction.ok),
            "n_failed": len(extraction.failures),
            "failures": [row.to_json() for row in extraction.failures],
            "images_per_second": extraction.images_per_second,
            "columns": {column.name: column.dimension for column in self.columns},
            "layers": [*self._layers()],
            **self._of(),
            **describe_run(extraction),
            "profile": extraction.profile.shares() if extraction.computed else None,
            "seconds": self.seconds,
            "warnings": list(self.table.warnings),
            "out": str(self.out) if self.out else None,
        }

    def _layers(self) -> Iterator[dict[str, Any]]:
        if isinstance(self.extraction, SetExtraction):
            for part, found in zip(
                self.extraction.features.parts, parts_of(self.extraction), strict=True
            ):
                name, store = found.pop("layer"), self.extraction.store_of(part)
                yield {"name": name, **found, "column": JOINED, "store": str(store.folder)}
            return
        for kind in self.kinds:
            store = self.extraction.stores[kind]
            yield {
                "name": kind.layer,
                "path": kind.path,
                "pooling": kind.pooling,
                "dimension": store.dimension,
                "column": kind.column,
                "store": str(store.folder),
            }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images there are, the columns of their features, and where they are."""
        extraction, n = self.extraction, len(self.extraction.ok)
        yield "images", f"{n:,}, {len(extraction.failures):,} left out{extraction.origin}"
        for column in self.columns:
            yield "column", f"{column.name}: {column.dimension:,} float32 of an image"
        if self.features:
            yield "features", f"{self.features.title}, {extraction.ran}{self.features.changed}"
        else:
            yield "network", f"{self.backbone.spec.name}, {extraction.ran}{self.backbone.changed}"
        yield from precision_facts(extraction)
        rate = extraction.images_per_second
        if rate is not None:
            yield "speed", f"{rate:,.1f} images/s from files to features"
        yield "time", summary.seconds_line(self.seconds)
        yield "file", str(self.out) if self.out else "none; the features are in the store"

    def blocks(self) -> Iterator[Block]:
        """Yield the facts, and what was left out."""
        yield Facts(tuple(self.facts()))
        failures = [row.to_json() for row in self.extraction.failures]
        yield from summary.reservations(failures, (self.features or self.backbone).trained)

    def to_frame(self) -> pandas.DataFrame:
        """Return a row for each image as a pandas frame, with the columns of the Parquet file.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require_pandas()
        import pyarrow as pa

        found = pa.concat_tables(batches(self.table, self.extraction, self.columns)).to_pandas()
        return cast("pandas.DataFrame", found)
