"""How sure a trained head is: calibrated on its training images, measured on the test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.evaluate.probabilities.probability_metrics import Trust, trust
from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings, fit_certainty
from offshelf.heads.probabilities.out_of_fold import FOLDS
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.heads.trainer import Trainer
from offshelf.jobs.setup.training import note_all
from offshelf.prediction import Prediction
from offshelf.progress import Progress


def calibrated(
    trainer: Trainer, probability: ProbabilitySettings, seed: int, progress: Progress
) -> Certainty:
    """Fit probabilities and the threshold for unknown images on the training split.

    What a person should know is told to *progress*.

    Raises:
        OffshelfError: images are to be rejected, and the training split is too small.
    """
    progress.start("heads", None if probability.calibrate == "none" else FOLDS)
    found = fit_certainty(
        lambda fold: trainer.held_out(fold, progress.advance),
        trainer.features,
        trainer.targets,
        trainer.classes,
        probability,
        seed=seed,
    )
    progress.finish()
    note_all(progress, found.notes)
    return found


def trusted(
    certainty: Certainty,
    scores: NDArray[np.float32],
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> Trust:
    """Measure probabilities and rejections on test images.

    Args:
        certainty: of the model.
        scores: N x K.
        features: N x D.
        targets: N true class indices.
    """
    probabilities = certainty.probabilities(scores)
    unknown = certainty.unknown(probabilities, features)
    return trust(probabilities, unknown, scores.argmax(axis=1).astype(np.int64), targets)


def trust_of(
    predictions: Sequence[Prediction],
    certainty: Certainty,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> Trust:
    """Measure the same on predictions, all of them with a label.

    Args:
        predictions: N.
        certainty: of the model that made them.
        classes: of the model.
        labels: N predicted class indices.
        targets: N true class indices.
    """
    probabilities, unknown = None, None
    if certainty.calibration is not None:
        rows = [[row.probabilities[name] for name in classes] for row in predictions]
        probabilities = np.array(rows, np.float64)
    if certainty.threshold is not None:
        unknown = np.array([row.unknown for row in predictions], bool)
    return trust(probabilities, unknown, labels, targets)
