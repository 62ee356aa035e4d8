"""Training of a head with the settings of a job, and of its probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from offshelf.errors import DataError
from offshelf.heads.arguments import check_normalisation, checked_options
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.trainer import Trainer
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.options import FOLDS, ClassWeight, Normalisation
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings, fit_certainty
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.jobs.setup.opening import note_all
from offshelf.jobs.setup.settings import HeadSettings, RunSettings
from offshelf.model_file.zip_file import MAX_PICTURES, check_target
from offshelf.progress import Progress


def check_settings(head: HeadSettings, run: RunSettings, out: str | Path | None = None) -> None:
    """Refuse what would only fail after the network has run over every image.

    Raises:
        HeadError: an unknown head, normalisation, reduction or class weight, or C or the
            seed out of range.
        DataError: the number of samples is out of range.
        ModelFileError: no model file can or should be written at *out*.

    >>> check_settings(HeadSettings(c=0), RunSettings())
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: C must be a positive finite number or 'auto', got 0: 1 is the default
    """
    get_fitter(head.head)
    checked_options(head.c, run.seed, head.class_weight)
    check_normalisation(head.normalisation)
    parse_reduction(head.reduction)
    if isinstance(run.samples, bool) or run.samples not in range(MAX_PICTURES + 1):
        raise DataError(f"samples is a whole number from 0 to {MAX_PICTURES}, not {run.samples!r}")
    if out is not None:
        check_target(Path(out))


def recipe_of(head: HeadSettings, seed: int) -> Recipe:
    """Return how a head is trained.

    >>> recipe_of(HeadSettings("ridge"), seed=7).seed
    7
    """
    return Recipe(
        kind=head.head,
        c=head.c,
        normalisation=cast(Normalisation, head.normalisation),
        reduction=head.reduction,
        class_weight=cast(ClassWeight | None, head.class_weight),
        seed=seed,
    )


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
