"""Tiles of activation maps and filters: arrays in, PNG or SVG bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import OffshelfError, did_you_mean
from offshelf.report.pictures import mosaic
from offshelf.report.pictures.canvas import FAINT, MAX_SIDE, Canvas, check_form
from offshelf.report.pictures.colour_maps import check_colours, coloured

SCALES = ("channel", "common")
# On a scale of its own, a map of many cells is clipped by this share of them at either end.
CUT, CUT_SIDE = 0.005, 32
DEAD = 1e-4
FILTER_ROOM = 900
MARGIN, HEAD, SIDE_PANEL, BETWEEN = 20, 64, 256, 24
_BAR = 14


@dataclass(frozen=True)
class Caption:
    """What stands above a picture.

    Attributes:
        title: in bold.
        text: a line in small letters below it.
    """

    title: str
    text: str = ""


@dataclass(frozen=True)
class Look:
    """How numbers become colours, and the form of the file.

    Attributes:
        scale: ``channel`` stretches every channel over all colours, so that weak ones
            show their pattern; ``common`` keeps their strengths comparable.
        colours: ``cividis``, ``viridis``, ``magma`` or ``grey``.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: one of the words is unknown.
    """

    scale: str = "channel"
    colours: str = "cividis"
    form: str = "png"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            hint = did_you_mean(self.scale, SCALES)
            raise OffshelfError(f"no scale {self.scale!r}: {' or '.join(SCALES)}.{hint}")
        check_colours(self.colours)
        check_form(self.form)


def map_picture(
    maps: NDArray[Any],
    names: Sequence[str],
    pixels: NDArray[np.uint8],
    caption: Caption,
    look: Look | None = None,
) -> bytes:
    """Return a grid of activation maps beside what the network saw.

    Args:
        maps: n x H x W activations, H = W, n at least 1.
        names: n labels, for example channel numbers.
        pixels: the network input, uint8, S x S x 3.
        caption: title and subtitle.
        look: scale, colours and form.

    Raises:
        OffshelfError: more maps than fit a picture of 4096 x 4096 pixels.

    >>> maps = np.random.default_rng(0).random((4, 7, 7))
    >>> map_picture(maps, "0123", np.zeros((32, 32, 3), np.uint8), Caption("demo"))[1:4]
    b'PNG'
    """
    look = look or Look()
    place = mosaic.layout(len(maps), maps.shape[-1], MAX_SIDE - SIDE_PANEL - BETWEEN - 3 * HEAD)
    ranges = _ranges(maps, look.scale)
    tiles = [
        coloured(mosaic.to_side(mosaic.shares(one, *span), place.tile), look.colours)
        for one, span in zip(maps, ranges, strict=True)
    ]
    notes = [_range_note(*span) if look.scale == "channel" else "" for span in ranges]
    height = max(place.height, SIDE_PANEL + 120)
    canvas = sheet(place.width + SIDE_PANEL + BETWEEN, height, caption)
    _put_input(canvas, pixels)
    _put_scale(canvas, HEAD + SIDE_PANEL + 48, ranges[0], look, maps.shape[-1])
    _put_tiles(canvas, MARGIN + SIDE_PANEL + BETWEEN, place, tiles, names, notes)
    return canvas.to_bytes(look.form)


def filter_picture(
    filters: NDArray[Any], names: Sequence[str], caption: Caption, look: Look | None = None
) -> bytes:
    """Return first-layer filters as RGB pictures: mid-grey is a weight of zero.

    Red, green and blue are the weights of these colours, from minus to plus the largest
    absolute weight (of the filter, or of all with the ``common`` scale). A dead filter,
    below a ten-thousandth of the others, stays grey: its colours would be rounding errors.

    Args:
        filters: n x 3 x k x k weights.
        names: n labels.
        caption: title and subtitle.
        look: scale and form.
    """
    look = look or Look()
    room = FILTER_ROOM if len(filters) <= 256 else MAX_SIDE - 2 * HEAD
    place = mosaic.layout(len(filters), filters.shape[-1], room)
    largest = np.abs(filters).max(axis=(1, 2, 3)).astype(np.float64)
    if look.scale == "common":
        largest[:] = largest.max()
    seen_as = np.maximum(largest, DEAD * largest.max())
    tiles = [_rgb_filter(one, high, place.tile) for one, high in zip(filters, seen_as, strict=True)]
    notes = [f"±{mosaic.number(high)}" for high in largest]
    if look.scale == "common" or place.tile < 80:
        notes = [""] * len(tiles)
    canvas = sheet(max(place.width, 480), place.height, caption)
    _put_tiles(canvas, MARGIN, place, tiles, names, notes)
    return canvas.to_bytes(look.form)


def crop_picture(
    rows: Sequence[tuple[str, Sequence[tuple[NDArray[np.uint8], str]]]],
    side: int,
    caption: Caption,
    form: str = "png",
) -> bytes:
    """Return rows of picture crops, each with a line of text: the strongest of each channel.

    Args:
        rows: for each channel its label and its crops (uint8, H x W x 3) with their text.
        side: of a crop on the sheet, in pixels.
        caption: title and subtitle.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: more rows than fit a picture of 4096 x 4096 pixels.
    """
    check_form(form)
    longest = max((len(crops) for _, crops in rows), default=1)
    label, high = 64, side + mosaic.LABEL + mosaic.GAP
    width = label + longest * (side + mosaic.GAP)
    blocks = max(1, min(3, -(-len(rows) * high // 1600)))
    deep = -(-len(rows) // blocks)
    canvas = sheet(blocks * (width + BETWEEN) - BETWEEN, deep * high, caption)
    for number, (name, crops) in enumerate(rows):
        block, row = divmod(number, deep)
        left, top = MARGIN + block * (width + BETWEEN), HEAD + row * high
        canvas.write(name, (left, top + mosaic.LABEL + side / 2 - 8), size=15, bold=True)
        for place, (crop, text) in enumerate(crops):
            x = left + label + place * (side + mosaic.GAP)
            canvas.write(text, (x, top), size=12, colour=FAINT)
            canvas.put(mosaic.picture_to_side(crop, side), x, top + mosaic.LABEL)
    return canvas.to_bytes(form)


def sheet(width: int, height: int, caption: Caption) -> Canvas:
    """Return a canvas for *width* x *height* pixels below a caption, with margins."""
    canvas = Canvas(width + 2 * MARGIN, height + HEAD + MARGIN)
    title, text = caption.title, caption.text
    canvas.write(title, (MARGIN, 12), size=_fitting(title, width, 19), bold=True)
    canvas.write(text, (MARGIN, 38), size=_fitting(text, width, 13), colour=FAINT)
    return canvas


def _fitting(text: str, width: int, size: float) -> float:
    """Return *size*, or less so that a long line fits: a letter is about 0.7 of it wide."""
    return min(size, width / (0.7 * max(1, len(text))))


def _put_input(canvas: Canvas, pixels: NDArray[np.uint8]) -> None:
    side = f"{pixels.shape[1]} x {pixels.shape[0]}"
    canvas.write(f"what the network saw, {side}", (MARGIN, HEAD), size=12, colour=FAINT)
    canvas.put(mosaic.picture_to_side(pixels, SIDE_PANEL), MARGIN, HEAD + mosaic.LABEL)


def _ranges(maps: NDArray[Any], scale: str) -> list[tuple[float, float]]:
    if scale == "common":
        return [mosaic.limits(maps)] * len(maps)
    cut = CUT if maps.shape[-1] >= CUT_SIDE else 0.0
    return [mosaic.limits(one, cut) for one in maps]


def _range_note(low: float, high: float) -> str:
    if low == high:
        return "all 0"
    return f"{mosaic.number(low)} to {mosaic.number(high)}" if low else f"to {mosaic.number(high)}"


def _put_scale(canvas: Canvas, top: int, span: tuple[float, float], look: Look, side: int) -> None:
    common = look.scale == "common"
    ramp = np.tile(np.linspace(0, 1, SIDE_PANEL), (_BAR, 1))
    title = "activation" if common else "activation, each channel on its own scale"
    canvas.write(title, (MARGIN, top - 18), size=12, colour=FAINT)
    canvas.put(coloured(ramp, look.colours), MARGIN, top)
    low, high = map(mosaic.number, span) if common else ("0, or its minimum", "its maximum")
    canvas.write(low, (MARGIN, top + _BAR + 4), size=12)
    canvas.write(high, (MARGIN + SIDE_PANEL, top + _BAR + 4), size=12, align="right")
    if not common and side >= CUT_SIDE:
        text = f"without the outermost {100 * CUT:.1f} % of its cells"
        canvas.write(text, (MARGIN, top + _BAR + 22), size=11, colour=FAINT)


def _put_tiles(
    canvas: Canvas,
    left: int,
    place: mosaic.Layout,
    tiles: Sequence[NDArray[np.uint8]],
    names: Sequence[str],
    notes: Sequence[str],
) -> None:
    sheet = np.full((place.height, place.width, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        x, y = place.corner(number)
        sheet[y : y + place.tile, x : x + place.tile] = tile
    canvas.put(sheet, left, HEAD)
    for number, (name, note) in enumerate(zip(names, notes, strict=True)):
        x, y = place.corner(number)
        above = HEAD + y - mosaic.LABEL + 1
        canvas.write(name, (left + x, above), size=12, bold=True)
        if place.tile >= 80:
            right = (left + x + place.tile, above)
            canvas.write(note, right, size=11, colour=FAINT, align="right")


def _rgb_filter(weights: NDArray[Any], largest: float, side: int) -> NDArray[np.uint8]:
    shares = mosaic.shares(weights, -largest, largest)
    if largest == 0:
        shares += 0.5
    planes = [mosaic.to_side(plane, side) for plane in shares]
    return np.asarray(np.round(np.stack(planes, axis=-1) * 255), np.uint8)
