"""Facts of a decoded image, which decide whether it may be used.

A feature store keeps these beside each row, so that an image whose features are there
already is judged by the limits of this run exactly as if it were decoded again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.file_bytes import Limits
from offshelf.data.decoding.memory_budget import in_words
from offshelf.errors import ImageError

# Another library may have set it; it is looked at where Pillow opens a file.
PILLOWS_LIMIT = "more pixels than Pillow opens; make the image smaller"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the decoder learned of one file besides its pixels.

    Attributes:
        width: columns that the file claims, before any turn.
        height: rows that the file claims.
        memory: bytes that decoding it takes at its peak, an upper estimate from the
            header alone.
        status: ``ok``, or ``damaged`` or ``truncated`` for a file that only
            ``keep_damaged`` takes.
        readable: share of the picture that could be read, 1.0 for a whole one.
        assumed: what was decided where no standard decides, in a few words for a
            person; empty as a rule.
    """

    width: int
    height: int
    memory: int = 0
    status: str = "ok"
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
        ImageError: ``too_large``, ``damaged`` or ``truncated``.

    >>> check_facts(Facts(width=9, height=9), Limits(max_pixels=80))
    Traceback (most recent call last):
    ...
    offshelf.errors.ImageError: too_large: 9 x 9 pixels, the limit is 80 in all
    """
    size = f"{facts.width} x {facts.height} pixels"
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and facts.width * facts.height > 2 * most:
        raise ImageError("too_large", PILLOWS_LIMIT)
    if facts.width * facts.height > limits.max_pixels:
        raise ImageError("too_large", f"{size}, the limit is {limits.max_pixels} in all")
    if facts.memory > limits.memory:
        raise ImageError(
            "too_large",
            f"{size} need {in_words(facts.memory)} to decode, the budget is "
            f"{in_words(limits.memory)}; see --max-memory",
        )
    if facts.status != "ok" and not (limits.keep_damaged and facts.readable):
        raise ImageError(facts.status, _damage(facts))


def kept_share(facts: Facts) -> str:
    """Return what a ledger says of an image that was taken although it is damaged.

    >>> kept_share(Facts(width=9, height=9, status="damaged", readable=0.52))
    'damaged: 52 % of the picture could be read'
    >>> kept_share(Facts(width=9, height=9))
    ''
    """
    return "" if facts.status == "ok" else f"{facts.status}: {_share(facts)}"


def _damage(facts: Facts) -> str:
    early = "the file ends early, " if facts.status == "truncated" else ""
    if not facts.readable:
        return f"{early}nothing of the picture could be read"
    return f"{early}{_share(facts)}; --keep-damaged takes such images"


def _share(facts: Facts) -> str:
    return f"{percent(facts.readable)} of the picture could be read"


def percent(share: float) -> str:
    """Return the readable share of a damaged picture for a person, never 100 %.

    >>> percent(0.528), percent(0.9999), percent(0.0)
    ('52 %', '99 %', '0 %')
    """
    return f"{min(int(share * 100), 99)} %"
