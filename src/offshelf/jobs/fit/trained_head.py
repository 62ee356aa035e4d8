"""A trained head with its certainty, and its answers to test images, as results in the cache."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.mirror_images import Images
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.certainty_document import certainty_arrays, certainty_from_json
from offshelf.heads.probabilities.probability_model import Certainty, ProbabilitySettings
from offshelf.jobs.setup.labelled_features import LabelledFeatures
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.trained_results import Arrays, Form, Kept, kept

_HEAD, _CERTAINTY = "head.", "certainty."


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head, and how sure it is."""

    head: FittedHead
    certainty: Certainty = field(default_factory=Certainty)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a head says of N images.

    Attributes:
        scores: float32, N x K.
        unknown: N bool, which are of no known class; None without a threshold.
        unlike: N bool, which are unlike the training images; None without such a measure.
    """

    scores: NDArray[np.float32]
    unknown: NDArray[np.bool_] | None = None
    unlike: NDArray[np.bool_] | None = None


def answers_of(trained: TrainedHead, images: Images) -> Answers:
    """Return what a head says of N images."""
    scores = images.decide(trained.head)
    probabilities = trained.certainty.probabilities(scores)
    return Answers(scores, *trained.certainty.verdicts(probabilities, images.rows))


def kept_head(
    labelled: LabelledFeatures, recipe: Recipe, probability: ProbabilitySettings, run: RunSettings
) -> Kept[TrainedHead]:
    """Return the place of the head that *recipe* trains on the training split."""
    return kept(run, _key(labelled, recipe, probability), Form(_packed, _unpacked))


def kept_answers(
    labelled: LabelledFeatures, recipe: Recipe, probability: ProbabilitySettings, run: RunSettings
) -> Kept[Answers]:
    """Return the place of the answers of the same head to the test split."""
    test = labelled.test
    # Its own labels decide no answer.
    rows = {name: labelled.key(test.rows)[name] for name in ("features", "rows")}
    key = {"answers": rows, **_key(labelled, recipe, probability)}
    shape = len(test.rows), len(labelled.table.classes)
    return kept(run, key, Form(_packed_answers, lambda *read: _unpacked_answers(shape, *read)))


def _key(
    labelled: LabelledFeatures, recipe: Recipe, probability: ProbabilitySettings
) -> dict[str, Any]:
    return {
        "trained": labelled.key(labelled.train.rows),
        "recipe": dataclasses.asdict(recipe),
        "probability": dataclasses.asdict(probability),
    }


def _packed(trained: TrainedHead) -> tuple[Arrays, Any]:
    arrays, document = pack_head(trained.head)
    references = certainty_arrays(trained.certainty)
    named = {_HEAD + name: array for name, array in arrays.items()}
    named |= {_CERTAINTY + name: array for name, array in references.items()}
    return named, {"head": document, "certainty": trained.certainty.to_json()}


def _unpacked(arrays: Arrays, document: Any) -> TrainedHead:
    head = unpack_head(_named(arrays, _HEAD), document["head"])
    given = _named(arrays, _CERTAINTY), len(head.classes), head.dimension
    return TrainedHead(head, certainty_from_json(document["certainty"], *given))


def _named(arrays: Arrays, beginning: str) -> dict[str, NDArray[Any]]:
    return {n.removeprefix(beginning): a for n, a in arrays.items() if n.startswith(beginning)}


def _packed_answers(answers: Answers) -> tuple[Arrays, Any]:
    parts = {field.name: getattr(answers, field.name) for field in dataclasses.fields(answers)}
    return {name: part for name, part in parts.items() if part is not None}, None


def _unpacked_answers(shape: tuple[int, int], arrays: Arrays, _: Any) -> Answers:
    found = Answers(**arrays)
    marks = [one for one in (found.unknown, found.unlike) if one is not None]
    if found.scores.shape != shape or any(one.shape != shape[:1] for one in marks):
        raise ValueError("answers to other images")
    return found
