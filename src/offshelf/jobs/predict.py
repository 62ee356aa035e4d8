"""Prediction: labels for image files and folders."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offshelf import cache, files
from offshelf.data.tables.image_table import ImageTable, list_images
from offshelf.errors import DataError
from offshelf.feature_sets.feature_set import FeatureSet
from offshelf.feature_sets.set_extraction import SetExtraction
from offshelf.heads.probabilities.probability_model import UNMARKED
from offshelf.jobs.label_predict_result import LabelPredictResult
from offshelf.jobs.predict_result import PredictResult
from offshelf.jobs.setup.run_costs import EtaProgress
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.sorted_folders import (
    check_class_folders,
    check_folder,
    lies_in,
    sort_images,
)
from offshelf.model_file.model import Model
from offshelf.opened_model import engine_of, open_model
from offshelf.prediction import Prediction, predict_paths
from offshelf.progress import Progress, Silent, note_all
from offshelf.report.tables.label_rows import chosen_label_columns
from offshelf.report.tables.prediction_table import (
    check_out,
    chosen_columns,
    write_predictions,
)
from offshelf.text import counted, shown


@dataclass(frozen=True, kw_only=True)
class PredictFiles:
    """What a prediction writes.

    Attributes:
        out: a file of all predictions, ``.csv``, ``.parquet`` or ``.json``; None for none.
        columns: those of CSV and Parquet; () for all.
        sort_into: a folder in which each class gets a folder of copies; None for none.
        link: make links there in place of copies.
    """

    out: str | Path | None = None
    columns: Sequence[str] = ()
    sort_into: str | Path | None = None
    link: bool = False


def predict(
    model_path: str | Path,
    sources: Sequence[str | Path],
    *,
    weights: str | None = None,
    written: PredictFiles | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Label image files and folders with a model file.

    Args:
        model_path: a ``.offshelf`` file.
        sources: images, folders that are searched for images, tables, patterns, and lists
            of paths (``-`` for standard input).
        weights: the weights file, when it is in none of the usual places.
        written: the files that are written.
        run: engine, limits, cache folder.
        progress: receives notes, and how far the work is.

    Raises:
        DataError: no source exists or none holds images, or a file cannot be written.
        ModelFileError: the model file is not what it should be.
        WeightsError: the weights of the model are not on this machine.
        OffshelfError: the predictions of the model have no such column.
    """
    run, progress = run or RunSettings(), progress or Silent()
    written = written or PredictFiles()
    began = time.perf_counter()
    _check_files(written, sources, progress)
    table = _images(sources, written)
    note_all(progress, table.warnings)
    model, features = open_model(
        model_path, weights=weights, options=run.engine, progress=progress, several=True
    )
    _check_model(model, shown(model_path), written, progress)
    opened = time.perf_counter()
    with _store(run, progress) as folder:
        found, extraction = predictions_of(model, features, table.paths, run, progress, folder)
    seconds = {"open": opened - began, "predict": time.perf_counter() - opened}
    kind = PredictResult if model.head.decisions is None else LabelPredictResult
    result = kind(
        predictions=tuple(found),
        model=model,
        path=Path(model_path),
        extraction=extraction,
        warnings=table.warnings,
        seconds=seconds,
    )
    return _with_files(result, written, progress)


def _unmarked(model: Model, name: str) -> tuple[str, ...]:
    """Return why the model *name* marks no image as unlike the training images, if it does not."""
    if model.certainty.unlike is not None:
        return ()
    told = [note for note in model.certainty.notes if note.startswith(UNMARKED)]
    why = f"{UNMARKED}: it keeps no measure of that; train it again with 'offshelf fit'"
    return (f"{name}: {next(iter(told), why)}",)


def _check_files(written: PredictFiles, sources: Sequence[str | Path], progress: Progress) -> None:
    if written.out is not None:
        out = Path(written.out)
        check_out(out, written.columns, sources)
        if out.exists():
            progress.note(f"{shown(out)}: exists, and will be replaced")
    if written.sort_into is not None:
        if not os.fspath(written.sort_into):
            raise DataError("the name of the folder to sort the images into is empty")
        check_folder(Path(written.sort_into))


def _check_model(model: Model, name: str, written: PredictFiles, progress: Progress) -> None:
    if model.head.decisions is not None:
        chosen_label_columns(written.columns, model.classes)
        if written.sort_into is not None:
            raise DataError(
                f"{name}: gives several labels of each image, and --sort-into puts an image into "
                "one folder; --out FILE.csv lists the labels"
            )
        return
    note_all(progress, _unmarked(model, name))
    chosen_columns(written.columns, model.classes, model.certainty, model.rule)
    if written.sort_into is not None:
        check_class_folders(Path(written.sort_into), model.classes)


def _images(sources: Sequence[str | Path], written: PredictFiles) -> ImageTable:
    """List the images, but for those that an earlier run has sorted."""
    table = list_images(sources)
    if written.sort_into is None:
        return table
    folder = Path(written.sort_into)
    inside = lies_in(folder, table.paths)
    if all(inside):
        raise DataError(f"{shown(folder)}: all images lie in it; sort them into another folder")
    if not any(inside):
        return table
    note = f"{shown(folder)}: {counted(sum(inside), 'image')} in it left out, as it is sorted into"
    paths = tuple(path for path, skip in zip(table.paths, inside, strict=True) if not skip)
    return dataclasses.replace(
        table,
        paths=paths,
        labels=table.labels[: len(paths)],
        splits=table.splits[: len(paths)],
        warnings=(*table.warnings, note),
    )


def _with_files(result: PredictResult, written: PredictFiles, progress: Progress) -> PredictResult:
    if written.sort_into is not None:
        folder = Path(written.sort_into)
        found = sort_images(
            result.predictions, result.model.classes, folder, progress, written.link
        )
        result = dataclasses.replace(result, sorted=found)
    if written.out is not None:
        out = Path(written.out)
        result = dataclasses.replace(result, out=out)
        write_predictions(out, lambda: result.table(written.columns), result.to_json)
    return result


def predictions_of(
    model: Model,
    features: FeatureSet,
    paths: Sequence[str],
    run: RunSettings,
    progress: Progress,
    folder: Path | None = None,
) -> tuple[list[Prediction], SetExtraction]:
    """Label image files with an open model, with the time-left line; see `predict_paths`."""
    backbone, chosen = features.backbone, engine_of(model.features.networks[0], run.engine)
    eta = EtaProgress(progress, backbone, features.kinds_of(backbone), chosen)
    reading = dataclasses.replace(run.reading, stores=folder)
    return predict_paths(model, features, paths, run.engine, reading, eta)


@contextmanager
def _store(run: RunSettings, progress: Progress) -> Iterator[Path]:
    """Yield where features are kept: for this call only where the cache is read-only."""
    folder = cache.features_folder(run.engine.cache_dir)
    writable = False
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    if writable:
        yield folder
        return
    progress.note(f"{folder}: cannot be written: features are not kept; choose another --cache-dir")
    with files.temporary_folder() as place:
        yield place
