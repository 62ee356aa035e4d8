"""Conversion in strips of rows, upright: a large picture needs little more than its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Pixels = NDArray[np.uint8]
Turn = Callable[[Pixels], Pixels]
# EXIF orientation -> the view of an upright picture that the file's own rows are written to.
_TURNS: dict[int, Turn] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
# EXIF orientation -> the upright view of the file's own rows: what undoes the above.
_UPRIGHT: dict[int, Turn] = {
    **{turn: _TURNS[turn] for turn in (2, 3, 4, 5)},
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: np.rot90,
}
_WITH_ORIENTATION = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
STRIP_PIXELS = 2**17


def orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation of an opened image, 1 where nothing can be read."""
    if not any(key in image.info for key in _WITH_ORIENTATION):
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata raise nearly anything, and the picture is whole
        return 1
    return orientation if isinstance(orientation, int) else 1


def drawn(
    image: Image.Image,
    convert: Callable[[Image.Image], Pixels],
    turn: int,
    channels: int = 3,
) -> Pixels:
    """Return the pixels that *convert* makes of each strip of *image*, H x W (x *channels*).

    *image* is loaded; *turn* is the orientation that is applied.
    """
    width, height = image.size
    if turn not in _TURNS and height <= _rows(image):
        return convert(image)
    shape = (height, width) if channels == 1 else (height, width, channels)
    upright, stored = canvas(shape, turn)
    for rows, strip in strips(image):
        stored[rows] = convert(strip)
    return upright


def canvas(shape: tuple[int, ...], turn: int) -> tuple[Pixels, Pixels]:
    """Return room for an upright picture, and the view of it to which the file's rows go.

    *shape* is that of the picture as the file stores it; *turn* is its orientation.

    >>> upright, stored = canvas((1, 2), 6)
    >>> stored[0] = 7, 8
    >>> upright.tolist()
    [[7], [8]]
    """
    across = (shape[1], shape[0], *shape[2:]) if turn in range(5, 9) else shape
    upright = np.empty(across, np.uint8)
    return upright, _TURNS[turn](upright) if turn in _TURNS else upright


def turned(pixels: Pixels, turn: int) -> Pixels:
    """Return the view of *pixels* that is upright by the orientation *turn*.

    >>> turned(np.array([[7, 8]], np.uint8), 3).tolist()
    [[8, 7]]
    """
    return _UPRIGHT[turn](pixels) if turn in _UPRIGHT else pixels


def _rows(image: Image.Image) -> int:
    return 4 * max(STRIP_PIXELS // image.width, 1)


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield the rows of each strip, and the strip.

    Pillow hands out bytes in two steps, each as large as the image; for a large one it is
    twice as fast to do that in strips that stay in the processor's cache.
    """
    width, height = image.size
    if height <= _rows(image):
        yield slice(0, height), image
        return
    step = _rows(image) // 4
    for top in range(0, height, step):
        below = min(top + step, height)
        yield slice(top, below), image.crop((0, top, width, below))
