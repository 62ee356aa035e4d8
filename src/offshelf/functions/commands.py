"""The commands as functions: the same names and options, and a result in place of a text.

Signatures and explanations are those of the command line; where no place is named, nothing is
written. Settings objects are taken in place of single options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack, overload

from offshelf.cli.commands import audit as audit_command
from offshelf.cli.commands import classify as classify_command
from offshelf.cli.commands import compare as compare_command
from offshelf.cli.commands import curve as curve_command
from offshelf.cli.commands import evaluate as evaluate_command
from offshelf.cli.commands import explain as explain_command
from offshelf.cli.commands import extract as extract_command
from offshelf.cli.commands import filters as filters_command
from offshelf.cli.commands import fit as fit_command
from offshelf.cli.commands import inspect as inspect_command
from offshelf.cli.commands import maps as maps_command
from offshelf.cli.commands import predict as predict_command
from offshelf.functions.call import Command
from offshelf.functions.option_types import (
    AuditOptions,
    ClassifyOptions,
    CompareOptions,
    CurveOptions,
    EvaluateOptions,
    ExplainOptions,
    ExtractOptions,
    FiltersOptions,
    FitOptions,
    InspectOptions,
    MapsOptions,
    Place,
    PredictOptions,
    TopImagesOptions,
    Words,
)
from offshelf.functions.values import as_list
from offshelf.jobs import classify as classify_job
from offshelf.jobs import explain as explain_job
from offshelf.jobs import inspect as inspect_job
from offshelf.jobs import predict as predict_job
from offshelf.jobs.audit import job as audit_job
from offshelf.jobs.audit.audit_result import AuditResult
from offshelf.jobs.classify import ClassifyResult
from offshelf.jobs.compare import job as compare_job
from offshelf.jobs.compare.comparison import Comparison
from offshelf.jobs.compare.job import CompareSettings
from offshelf.jobs.curve import CurveResult, learning_curve
from offshelf.jobs.evaluate import EvaluateResult
from offshelf.jobs.extract.extract_result import ExtractResult
from offshelf.jobs.extract.job import extract_features
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.inspect import Inspection
from offshelf.jobs.multilabel import by_labels
from offshelf.jobs.multilabel.label_evaluation import LabelEvaluateResult
from offshelf.jobs.multilabel.label_fit_result import LabelFitResult
from offshelf.jobs.predict_result import PredictResult
from offshelf.jobs.visualise import top_images as top_images_job
from offshelf.jobs.visualise.activation_maps import MapsResult, activation_maps
from offshelf.jobs.visualise.explanation import Explanation, Explanations
from offshelf.jobs.visualise.first_filters import FiltersResult, first_filters
from offshelf.jobs.visualise.top_images import TopResult

_TEXT_ONLY = {"top": "the result holds every class, the best first"}
_FORMS = {"format": "the result has render(form)", "all": "the result has render(every=True)"}
_TOP = dict.fromkeys(("top_images", "top"), "offshelf.top_images finds images")
_CSV = {"csv": "out='FILE.csv' writes it"}

FIT = Command(fit_command, fit_command.perform, by_labels.fit, fit_command.write)
PREDICT = Command(
    predict_command, predict_command.perform, predict_job.predict, hidden=_TEXT_ONLY | _CSV
)
EVALUATE = Command(
    evaluate_command, evaluate_command.perform, by_labels.evaluate, evaluate_command.write
)
EXTRACT = Command(extract_command, extract_command.perform, extract_features)
AUDIT = Command(audit_command, audit_command.perform, audit_job.audit)
CURVE = Command(curve_command, curve_command.perform, learning_curve, curve_command.write)
COMPARE = Command(
    compare_command,
    compare_command.perform,
    compare_job.compare,
    compare_command.write,
    hidden={"commands": "each row of the result has its command"},
)
EXPLAIN = Command(
    explain_command, explain_command.perform, explain_job.explain, explain_command.write
)
EXPLAIN_IMAGES = Command(
    explain_command,
    explain_command.perform_several,
    explain_job.explain_images,
    explain_command.write,
)
MAPS = Command(maps_command, maps_command.perform, activation_maps, maps_command.write, hidden=_TOP)
TOP_IMAGES = Command(
    maps_command,
    maps_command.perform_top,
    top_images_job.top_images,
    maps_command.write_top,
    hidden={"image": "offshelf.maps draws those of an image"},
)
FILTERS = Command(filters_command, filters_command.perform, first_filters, filters_command.write)
CLASSIFY = Command(
    classify_command, classify_command.perform, classify_job.classify, hidden=_TEXT_ONLY
)
INSPECT = Command(inspect_command, inspect_command.perform, inspect_job.inspect, hidden=_FORMS)


@FIT.function
def fit(
    data: Place, out: Place | None = None, **options: Unpack[FitOptions]
) -> FitResult | LabelFitResult:
    """Train a classifier on your images, and measure it.

    On a table with a column ``labels`` it learns several labels of each image.

    Raises:
        OffshelfError: the data, names or options cannot be used; one line says why.

    >>> fit("no/such/folder", layer="stage5", C="auto")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such/folder: no such file or folder.
    """
    return FIT({"data": data, "out": out}, options)


@PREDICT.function
def predict(
    model: Place,
    paths: Place | Sequence[Place],
    out: Place | None = None,
    **options: Unpack[PredictOptions],
) -> PredictResult:
    """Label images with a model file.

    Raises:
        OffshelfError: the model or the images cannot be used; one line says why.
    """
    return PREDICT({"model": model, "paths": paths, "out": out}, options)


@EVALUATE.function
def evaluate(
    model: Place, data: Place, **options: Unpack[EvaluateOptions]
) -> EvaluateResult | LabelEvaluateResult:
    """Measure a model file on labelled images.

    Raises:
        OffshelfError: the model or the data cannot be used; one line says why.
    """
    return EVALUATE({"model": model, "data": data}, options)


@EXTRACT.function
def extract(
    data: Place | Sequence[Place], out: Place | None = None, **options: Unpack[ExtractOptions]
) -> ExtractResult:
    """Extract features of images, and write them to a Parquet file where *out* names one.

    Raises:
        OffshelfError: the images or names cannot be used; one line says why.
    """
    return EXTRACT({"data": data, "out": out}, options)


@AUDIT.function
def audit(data: Place, **options: Unpack[AuditOptions]) -> AuditResult:
    """Find copies, leaks, doubtful labels and odd pictures.

    Raises:
        OffshelfError: the data, names or options cannot be used; one line says why.
    """
    return AUDIT({"data": data}, options)


@CURVE.function
def curve(data: Place, out: Place | None = None, **options: Unpack[CurveOptions]) -> CurveResult:
    """Measure how many more images would help, and how much.

    Raises:
        OffshelfError: the data, names or options cannot be used; one line says why.
    """
    return CURVE({"data": data, "out": out}, options)


@COMPARE.function
def compare(
    data: Place,
    settings: CompareSettings | None = None,
    out: Place | None = None,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Measure which backbone, layer and head do best, beyond chance.

    Raises:
        OffshelfError: the data, names or options cannot be used; one line says why.
    """
    return COMPARE({"data": data, "settings": settings, "out": out}, options)


