"""``fit`` and ``evaluate`` on images of one label each, or several: the data says which."""

from __future__ import annotations

from pathlib import Path

from offshelf.data.tables.label_table import has_label_sets
from offshelf.heads.probabilities.decision_settings import DecisionSettings
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.evaluate import EvaluateResult, check_split, evaluate_model
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit as fit_one_label
from offshelf.jobs.multilabel.label_evaluation import LabelEvaluateResult, evaluate_label_model
from offshelf.jobs.multilabel.label_fit import fit_labels
from offshelf.jobs.multilabel.label_fit_result import LabelFitResult
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.model_file.model import load_model
from offshelf.progress import Progress


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
    probability: ProbabilitySettings | None = None,
    decision: DecisionSettings | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> FitResult | LabelFitResult:
    """Train on a table with a column ``labels`` several labels, on other data one.

    Arguments and errors are those of :func:`offshelf.jobs.fit.job.fit`.
    """
    job = fit_labels if has_label_sets(data) else fit_one_label
    return job(
        data,
        out,
        features=features,
        head=head,
        probability=probability,
        decision=decision,
        run=run,
        progress=progress,
    )


def gives_several(model_path: str | Path) -> bool:
    """Return whether the model file gives several labels of each image.

    Raises:
        ModelFileError: it is no model file.
    """
    return load_model(model_path).head.decisions is not None


def evaluate(
    model_path: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> EvaluateResult | LabelEvaluateResult:
    """Score a model of one label or of several on images that are labelled so.

    Arguments and errors are those of :func:`offshelf.jobs.evaluate.evaluate_model`.
    """
    check_split(data, split)
    job = evaluate_label_model if gives_several(model_path) else evaluate_model
    return job(model_path, data, split=split, weights=weights, run=run, progress=progress)
