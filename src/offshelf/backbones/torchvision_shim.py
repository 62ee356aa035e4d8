"""Import torchvision where its compiled part does not fit the installed torch.

The registry's torchvision is built against CUDA. On a CPU build of torch its compiled
library does not load, and the import then fails because Python code registers fake
kernels for operators (``torchvision::nms``, ``qnms``) that were never declared.
Declaring their schemas first makes the models and transforms work in full; only the
box operators are missing. Where torchvision loads by itself nothing is done.
"""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[object] = []
_LOCK = threading.Lock()


def import_torchvision() -> ModuleType:
    """Return the torchvision package; call this before importing timm, too.

    >>> import_torchvision().models.alexnet.__name__
    'alexnet'
    """
    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
        return importlib.import_module("torchvision")


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)
    # The declarations live only as long as the library object does.
    _LIBRARIES.append(library)
