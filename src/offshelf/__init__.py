"""Off-the-shelf features, on your images: frozen backbone, linear SVM, model file.

Public names load on first use, so ``import offshelf`` stays quick and loads neither
torch nor numpy. A new name is one line in the table and one import for type checkers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offshelf.errors import OffshelfError as OffshelfError

__version__ = "0.1.0"

# public name -> (module inside offshelf, its name there)
_NAMES = {
    "OffshelfError": ("errors", "OffshelfError"),
}

__all__ = ["__version__", *_NAMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'offshelf' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    value = getattr(importlib.import_module(f"offshelf.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
