"""The version of offshelf, and those of the libraries that decide its numbers."""

from __future__ import annotations

__version__ = "0.1.0"
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
    """Return name -> version of offshelf, Python and the libraries, none of which is imported.

    >>> "numpy" in library_versions()
    True
    """
    import importlib.metadata
    import platform

    found = {"offshelf": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
