"""What a decoded image was: all that decides, apart from its pixels, whether it may be used.

A feature store keeps these beside each row, so that an image whose features are there
already is judged by the limits of this run exactly as if it were decoded again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.data.content import Limits
from offshelf.errors import ImageError


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the decoder learned of one file besides its pixels.

    Attributes:
        width: columns that the file claims, before any turn.
        height: rows that the file claims.
        memory: bytes that decoding it in full takes at its peak, an upper estimate from
            the header alone.
        readable: share of the picture that the file really holds, 1.0 for a whole one.
        assumed: what was decided where no standard decides, in a few words for a
            person; empty as a rule.
    """

    width: int
    height: int
    memory: int = 0
    readable: float = 1.0
    assumed: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """The pixels of a file, and its facts.

    Attributes:
        pixels: uint8, H x W for grey and H x W x 3 for everything else; perhaps read-only.
        facts: of the file.
    """

    pixels: NDArray[np.uint8]
    facts: Facts


def check_facts(facts: Facts, limits: Limits) -> None:
    """Refuse an image whose facts are beyond *limits*, as the decoder does.

    Raises:
        ImageError: ``too_large``.

    >>> check_facts(Facts(width=9, height=9), Limits(max_pixels=80))
    Traceback (most recent call last):
    ...
    offshelf.errors.ImageError: too_large: 9 x 9 pixels, the limit is 80 in all
    """
    if facts.width * facts.height > limits.max_pixels:
        raise ImageError(
            "too_large",
            f"{facts.width} x {facts.height} pixels, the limit is {limits.max_pixels} in all",
        )
