"""The bytes of one image file, and the limits on what one image may cost."""

from __future__ import annotations

import io
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from offshelf.data.decoding.colour import RGB
from offshelf.data.decoding.memory_budget import default_memory
from offshelf.errors import DataError, ImageError
from offshelf.files import Stamp, stamp_of

# Raised whenever the same bytes come to decode to other pixels, or to be judged otherwise:
# features of before are then extracted again.
DECODING = 3
# A pipe or device must not hang the open; Windows must not translate line ends.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Limits:
    """What one image may cost, and what shows through it.

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
    descriptor = os.open(path, _OPEN_FLAGS)
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
