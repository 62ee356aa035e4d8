"""Demo: fit and predict on images and weights that come with the installation."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.data.demo_images import write_demo
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.predict_result import PredictResult
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Progress, Silent
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.result_rows import Table

MODEL = "digits.offshelf"


@dataclass(frozen=True, eq=False, repr=False)
class DemoResult(Result):
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

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what was made, and how good it is."""
        yield "data", str(self.data)
        yield from self.fitted.facts()

    def blocks(self) -> Iterator[Block]:
        """Yield what was made, and what to try next."""
        n_test = self.fitted.evaluation.n
        n_train = len(self.fitted.extraction.ok) - n_test
        yield f"1. Train on {n_train:,} handwritten digits, test on {n_test:,} others"
        yield ""
        yield from self.fitted.blocks()
        yield ""
        yield "2. Label images with the model file: three test digits, two photographs of none"
        yield ""
        yield from self.predicted.blocks()
        yield ""
        yield "3. Try next"
        yield ""
        yield Facts(self._next())

    def _next(self) -> tuple[tuple[str, str], ...]:
        model, data = shlex.quote(str(self.fitted.path)), shlex.quote(str(self.data))
        photos = shlex.quote(str(self.data.parent / "photos"))
        return (
            (f"offshelf evaluate {model} {data}", "the figures again, from the file"),
            (f"offshelf predict {model} {photos} --json", "for programs"),
            (f"offshelf fit {data} --layer stage5 --pooling max", "another layer"),
            ("offshelf fit YOUR-FOLDER --out my.offshelf", "your images, one folder per class"),
            ("offshelf backbones", "other networks"),
        )

    def data_table(self) -> Table:
        """Return a row for each image that was labelled."""
        return self.predicted.data_table()


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
