"""The versions of the libraries that decide numbers, without importing them."""

from __future__ import annotations

import importlib.metadata
import platform

from offshelf import __version__

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "numpy",
    "pillow",
    "scikit-learn",
    "pyarrow",
    "safetensors",
)


def library_versions() -> dict[str, str]:
    """Return name -> version of offshelf, Python and the libraries it stands on.

    >>> "numpy" in library_versions()
    True
    """
    found = {"offshelf": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
