"""Import torchvision and timm, also where the compiled part does not fit the installed torch.

The registry's torchvision is built against CUDA. On a CPU build of torch its compiled
library does not load, and the import then fails because Python code registers fake
kernels for operators (``torchvision::nms``, ``qnms``) that were never declared.
Declaring their schemas first makes the models and transforms work in full; only the
box operators are missing. Where torchvision loads by itself nothing is done.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

from offshelf.backbones.construct.torch_context import without_compiler
from offshelf.locks import process_lock

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[object] = []
_LOCK = process_lock()


def import_torchvision() -> ModuleType:
    """Return the torchvision package.

    >>> import_torchvision().models.alexnet.__name__
    'alexnet'
    """
    with _LOCK, warnings.catch_warnings(), without_compiler():
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


def import_timm() -> ModuleType:
    """Return the timm package, which needs torchvision.

    >>> import_timm().__name__
    'timm'
    """
    import_torchvision()
    with _LOCK, without_compiler():
        return importlib.import_module("timm")


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)
    # The declarations live only as long as the library object does.
    _LIBRARIES.append(library)
