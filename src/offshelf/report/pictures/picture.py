"""A picture that shows itself in a notebook, and that is drawn when somebody looks at it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offshelf import files
from offshelf.card import Line, boxed, fragment
from offshelf.errors import OffshelfError
from offshelf.report.pictures.canvas import check_form, form_of
from offshelf.text import html_text, shown

MEDIA = {"png": "png", "svg": "svg+xml"}


@dataclass(frozen=True, repr=False, eq=False)
class Picture(Line):
    """A picture, as PNG or SVG.

    Attributes:
        title: what it shows.
        draw: returns it as the bytes of a form, ``png`` or ``svg``.

    >>> Picture("a chart", lambda form: form.encode())
    <Picture a chart; .save(FILE) writes it as .png or .svg>
    """

    title: str
    draw: Callable[[str], bytes]

    def __str__(self) -> str:
        return f"{self.title}; .save(FILE) writes it as .png or .svg"

    @classmethod
    def drawn(cls, title: str, draw: Callable[[str], bytes]) -> Picture:
        """Return a picture that is drawn at once: what cannot be drawn is said here."""
        content = draw("png")
        return cls(title, lambda form: content if form == "png" else draw(form))

    def to_bytes(self, form: str = "png") -> bytes:
        """Return the picture as the bytes of a ``png`` or ``svg`` file.

        Raises:
            OffshelfError: another form.
        """
        return self.draw(check_form(form))

    def save(self, path: str | Path) -> Path:
        """Write the picture, whole or not at all, and return its path.

        Raises:
            OffshelfError: the name ends neither in .png nor in .svg, or the file cannot be
                written there.

        >>> Picture("a chart", lambda form: form.encode()).save("chart.jpg")
        Traceback (most recent call last):
        ...
        offshelf.errors.OffshelfError: chart.jpg: a picture's name ends in .png or .svg
        """
        target = Path(path)
        content = self.to_bytes(form_of(target))
        try:
            files.write_bytes(target, content)
        except OSError as error:
            raise OffshelfError(files.unwritable(target, error)) from error
        return target

    def image(self, form: str = "png") -> str:
        """Return the picture as HTML, of ``png`` or ``svg``; where it is narrow, it scrolls."""
        content = base64.b64encode(self.to_bytes(form)).decode("ascii")
        alt = html_text(shown(self.title))
        return boxed(f'<img alt="{alt}" src="data:image/{MEDIA[form]};base64,{content}">')

    def _repr_png_(self) -> bytes:
        return self.to_bytes()

    def _repr_html_(self) -> str:
        return fragment([self.image()])
