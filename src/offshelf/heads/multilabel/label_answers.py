"""Answers of a head of several labels, as fields of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.head import FittedHead
from offshelf.heads.label_decisions import LabelDecisions


def label_answers(
    head: FittedHead, decisions: LabelDecisions, scores: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Return for each of N x L scores its labels, and score and probability of every label.

    All are in the order of the probability, the largest first; equal ones in that of the labels.
    """
    probabilities, present = decisions.probabilities(scores), decisions.present(scores)
    answers = []
    for row in range(len(scores)):
        order = np.argsort(-probabilities[row], kind="stable")
        answers.append(
            {
                "label": None,
                "labels": tuple(head.classes[k] for k in order if present[row, k]),
                "scores": {head.classes[k]: float(scores[row, k]) for k in order},
                "probabilities": {head.classes[k]: float(probabilities[row, k]) for k in order},
            }
        )
    return answers
