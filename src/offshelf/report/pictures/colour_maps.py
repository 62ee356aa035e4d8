"""The colour maps of pictures, as matplotlib has them, without its import, which takes a second."""

from __future__ import annotations

import base64
import functools
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import OffshelfError, did_you_mean

# The differences of 256 neighbours in red, then green, then blue; deflated.
COLOURS = {
    "cividis": (
        "eNqVUgcOgCAMbKsv8T/+/zdURqULYjxu4YixCrDGeR4VVIGNfTWKmVTAqoNPF7C7+ydov6dYaDq197z6c8Gw"
        "CrT60/HCz83ywL4m+RJt4TnTZMEO5x7fd0gc5R/gac5j7cBUUR1VI9D0DHbJXoZic70mFLMowtJYuA7gAQ1y"
        "RBw="
    ),
    "viridis": (
        "eNqNUgkOxCAIxPq1fUL//xTpgoMD1mSXOUATqaZ8RJrTxSSiTFMqk4FUVuRU7FWC62O4QDMYEZfRYXRFdKpX"
        "HJnNz7TV2kEeVZ35j5Af631DDqXQl0FBWEHYiXc8uz58uwi7p4acmn10XoscupecsDo7CjO6piHG8mGEfRE2"
        "asIB1Xm5+O8PghSICQ=="
    ),
    "magma": (
        "eNptUgkOwCAIg/n/NzPlriKlNC4gDomID/igr89Jsa0QzkCT6AGLDLKlqzmcrDtt082hbgSiL5m1ZE6angOn"
        "VEW50pl6VsWQWYZpsFvmCOiagg3AfpC6UYvPDoSHQS5uZfZayetgRfAt6yG6q1u0UUwjkAruEqQWdKAOwj5a"
        "Qp4A42pv1jxeLb7c+/p7/ddMLbc="
    ),
    "grey": ("eNpjYCQAGJjwYwhBAY3Moj+fYdT/I9r/AH50Av4="),
}


def coloured(shares: NDArray[np.floating[Any]], colours: str = "cividis") -> NDArray[np.uint8]:
    """Return RGB pixels of shares from 0 to 1 in a colour map.

    All maps grow lighter evenly, so they read the same in black and white and to
    colour-blind readers.

    >>> coloured(np.array([[0.0, 1.0]]), "grey").tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    numbers = (np.nan_to_num(np.clip(shares, 0, 1)) * 256).astype(np.int64)
    pixels: NDArray[np.uint8] = _table(check_colours(colours))[np.minimum(numbers, 255)]
    return pixels


@functools.cache
def _table(colours: str) -> NDArray[np.uint8]:
    steps = np.frombuffer(zlib.decompress(base64.b64decode(COLOURS[colours])), np.int8)
    return steps.reshape(3, 256).cumsum(axis=1).T.astype(np.uint8)


def check_colours(colours: str) -> str:
    """Return *colours* if it is a colour map of this house.

    >>> check_colours("jet")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: no colours 'jet': cividis, viridis, magma, grey.
    """
    if colours not in COLOURS:
        hint = did_you_mean(colours, COLOURS)
        raise OffshelfError(f"no colours {colours!r}: {', '.join(COLOURS)}.{hint}")
    return colours
