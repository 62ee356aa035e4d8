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
    from offshelf.errors import OffshelfError
    from offshelf.estimator import FeatureExtractor, TransferClassifier
    from offshelf.jobs.classify import classify as classify_images
    from offshelf.jobs.compare.grid import HeadAxes, NetworkAxes, ProtocolSettings
    from offshelf.jobs.compare.job import CompareSettings, compare
    from offshelf.jobs.curve import learning_curve
    from offshelf.jobs.evaluate import evaluate_model
    from offshelf.jobs.explain import explain
    from offshelf.jobs.extract.job import extract_features
    from offshelf.jobs.fit.job import fit
    from offshelf.jobs.inspect import inspect
    from offshelf.jobs.predict import predict as predict_images
    from offshelf.jobs.show import show
    from offshelf.jobs.visualise.activation_maps import activation_maps
    from offshelf.jobs.visualise.first_filters import first_filters
    from offshelf.jobs.visualise.top_images import top_images
    from offshelf.model_file.model import load_model

__all__ = [
    "CompareSettings",
    "FeatureExtractor",
    "HeadAxes",
    "NetworkAxes",
    "OffshelfError",
    "ProtocolSettings",
    "TransferClassifier",
    "__version__",
    "activation_maps",
    "classify_images",
    "compare",
    "evaluate_model",
    "explain",
    "extract_features",
    "first_filters",
    "fit",
    "inspect",
    "learning_curve",
    "list_backbones",
    "load_model",
    "predict_images",
    "show",
    "top_images",
]

# public name -> (module inside offshelf, its name there)
_NAMES = {
    "CompareSettings": ("jobs.compare.job", "CompareSettings"),
    "FeatureExtractor": ("estimator", "FeatureExtractor"),
    "HeadAxes": ("jobs.compare.grid", "HeadAxes"),
    "NetworkAxes": ("jobs.compare.grid", "NetworkAxes"),
    "ProtocolSettings": ("jobs.compare.grid", "ProtocolSettings"),
    "OffshelfError": ("errors", "OffshelfError"),
    "TransferClassifier": ("estimator", "TransferClassifier"),
    "activation_maps": ("jobs.visualise.activation_maps", "activation_maps"),
    "classify_images": ("jobs.classify", "classify"),
    "compare": ("jobs.compare.job", "compare"),
    "evaluate_model": ("jobs.evaluate", "evaluate_model"),
    "explain": ("jobs.explain", "explain"),
    "extract_features": ("jobs.extract.job", "extract_features"),
    "first_filters": ("jobs.visualise.first_filters", "first_filters"),
    "fit": ("jobs.fit.job", "fit"),
    "inspect": ("jobs.inspect", "inspect"),
    "learning_curve": ("jobs.curve", "learning_curve"),
    "list_backbones": ("backbones.catalogue.names", "names"),
    "load_model": ("model_file.model", "load_model"),
    "predict_images": ("jobs.predict", "predict"),
    "show": ("jobs.show", "show"),
    "top_images": ("jobs.visualise.top_images", "top_images"),
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
