"""The reliability diagram of an evaluation as a file."""

from __future__ import annotations

from pathlib import Path

from offshelf.errors import OffshelfError
from offshelf.jobs.evaluate.job import EvaluateResult
from offshelf.jobs.visualise.picture_files import write_picture
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.reliability_chart import reliability_chart
from offshelf.text import shown


def write_reliability(result: EvaluateResult, path: str | Path) -> Path:
    """Write how well the probabilities of an evaluation hold, and return the picture's path.

    Args:
        result: what :func:`offshelf.jobs.evaluate.job.evaluate_model` returned.
        path: a ``.png`` or ``.svg`` file.

    Raises:
        OffshelfError: the model has no probabilities, or the file cannot be written.
    """
    path = Path(path)
    form, measured = form_of(path), result.trust.reliability
    if measured is None:
        raise OffshelfError(
            f"{shown(result.path)}: has no probabilities to draw; fit it again with "
            "--calibrate temperature"
        )
    title = f"{shown(result.path.name)}: {result.model.certainty.kind} scaling"
    return write_picture(path, reliability_chart(measured, title, form=form))
