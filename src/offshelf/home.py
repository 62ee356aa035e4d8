"""The cache folders: weights, features, compiled networks, results.

One root: ``--cache-dir``, else ``$OFFSHELF_CACHE_DIR``, else the user's cache folder
(``~/.cache/offshelf`` on Linux).
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ENVIRONMENT_VARIABLE = "OFFSHELF_CACHE_DIR"


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Return the root folder; nothing is created.

    >>> str(cache_root("/tmp/somewhere"))
    '/tmp/somewhere'
    """
    chosen = cache_dir or os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("offshelf"))


def weights_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of weights files that were added or fetched."""
    return cache_root(cache_dir) / "weights"


def features_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the feature store."""
    return cache_root(cache_dir) / "features"


def digests_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of what is known of files that were read."""
    return cache_root(cache_dir) / "digests"


def compiled_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of converted and compiled networks."""
    return cache_root(cache_dir) / "compiled"


def compared_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of finished comparisons."""
    return cache_root(cache_dir) / "compared"
