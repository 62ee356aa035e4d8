"""The contact sheet of the images that a model got wrong, as an HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from offshelf.features.reader import ReadOptions
from offshelf.jobs.setup.page_files import check_page, thumbnails, write_html
from offshelf.measurement.metrics import Evaluation
from offshelf.model_file.model import Model
from offshelf.progress import Progress, Silent
from offshelf.report.mistakes import Mistake
from offshelf.report.mistakes_page import Sheet, mistakes_page, sheet_pictures
from offshelf.version import __version__


class Measured(Protocol):
    """A result of ``fit`` or ``evaluate``: a model and what it got wrong."""

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The images that are predicted as another class, the surest first."""

    @property
    def evaluation(self) -> Evaluation:
        """The figures."""

    @property
    def model(self) -> Model:
        """The classifier."""

    @property
    def path(self) -> Path | None:
        """Its file."""


def write_mistakes_page(
    result: Measured,
    path: str | Path,
    *,
    data: str | Path,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the wrong images as one HTML file with pictures, and return its path.

    The file loads nothing and runs nothing. At most 1,000 images are shown, the surest ones.

    Args:
        result: of ``fit`` or ``evaluate``.
        path: the file; another HTML page there is replaced.
        data: what was measured on, for the title.
        reading: threads that read and decode, bounds on bytes and pixels.
        progress: receives how many pictures are made.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    path = check_page(path)
    mistakes = result.mistakes
    pictures = thumbnails(sheet_pictures(mistakes), reading or ReadOptions(), progress or Silent())
    model = result.model
    file = f"{result.path.name}: " if result.path else ""
    untrained = "" if model.features.trained else "; UNTRAINED network (random weights)"
    sheet = Sheet(
        title=f"Wrong images of {Path(data).name or data}",
        mistakes=mistakes,
        evaluation=result.evaluation,
        thumbnails=pictures,
        made=[
            f"Model: {file}{model.features.title}, "
            f"{model.head.kind}{untrained}. offshelf {__version__}. This page loads nothing from "
            "anywhere.",
        ],
    )
    return write_html(path, mistakes_page(sheet))
