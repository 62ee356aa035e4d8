"""The reliability diagram: how often labels of a stated probability are right."""

from __future__ import annotations

from offshelf.evaluate.probabilities.calibration_error import Reliability
from offshelf.report.pictures.charts import Axis, Dot, Series, chart


def reliability_chart(found: Reliability, title: str, *, form: str = "png") -> bytes:
    """Return the diagram as a PNG or SVG file; it reads the same in black and white.

    A point per bin: mean probability of the labels in it against the share that is right,
    with its 95 % Wilson interval and the number of images. Points under the dashed line:
    the model was too sure. DeGroot and Fienberg, "The comparison and evaluation of
    forecasters", The Statistician 32 (1983), 12-22.

    Args:
        found: what :func:`offshelf.evaluate.probabilities.calibration_error.reliability` returned.
        title: above the diagram, before the figures.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: another form.

    >>> import numpy as np
    >>> from offshelf.evaluate.probabilities.calibration_error import reliability
    >>> found = reliability(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 0]))
    >>> reliability_chart(found, "a model")[1:4]
    b'PNG'
    """
    dots = tuple(
        Dot(row.confidence, row.accuracy, row.interval, f"{row.n:,}") for row in found.rows
    )
    series = (
        Series(name="measured, with 95 % interval and number of images", dots=dots, line=False),
        Series(name="as stated", dots=(Dot(0, 0), Dot(1, 1)), markers=False, dashed=True),
    )
    figures = (
        f"{found.n:,} images: expected calibration error {100 * found.ece:.2f} %, "
        f"log loss {found.log_loss:.3f}"
    )
    return chart(
        f"{title}; {figures}",
        Axis(name="probability of the label", percent=True, limits=(0.0, 1.03)),
        Axis(name="labels that are right", percent=True, limits=(0.0, 1.03)),
        series,
        form,
    )
