"""Lines of text on a picture, drawn by Pillow in the font that comes with matplotlib.

Without matplotlib itself, whose import takes longer than the drawing.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONTS = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
_ANCHORS = {"left": "ls", "right": "rs", "center": "ms"}
# Its ascender and descender are those of a line, whatever its letters are.
_TALL = "lp"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of text.

    Attributes:
        text: any printable characters.
        at: x and y. The line begins at x, or ends there with *align* ``right``; y is the top of
            its letters. With *align* ``center`` both are its middle.
        size: of the letters in pixels.
        colour: any name or ``#rrggbb``.
        align: ``left``, ``right`` or ``center``.
        bold: whether in bold.
    """

    text: str
    at: tuple[float, float]
    size: float
    colour: str
    align: str
    bold: bool


def write_line(sheet: Image.Image, line: Line) -> None:
    """Write *line* on *sheet*, an RGB picture."""
    letters = _font(line.bold, line.size)
    _, top, _, bottom = letters.getbbox(_TALL + line.text, anchor="ls")
    x, y = line.at
    base = y - (top + bottom) / 2 if line.align == "center" else y - top
    ImageDraw.Draw(sheet).text(
        (x, round(base)), line.text, line.colour, letters, anchor=_ANCHORS[line.align]
    )


@functools.cache
def _font(bold: bool, size: float) -> FreeTypeFont:
    # The basic layout is the same whatever libraries Pillow was built with.
    return ImageFont.truetype(
        _fonts_folder() / FONTS[bold], size, layout_engine=ImageFont.Layout.BASIC
    )


@functools.cache
def _fonts_folder() -> Path:
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
        if all((folder / name).is_file() for name in FONTS.values()):
            return folder
    # A system's own package may keep them elsewhere.
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
