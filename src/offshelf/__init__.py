"""Off-the-shelf features, on your images: frozen backbone, linear SVM, model file.

Public names load on first use, so ``import offshelf`` stays quick and loads neither
torch nor numpy. A new name is a row of the table, and the same name for type checkers
and in ``__all__``; a test tells when the three differ.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from offshelf.version import __version__

if TYPE_CHECKING:
    from offshelf.backbones.catalogue.names import names as list_backbones
    from offshelf.data.decode import Limits
    from offshelf.engine.contract import EngineOptions
    from offshelf.errors import OffshelfError
    from offshelf.estimator import TransferClassifier
    from offshelf.feature_extractor import FeatureExtractor
    from offshelf.features.reader import ReadOptions
    from offshelf.functions.commands import (
        audit,
        classify,
        compare,
        curve,
        evaluate,
        explain,
        explain_images,
        extract,
        filters,
        fit,
        inspect,
        maps,
        predict,
        top_images,
    )
    from offshelf.heads.probabilities.decision_settings import DecisionSettings
    from offshelf.heads.probabilities.probability_model import ProbabilitySettings
    from offshelf.jobs.audit.thresholds import Bounds
    from offshelf.jobs.catalogue import catalogue, list_layers
    from offshelf.jobs.classify import classify as classify_images
    from offshelf.jobs.compare.grid import HeadAxes, NetworkAxes, ProtocolSettings
    from offshelf.jobs.compare.job import CompareSettings
    from offshelf.jobs.curve import CurveSettings, learning_curve
    from offshelf.jobs.extract.job import extract_features
    from offshelf.jobs.multilabel.by_labels import evaluate as evaluate_model
    from offshelf.jobs.predict import predict as predict_images
    from offshelf.jobs.saved_classifier import load_model
    from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
    from offshelf.jobs.show import show
    from offshelf.jobs.visualise.activation_maps import activation_maps
    from offshelf.jobs.visualise.feature_maps import Choice
    from offshelf.jobs.visualise.first_filters import first_filters

__all__ = [
    "Bounds",
    "Choice",
    "CompareSettings",
    "CurveSettings",
    "DecisionSettings",
    "EngineOptions",
    "FeatureExtractor",
    "FeatureSettings",
    "HeadAxes",
    "HeadSettings",
    "Limits",
    "NetworkAxes",
    "OffshelfError",
    "ProbabilitySettings",
    "ProtocolSettings",
    "ReadOptions",
    "RunSettings",
    "TransferClassifier",
    "__version__",
    "activation_maps",
    "audit",
    "catalogue",
    "classify",
    "classify_images",
    "compare",
    "curve",
    "evaluate",
    "evaluate_model",
    "explain",
    "explain_images",
    "extract",
    "extract_features",
    "filters",
    "first_filters",
    "fit",
    "inspect",
    "learning_curve",
    "list_backbones",
    "list_layers",
    "load_model",
    "maps",
    "predict",
    "predict_images",
    "show",
    "top_images",
]

# public name -> (module inside offshelf, its name there)
_NAMES = {
    "Bounds": ("jobs.audit.thresholds", "Bounds"),
    "Choice": ("jobs.visualise.feature_maps", "Choice"),
    "CompareSettings": ("jobs.compare.job", "CompareSettings"),
    "CurveSettings": ("jobs.curve", "CurveSettings"),
    "DecisionSettings": ("heads.probabilities.decision_settings", "DecisionSettings"),
    "EngineOptions": ("engine.contract", "EngineOptions"),
    "FeatureExtractor": ("feature_extractor", "FeatureExtractor"),
    "FeatureSettings": ("jobs.setup.settings", "FeatureSettings"),
    "HeadAxes": ("jobs.compare.grid", "HeadAxes"),
    "HeadSettings": ("jobs.setup.settings", "HeadSettings"),
    "Limits": ("data.decode", "Limits"),
    "NetworkAxes": ("jobs.compare.grid", "NetworkAxes"),
    "OffshelfError": ("errors", "OffshelfError"),
    "ProbabilitySettings": ("heads.probabilities.probability_model", "ProbabilitySettings"),
    "ProtocolSettings": ("jobs.compare.grid", "ProtocolSettings"),
    "ReadOptions": ("features.reader", "ReadOptions"),
    "RunSettings": ("jobs.setup.settings", "RunSettings"),
    "TransferClassifier": ("estimator", "TransferClassifier"),
    "audit": ("functions.commands", "audit"),
    "catalogue": ("jobs.catalogue", "catalogue"),
    "classify": ("functions.commands", "classify"),
    "compare": ("functions.commands", "compare"),
    "curve": ("functions.commands", "curve"),
    "evaluate": ("functions.commands", "evaluate"),
    "explain": ("functions.commands", "explain"),
    "explain_images": ("functions.commands", "explain_images"),
    "extract": ("functions.commands", "extract"),
    "filters": ("functions.commands", "filters"),
    "fit": ("functions.commands", "fit"),
    "inspect": ("functions.commands", "inspect"),
    "list_backbones": ("backbones.catalogue.names", "names"),
    "list_layers": ("jobs.catalogue", "list_layers"),
    "load_model": ("jobs.saved_classifier", "load_model"),
    "maps": ("functions.commands", "maps"),
    "predict": ("functions.commands", "predict"),
    "show": ("jobs.show", "show"),
    "top_images": ("functions.commands", "top_images"),
    # Names of before; their functions take settings objects.
    "activation_maps": ("jobs.visualise.activation_maps", "activation_maps"),
    "classify_images": ("jobs.classify", "classify"),
    "evaluate_model": ("jobs.multilabel.by_labels", "evaluate"),
    "extract_features": ("jobs.extract.job", "extract_features"),
    "first_filters": ("jobs.visualise.first_filters", "first_filters"),
    "learning_curve": ("jobs.curve", "learning_curve"),
    "predict_images": ("jobs.predict", "predict"),
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'offshelf' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    value = getattr(importlib.import_module(f"offshelf.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