@overload
def explain(
    model: Place,
    image: list[Place] | tuple[Place, ...],
    out: Place | None = None,
    **options: Unpack[ExplainOptions],
) -> Explanations: ...


@overload
def explain(
    model: Place, image: Any, out: Place | None = None, **options: Unpack[ExplainOptions]
) -> Explanation: ...


@EXPLAIN.function
def explain(
    model: Place, image: Any, out: Place | None = None, **options: Unpack[ExplainOptions]
) -> Explanation | Explanations:
    """Say where a model's decision on an image comes from: a path, PIL image or uint8 array.

    A list of paths is explained as by ``explain_images``.

    Raises:
        OffshelfError: the model, image or names cannot be used; one line says why.
    """
    if isinstance(image, list | tuple):
        return EXPLAIN_IMAGES({"model": model, "image": image, "out": out}, options)
    return EXPLAIN({"model": model, "image": image, "out": out}, options)


@EXPLAIN_IMAGES.function
def explain_images(
    model: Place,
    image: Place | Sequence[Place],
    out: Place | None = None,
    **options: Unpack[ExplainOptions],
) -> Explanations:
    """Say where a model's decisions on several image files come from.

    Raises:
        OffshelfError: the model, images or names cannot be used; one line says why.
    """
    return EXPLAIN_IMAGES({"model": model, "image": image, "out": out}, options)


@MAPS.function
def maps(
    image: Any, layer: Words, out: Place | None = None, **options: Unpack[MapsOptions]
) -> MapsResult:
    """Draw what layers of a network compute on an image: a path, PIL image or uint8 array.

    Raises:
        OffshelfError: the image or names cannot be used; one line says why.
    """
    return MAPS({"image": image, "layer": layer, "out": out}, options)


@TOP_IMAGES.function
def top_images(
    top_images: Place | Sequence[Place],
    layer: Words,
    out: Place | None = None,
    **options: Unpack[TopImagesOptions],
) -> TopResult:
    """Find the images that excite channels of layers most.

    Raises:
        OffshelfError: the images or names cannot be used; one line says why.
    """
    return TOP_IMAGES({"top_images": as_list(top_images), "layer": layer, "out": out}, options)


@FILTERS.function
def filters(
    backbone: str, out: Place | None = None, **options: Unpack[FiltersOptions]
) -> FiltersResult:
    """Draw the filters of a network's first convolution.

    Raises:
        OffshelfError: a name cannot be used; one line says why.
    """
    return FILTERS({"backbone": backbone, "out": out}, options)


@CLASSIFY.function
def classify(paths: Place | Sequence[Place], **options: Unpack[ClassifyOptions]) -> ClassifyResult:
    """Name what is on pictures with a network's own classifier.

    Raises:
        OffshelfError: the images or names cannot be used; one line says why.
    """
    return CLASSIFY({"paths": paths}, options)


@INSPECT.function
def inspect(backbone: str, **options: Unpack[InspectOptions]) -> Inspection:
    """Show what a network is made of, and what an extraction costs.

    Raises:
        OffshelfError: the name or a value cannot be used; one line says why.

    >>> inspect("alexnet").parameters
    61100840
    """
    return INSPECT({"backbone": backbone}, options)
