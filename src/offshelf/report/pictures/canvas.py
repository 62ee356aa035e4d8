"""The canvas: a white sheet in pixels for arrays and text, saved as PNG or SVG bytes.

A PNG is drawn by Pillow, an SVG with matplotlib's objects, never with its pyplot: no window, no
list of figures. Nothing depends on the user's matplotlib settings, and equal calls give equal
bytes. The font comes with matplotlib. Sizes are bounded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.errors import OffshelfError
from offshelf.locks import process_lock
from offshelf.report.pictures.lettering import Line, write_line
from offshelf.text import drawable

FORMS = ("png", "svg")
MAX_SIDE = 4096
INK, FAINT = "#111111", "#555555"
# A power of two, so that no side in inches is rounded to a pixel less.
_DPI = 128
_FONT = "DejaVu Sans"
_DRAWING = process_lock()


class Canvas:
    """A sheet of *width* x *height* pixels; the origin is at the top left.

    Raises:
        OffshelfError: a side is over 4096 pixels.

    >>> canvas = Canvas(40, 20)
    >>> canvas.put(np.zeros((10, 10, 3), np.uint8), 5, 5)
    >>> canvas.to_bytes("png")[1:4]
    b'PNG'
    """

    def __init__(self, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise OffshelfError(
                f"a picture of {width} x {height} pixels: at most {MAX_SIDE} x {MAX_SIDE}; "
                "choose fewer channels"
            )
        self.width, self.height = width, height
        self._pictures: list[tuple[NDArray[np.uint8], int, int]] = []
        self._lines: list[Line] = []

    def put(self, pixels: NDArray[np.uint8], left: int, top: int) -> None:
        """Put an RGB array, H x W x 3, pixel for pixel with its corner at *left*, *top*."""
        self._pictures.append((pixels, left, top))

    def write(
        self,
        text: str,
        at: tuple[float, float],
        *,
        size: float = 13,
        colour: str = INK,
        align: str = "left",
        bold: bool = False,
    ) -> None:
        """Write one line.

        Args:
            text: any characters; dollar signs are no formulas.
            at: x and y. The line begins at x, or ends there with *align* ``right``; y is the
                top of its letters. With *align* ``center`` both are its middle.
            size: of the letters in pixels.
            colour: any name or ``#rrggbb``.
            align: ``left``, ``right`` or ``center``.
            bold: whether in bold.
        """
        self._lines.append(
            Line(text=drawable(text), at=at, size=size, colour=colour, align=align, bold=bold)
        )

    def to_bytes(self, form: str = "png") -> bytes:
        """Return the sheet as a PNG or SVG file.

        Raises:
            OffshelfError: another form.
        """
        check_form(form)
        if form == "png":
            return self._png()
        with drawing_settings():
            return self._svg()

    def _png(self) -> bytes:
        pixels = np.full((self.height, self.width, 3), 255, np.uint8)
        for picture, left, top in self._pictures:
            height, width = picture.shape[:2]
            pixels[top : top + height, left : left + width] = picture
        sheet = Image.fromarray(pixels)
        for line in self._lines:
            write_line(sheet, line)
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()

    def _svg(self) -> bytes:
        figure = self._figure()
        for pixels, left, top in self._pictures:
            height, width = pixels.shape[:2]
            extent = (left, left + width, top + height, top)
            figure.axes[0].imshow(pixels, extent=extent, interpolation="none", aspect="auto")
        figure.axes[0].set(xlim=(0, self.width), ylim=(self.height, 0))
        return svg_bytes(figure)

    def _figure(self) -> Any:
        """Return the lettering as a matplotlib Figure without a ground."""
        from matplotlib.figure import Figure

        size = (self.width / _DPI, self.height / _DPI)
        figure = Figure(figsize=size, dpi=_DPI, facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        for line in self._lines:
            style: dict[str, Any] = {
                "fontsize": line.size * 72 / _DPI,
                "color": line.colour,
                "horizontalalignment": line.align,
                "verticalalignment": "center" if line.align == "center" else "top",
                "fontweight": "bold" if line.bold else "normal",
            }
            axes.text(*line.at, line.text, family=_FONT, parse_math=False, **style)
        return figure


@contextmanager
def drawing_settings(**more: Any) -> Iterator[None]:
    """Give matplotlib, whose settings are global, ours in the block; one thread at a time."""
    import matplotlib

    with _DRAWING, matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        # A name with two dollar signs is no formula.
        usual = {"svg.hashsalt": "offshelf", "text.parse_math": False}
        matplotlib.rcParams.update({**usual, **more})
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def svg_bytes(figure: Any) -> bytes:
    """Return a matplotlib Figure as an SVG file, the same bytes each time."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def check_form(form: str) -> str:
    """Return *form* if it is ``png`` or ``svg``.

    Raises:
        OffshelfError: it is neither.
    """
    if form not in FORMS:
        raise OffshelfError(f"no form {form!r}: pictures are {' or '.join(FORMS)}")
    return form


def form_of(path: Path) -> str:
    """Return the form that a file's name asks for.

    >>> form_of(Path("maps.jpg"))
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: maps.jpg: a picture's name ends in .png or .svg
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise OffshelfError(f"{path}: a picture's name ends in .png or .svg")
    return form
