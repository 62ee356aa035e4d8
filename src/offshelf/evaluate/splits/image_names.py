"""Names of images that stay the same wherever the data is stored, and ranks made of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from offshelf.text import spelled


def image_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Return each path below the folder that all of *paths* share, with ``/`` in between.

    >>> image_names(["/data/train/a/1.png", "/data/test/a/1.png"])
    ('train/a/1.png', 'test/a/1.png')
    >>> image_names(["1.png"])
    ('1.png',)
    """
    plain = [path.replace(os.sep, "/") for path in paths]
    # What is cut at the last "/" ends with a whole folder, so characters are enough.
    start = os.path.commonprefix(plain).rpartition("/")[0]  # noqa: RUF071
    cut = len(start) + 1 if start or all(path.startswith("/") for path in plain) else 0
    return tuple(spelled(path[cut:]) for path in plain)


def hashed(*parts: object) -> bytes:
    """Return 32 bytes that are the same for the same parts on every machine: a random rank.

    >>> hashed(0, "coast", "1.png") == hashed(0, "coast", "1.png")
    True
    >>> hashed(0, "coast", "1.png") == hashed(1, "coast", "1.png")
    False
    """
    text = "\0".join(map(str, parts))
    return hashlib.sha256(spelled(text).encode()).digest()
