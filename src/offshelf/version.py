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


def today() -> str:
    """Return the date in UTC, or that of ``SOURCE_DATE_EPOCH``, which repeats a build.

    >>> len(today())
    10
    """
    import contextlib
    import datetime
    import os

    now = datetime.datetime.now(datetime.UTC)
    with contextlib.suppress(ValueError, OverflowError, OSError):
        given = int(os.environ.get("SOURCE_DATE_EPOCH", ""))
        now = datetime.datetime.fromtimestamp(given, datetime.UTC)
    return now.date().isoformat()
