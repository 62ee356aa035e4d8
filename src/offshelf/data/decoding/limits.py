"""The bytes of one image file, the limits on what it may cost, and the facts that are judged.

A feature store keeps the facts beside each row, so that an image whose features are there
already is judged by the limits of this run exactly as if it were decoded again.
"""

from __future__ import annotations

import io
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.colour import RGB
from offshelf.data.decoding.memory_budget import default_memory, in_words
from offshelf.errors import DataError, ImageError
from offshelf.files import Stamp, stamp_of
from offshelf.regular_file import READ_FLAGS

# Raised whenever the same bytes come to decode to other pixels, or to be judged otherwise:
# features of before are then extracted again.
DECODING = 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits on one image, and the background of its transparent pixels.

    Attributes:
        max_pixels: width x height that a file may claim. Pillow's own limit
            (twice ``PIL.Image.MAX_IMAGE_PIXELS``) holds besides.
        max_bytes: size of the file.
        background: R, G, B under transparent pixels, 0 to 255 each.
        keep_damaged: take what can be read of damaged and truncated files.
        max_memory: bytes that decoding may take, over all threads of this process at
            once; a file that needs more alone is ``too_large``. None for a quarter of
            the memory of this machine.

    >>> Limits(max_pixels=0)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: max_pixels must be 1 or more, not 0
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 256 * 2**20
    background: RGB = (255, 255, 255)
    keep_damaged: bool = False
    max_memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "max_memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"{name} must be 1 or more, not {value}")
        if len(self.background) != 3 or not all(0 <= part <= 255 for part in self.background):
            raise DataError(f"background must be R, G, B of 0 to 255, not {self.background}")

    @property
    def memory(self) -> int:
        """Bytes that decoding may take, over all threads of this process at once."""
        return default_memory() if self.max_memory is None else self.max_memory


DEFAULT_LIMITS = Limits()


def read_bytes(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read the file at *path*, which must be a regular file of 1 to ``max_bytes`` bytes.

    Raises:
        ImageError: ``missing``, ``empty``, ``too_large`` or ``unreadable``.

    >>> read_bytes("no/such/file.jpg")
    Traceback (most recent call last):
    ...
    offshelf.errors.ImageError: missing: no such file
    """
    return read_stamped(path, limits)[0]


def read_stamped(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> tuple[bytes, Stamp | None]:
    """Read a file as :func:`read_bytes` does, and return its stamp, too.

    None in place of a stamp by which the file could not be known to be unchanged.
    """
    now = time.time_ns()
    try:
        content, before, after = _read_regular(path, limits)
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from error
    check_bytes(len(content), limits)
    if not content:
        raise ImageError("empty", "the file is empty")
    whole = before == after and after.size == len(content)
    return content, after if whole and after.is_settled(now) else None


def _read_regular(path: str | Path, limits: Limits) -> tuple[bytes, Stamp, Stamp]:
    descriptor = os.open(path, READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(status.st_mode)
        check_bytes(status.st_size, limits)
        with io.FileIO(descriptor, closefd=False) as handle:
            content = handle.readall()
        return content, stamp_of(status), stamp_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def check_bytes(size: int, limits: Limits) -> None:
    """Raise an ImageError ``too_large`` when *size* is over the limit."""
    if size > limits.max_bytes:
        raise ImageError("too_large", f"{size} bytes, the limit is {limits.max_bytes}")


def _not_a_file(mode: int) -> ImageError:
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    return ImageError("unreadable", f"{what}, not a file")


def _unopened(path: str | Path, error: OSError | ValueError) -> ImageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        dangling = os.path.islink(path)  # noqa: PTH114 (path may be a str)
        return ImageError("missing", "a link to no file" if dangling else "no such file")
    if isinstance(error, PermissionError):
        folder = os.path.isdir(path)  # noqa: PTH112 (Windows refuses to open a folder)
        return ImageError("unreadable", "a folder, not a file" if folder else "permission denied")
    if isinstance(error, OSError) and error.strerror:
        return ImageError("unreadable", error.strerror[:1].lower() + error.strerror[1:])
    return ImageError("unreadable", "the name of the file cannot be used on this system")


# Another library may have set it; it is checked where Pillow opens a file.
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
    # Never 100 % of a damaged picture.
    return f"{min(int(facts.readable * 100), 99)} % of the picture could be read"
