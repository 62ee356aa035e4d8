"""Off-the-shelf features, on your images: frozen backbone, linear SVM, model file.

Public names load on first use, so ``import offshelf`` stays quick and loads neither
torch nor numpy. A new name is a row of the table, and the same name for type checkers
and in ``__all__``; a test tells when the three differ.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offshelf.backbones.catalog import names as list_backbones
    from offshelf.bundle import load_model
    from offshelf.errors import OffshelfError
    from offshelf.estimator import FeatureExtractor, TransferClassifier
    from offshelf.jobs.classify import classify as classify_images
    from offshelf.jobs.evaluate import evaluate_model
    from offshelf.jobs.extract import extract_features
    from offshelf.jobs.fit import fit
    from offshelf.jobs.inspect import inspect
    from offshelf.jobs.predict import predict as predict_images

__version__ = "0.1.0"
__all__ = [
    "FeatureExtractor",
    "OffshelfError",
    "TransferClassifier",
    "__version__",
    "classify_images",
    "evaluate_model",
    "extract_features",
    "fit",
    "inspect",
    "list_backbones",
    "load_model",
    "predict_images",
]

# public name -> (module inside offshelf, its name there)
_NAMES = {
    "FeatureExtractor": ("estimator", "FeatureExtractor"),
    "OffshelfError": ("errors", "OffshelfError"),
    "TransferClassifier": ("estimator", "TransferClassifier"),
    "classify_images": ("jobs.classify", "classify"),
    "evaluate_model": ("jobs.evaluate", "evaluate_model"),
    "extract_features": ("jobs.extract", "extract_features"),
    "fit": ("jobs.fit", "fit"),
    "inspect": ("jobs.inspect", "inspect"),
    "list_backbones": ("backbones.catalog", "names"),
    "load_model": ("bundle", "load_model"),
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
