"""Heat maps of an explanation: evidence for a class, for its rival, and the difference.

Dark cells speak against, light cells speak for, and the scale is one for all panels, so
the picture reads in black and white, too. Where there are few cells their numbers stand
in them and can be added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.report.pictures import mosaic
from offshelf.report.pictures.activation_tiles import HEAD, MARGIN, Caption, Look, sheet
from offshelf.report.pictures.canvas import FAINT, INK, Canvas
from offshelf.report.pictures.colour_maps import coloured

PANEL, MAX_NUMBERS, BETWEEN = 392, 10, 16
_LINES, _LEGEND, _BAR_WIDTH, _BAR = 42, 72, 392, 14
# Of a cell with the largest number, over the grey picture below it.
_OPACITY = 0.85


@dataclass(frozen=True, eq=False)
class Panel:
    """One heat map.

    Attributes:
        title: in bold above it.
        text: a line below the title.
        cells: float64, H x W: above zero speaks for, below against.
    """

    title: str
    text: str
    cells: NDArray[np.float64]


def explanation_picture(
    pixels: NDArray[np.uint8],
    panels: Sequence[Panel],
    caption: Caption,
    look: Look | None = None,
    smooth: bool = False,
) -> bytes:
    """Return heat maps over what the network saw, and their numbers where they are few.

    Args:
        pixels: the network input, uint8, S x S x 3.
        panels: heat maps, all on one scale.
        caption: title and subtitle.
        look: colours and form.
        smooth: blend cells into each other instead of showing them as squares.

    >>> panel = Panel("cat", "score +1.2", np.eye(7))
    >>> explanation_picture(np.zeros((32, 32, 3), np.uint8), [panel], Caption("demo"))[1:4]
    b'PNG'
    """
    look = look or Look()
    cells = len(panels[0].cells)
    side = max(1, round(PANEL / cells)) * cells
    numbered = cells <= MAX_NUMBERS
    width = (len(panels) + 1) * (side + BETWEEN) - BETWEEN
    height = side + _LINES + (side + BETWEEN if numbered else _LEGEND)
    canvas = sheet(width, height, caption)
    largest = max(float(np.abs(panel.cells).max()) for panel in panels) or 1.0
    _put_input(canvas, pixels, side)
    _put_legend(canvas, HEAD + _LINES + side + 36, largest, look)
    for number, panel in enumerate(panels, start=1):
        left = MARGIN + number * (side + BETWEEN)
        canvas.write(panel.title, (left, HEAD), size=15, bold=True)
        canvas.write(panel.text, (left, HEAD + 21), size=12, colour=FAINT)
        shares = mosaic.shares(panel.cells, -largest, largest)
        canvas.put(overlay(pixels, shares, side, look.colours, smooth), left, HEAD + _LINES)
        if numbered:
            _put_numbers(canvas, panel.cells, shares, left, HEAD + _LINES + side + BETWEEN, look)
    return canvas.to_bytes(look.form)


def overlay(
    pixels: NDArray[np.uint8],
    shares: NDArray[np.float64],
    side: int,
    colours: str = "cividis",
    smooth: bool = False,
) -> NDArray[np.uint8]:
    """Return a heat map laid over the picture in grey, uint8, side x side x 3.

    The further a cell is from the middle, the more it covers: where nothing speaks for or
    against, the picture itself is seen.

    Args:
        pixels: uint8, S x S x 3.
        shares: H x W, 0 to 1; 0.5 is the middle.
        side: of the result in pixels, a multiple of H.
        colours: the colour map.
        smooth: blend cells into each other.
    """
    picture = Image.fromarray(mosaic.picture_to_side(pixels, side)).convert("L")
    grey = np.asarray(picture, np.float64)[..., None]
    if smooth:
        plain = Image.fromarray(shares.astype(np.float32))
        large = np.asarray(plain.resize((side, side), Image.Resampling.BICUBIC))
    else:
        large = mosaic.to_side(shares, side)
    opacity = _OPACITY * np.sqrt(np.clip(np.abs(2 * large - 1), 0, 1))[..., None]
    mixed = grey * (1 - opacity) + coloured(large, colours) * opacity
    return np.asarray(np.round(mixed), np.uint8)


def _put_input(canvas: Canvas, pixels: NDArray[np.uint8], side: int) -> None:
    canvas.write("what the network saw", (MARGIN, HEAD), size=15, bold=True)
    text = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    canvas.write(text, (MARGIN, HEAD + 21), size=12, colour=FAINT)
    canvas.put(mosaic.picture_to_side(pixels, side), MARGIN, HEAD + _LINES)


def _put_legend(canvas: Canvas, top: int, largest: float, look: Look) -> None:
    ramp = np.tile(np.linspace(0, 1, _BAR_WIDTH), (_BAR, 1))
    canvas.write("one scale for all panels", (MARGIN, top - 20), size=12, colour=FAINT)
    canvas.put(coloured(ramp, look.colours), MARGIN, top)
    below = top + _BAR + 4
    canvas.write(f"-{mosaic.number(largest)}: against", (MARGIN, below), size=12)
    canvas.write("0", (MARGIN + _BAR_WIDTH / 2, below + 7), size=12, align="center")
    right = (MARGIN + _BAR_WIDTH, below)
    canvas.write(f"+{mosaic.number(largest)}: for", right, size=12, align="right")


def _put_numbers(
    canvas: Canvas,
    cells: NDArray[np.float64],
    shares: NDArray[np.float64],
    left: int,
    top: int,
    look: Look,
) -> None:
    step = max(1, round(PANEL / len(cells)))
    canvas.put(coloured(mosaic.to_side(shares, step * len(cells)), look.colours), left, top)
    for (row, column), value in np.ndenumerate(cells):
        light = coloured(shares[row : row + 1, column : column + 1], look.colours)
        colour = INK if float(light.mean()) > 128 else "#ffffff"
        middle = left + (column + 0.5) * step, top + (row + 0.5) * step
        canvas.write(_short(value), middle, size=11, colour=colour, align="center")


def _short(value: Any) -> str:
    """Return a signed number in a few letters."""
    text = f"{value:+.3f}" if abs(value) < 10 else f"{value:+.3g}"
    return text.replace("+0.", "+.").replace("-0.", "-.")
