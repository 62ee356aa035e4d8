"""A model file as a classifier of images in memory or on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import same_length
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError, ModelFileError, OffshelfError, did_you_mean
from offshelf.feature_sets.feature_set import FeatureSet
from offshelf.features.extraction import as_sources, refuse_failures
from offshelf.features.image_list import items_of
from offshelf.heads.fitting.fit_head import averaged_decision
from offshelf.heads.probabilities.decision_rule import decided
from offshelf.jobs.show import show
from offshelf.model_file import model as model_files
from offshelf.model_file.model import Model
from offshelf.opened_model import open_model
from offshelf.prediction import extracted
from offshelf.report.model_card import ModelCard
from offshelf.text import shown


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SavedClassifier(Model):
    """The classifier of a model file, whose card it prints.

    The network's weights are looked for, and the self-test runs, when it is first used.

    Attributes:
        path: the file.
        weights: the weights file, where it is in none of the usual places.
        options: engine, device and cache folder.
    """

    path: Path
    weights: str | None = None
    options: EngineOptions = field(default_factory=EngineOptions)

    @property
    def classes_(self) -> NDArray[Any]:
        """The class names, as scikit-learn calls them."""
        return np.array(self.classes)

    def decision_function(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return scores, float32, N x K; for two classes N, positive for ``classes_[1]``.

        A model of several labels always has N x L.

        Args:
            X: N paths, PIL images, or uint8 arrays, as :class:`offshelf.TransferClassifier`
                takes them.

        Raises:
            DataError: an image cannot be used; the message names the first.
            ModelFileError: the model fails its self-test.
            WeightsError: its weights are not on this machine.
        """
        scores = self._scores(X)
        if len(self.classes) == 2 and self.head.decisions is None:
            scores = ((scores[:, 1] - scores[:, 0]) / 2).astype(np.float32)
        return scores

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the label of every image, N of ``classes_``, by the rule if the model has one.

        See :meth:`decision_function`. A model of several labels returns N x L, 1 where an image has
        the label and 0 elsewhere.
        """
        scores = self._scores(X)
        if self.head.decisions is not None:
            return self.head.decisions.present(scores).astype(np.int64)
        found = decided(self.rule, scores, self.certainty.probabilities(scores))
        labels: NDArray[Any] = self.classes_[found]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of every class, float64, N x K; each row sums to 1.

        Those of several labels have no sum.

        Raises:
            OffshelfError: the model has no probabilities.
        """
        if self.head.decisions is not None:
            return self.head.decisions.probabilities(self._scores(X))
        if self.certainty.calibration is None:
            raise OffshelfError(
                f"{shown(self.path)}: has no probabilities; fit it again with "
                "calibrate='temperature'"
            )
        found = self.certainty.probabilities(self._scores(X))
        return np.empty((0, len(self.classes))) if found is None else found

    def score(self, X: Any, y: Any) -> float:  # noqa: N803
        """Return the accuracy, 0 to 1, on N images *X* whose labels are *y*.

        Of several labels it is the share of the images that have all their labels and no other;
        *y* are then N lists of labels, or a matrix N x L as of :meth:`predict`.

        Raises:
            DataError: not one label for each image, or as :meth:`decision_function`.
        """
        items = items_of(X)
        if self.head.decisions is not None:
            truth = _membership(y, len(items), self.classes)
            return float((self.predict(items) == truth).all(axis=1).mean())
        labels = np.asarray(y).astype(str)
        same_length("y", len(labels), "images", len(items))
        return float((self.predict(items) == labels).mean())

    @cached_property
    def _opened(self) -> FeatureSet:
        return open_model(self.path, weights=self.weights, options=self.options, several=True)[1]

    def _scores(self, images: Any) -> NDArray[np.float32]:
        sources = as_sources(items_of(images))
        found = extracted(self, self._opened, sources, self.options)
        refuse_failures(found)
        rows = range(len(sources))
        mirrors = found.read_mirrored(rows) if found.features.averages else None
        return averaged_decision(self.head, found.read(rows), mirrors)

    def __repr__(self) -> str:
        card = self._card()
        return f"SavedClassifier({str(self.path)!r})" if card is None else str(card)

    def _repr_html_(self) -> str | None:
        card = self._card()
        return None if card is None else card._repr_html_()

    def _card(self) -> ModelCard | None:
        """Return the card of the file; None where it is no more what it was."""
        with contextlib.suppress(ModelFileError, OSError):
            return show(self.path, cache_dir=self.options.cache_dir)
        return None


def _membership(y: Any, n: int, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return which of *n* images has which label, from lists of labels or a matrix."""
    wanted = f"y: {n} lists of labels or a matrix {n} x {len(labels)} are needed"
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if isinstance(y, np.ndarray) and y.ndim == 2:
        if y.shape != (n, len(labels)) or not np.isin(y, (0, 1)).all():
            raise DataError(wanted)
        return y.astype(bool)
    sets = [None if isinstance(one, str) else list(one) for one in y]
    if len(sets) != n or None in sets:
        raise DataError(wanted)
    strange = [one for found in sets for one in found or () if one not in labels]
    if strange:
        hint = did_you_mean(str(strange[0]), labels)
        raise DataError(f"y: the model has no label {strange[0]!r}: {', '.join(labels)}.{hint}")
    return np.array([[name in (found or ()) for name in labels] for found in sets], bool)


def load_model(
    path: str | Path, *, weights: str | None = None, options: EngineOptions | None = None
) -> SavedClassifier:
    """Read a model file, as a classifier; all is checked that can be without running it.

    Args:
        path: a ``.offshelf`` file.
        weights: the weights file, where it is in none of the usual places.
        options: engine, device and cache folder.

    Raises:
        ModelFileError: it is missing, damaged, of another schema, or contains what a model
            file cannot contain.

    >>> load_model("none.offshelf")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: none.offshelf: no such model file; 'offshelf fit ...
    """
    found = model_files.load_model(path)
    parts = {one.name: getattr(found, one.name) for one in fields(Model)}
    options = options or EngineOptions()
    return SavedClassifier(**parts, path=Path(path), weights=weights, options=options)
