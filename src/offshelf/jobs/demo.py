"""Demo: fit and predict on images and weights that come with the installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.data.demo_images import write_demo
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import PredictResult, predict
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Progress, Silent

MODEL = "digits.offshelf"


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo made.

    Attributes:
        data: the image folder.
        fitted: the classifier of handwritten digits.
        predicted: the model file on a few test digits and on photographs that are none.
    """

    data: Path
    fitted: FitResult
    predicted: PredictResult

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            "data": str(self.data),
            "fit": self.fitted.to_json(),
            "predict": self.predicted.to_json(),
        }


def demo(
    folder: str | Path, *, run: RunSettings | None = None, progress: Progress | None = None
) -> DemoResult:
    """Write the demo images, train and evaluate on them, and predict from the model file.

    Args:
        folder: where the images and the model go; made if it is not there.
        run: engine, cache folder.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the folder cannot be used.
    """
    root, progress = Path(folder), progress or Silent()
    data = write_demo(root)
    model = root / MODEL
    fitted = fit(data, model, run=run, progress=progress)
    photos = sorted((root / "photos").glob("*.jpg"))
    tests = [sorted(one.glob("*.png"))[0] for one in sorted((data / "test").iterdir())[:3]]
    return DemoResult(data, fitted, predict(model, [*tests, *photos], run=run, progress=progress))
