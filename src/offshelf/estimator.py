"""scikit-learn estimators: a transformer from images to features, and a classifier of images.

Both take file paths, PIL images or uint8 arrays. Features come from the store on the
second call, so cross-validation and grid search run the network once per image.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from offshelf.data.tables.classes import sorted_classes
from offshelf.feature_extractor import DEFAULT_BACKBONE, FeatureExtractor
from offshelf.feature_sets.feature_set import BOTH, NO_FLIPS, PREDICTION, check_flips
from offshelf.features.feature_kind import (
    DEFAULT_LAYER,
    DEFAULT_POOLING,
)
from offshelf.features.image_list import items_of
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.mirror_images import trainer_of
from offshelf.heads.group_folds import group_numbers, groups_with_copies
from offshelf.heads.probabilities.decision_rule import decided
from offshelf.heads.probabilities.decision_settings import (
    DecisionSettings,
    check_decidable,
    rule_of,
)
from offshelf.heads.probabilities.probability_model import (
    UNMARKED,
    ProbabilitySettings,
    check_probability,
    fit_certainty,
)
from offshelf.model_file.model import save_model
from offshelf.training_record import SAMPLES, TrainingRecord

__all__ = ["FeatureExtractor", "HeadChoice", "TransferClassifier"]


class HeadChoice(BaseEstimator):  # type: ignore[misc]
    """A head with more choices, for :class:`TransferClassifier`.

    It only holds parameters, so that a grid search reaches them, as ``head__reduction``.

    Args:
        kind: name of the head, for example ``svm``, ``knn:5`` or ``fc:256``.
        reduction: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``.
        class_weight: ``balanced`` gives all classes the same weight, None all images.
        calibrate: ``temperature`` or ``sigmoid`` gives the classifier ``predict_proba``; the
            head is then trained five times more, each time with a fifth held out.

    >>> TransferClassifier(head=HeadChoice(reduction="pca:8")).get_params()["head__reduction"]
    'pca:8'
    """

    def __init__(
        self,
        kind: str = "svm",
        reduction: str = "none",
        class_weight: str | None = None,
        calibrate: str = "none",
    ) -> None:
        self.kind = kind
        self.reduction = reduction
        self.class_weight = class_weight
        self.calibrate = calibrate


def _is_calibrated(classifier: TransferClassifier) -> bool:
    check_is_fitted(classifier, "head_")
    if classifier.certainty_.calibration is None:
        told = [note for note in classifier.certainty_.notes if not note.startswith(UNMARKED)]
        reason = "; ".join(told) or "fit it again with calibrate='temperature'"
        raise AttributeError(f"the classifier has no probabilities: {reason}")
    return True


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen backbone and a head as one scikit-learn classifier of images.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid`` or ``pyramid:N``.
        head: the classifier on the features, for example ``svm``; or a :class:`HeadChoice`,
            which then decides class weights, reduction and calibration.
        C: inverse strength of the regularisation, > 0, or ``auto`` to choose it by
            cross-validation.
        normalisation: of each feature row: ``l2``, ``none``, ``standard`` or ``sqrt``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        random_state: seed of the head.
        class_weight: ``balanced`` gives all classes the same weight, None all images.
        reduction: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``.
        calibrate: ``temperature`` or ``sigmoid``: how scores become probabilities; the head is
            then trained five times more, each time with a fifth held out. ``none`` has none.
        resize: ``squash``, ``crop``, ``letterbox``, or None for the weights' own.
        grey: ``replicate``, ``luma`` or ``summed``, or None for ``replicate``.
        engine: ``auto``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: ``fp32``, or ``bf16`` or ``fp16`` where the hardware has them.
        cache_dir: the root of offshelf's own folders.
        features: a feature set in place of *layer*; see :class:`FeatureExtractor`.
        input_size: side of the input in pixels, or None for the weights' own.
        flips: ``none``, or where mirror images are used: in ``training``, ``prediction`` or
            ``both``.
        decision: what decides the label in place of the largest score, costs of mistakes or
            thresholds of classes, on the calibrated probabilities.

    Attributes:
        classes_: the labels, sorted.
        extractor_: the fitted :class:`FeatureExtractor`.
        head_: the fitted head.
        flips_: where mirror images are used.
        rule_: what decides the label in place of the largest score, or None.
        certainty_: what makes probabilities of its scores, and tells images unlike its own.
        record_: what a model file keeps of the training images.

    >>> import numpy as np
    >>> dark, light = np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), 250, np.uint8)
    >>> images, labels = np.concatenate([dark, light]), ["dark", "dark", "light", "light"]
    >>> TransferClassifier().fit(images, labels).predict(images).tolist()
    ['dark', 'dark', 'light', 'light']
    """

    def __init__(  # noqa: PLR0913
        self,
        backbone: str = DEFAULT_BACKBONE,
        layer: str = DEFAULT_LAYER,
        pooling: str = DEFAULT_POOLING,
        head: str | HeadChoice = "svm",
        C: float | Literal["auto"] = 1.0,  # noqa: N803
        normalisation: str = "l2",
        weights: str | None = None,
        random_state: int = 0,
        *,
        class_weight: str | None = None,
        reduction: str = "none",
        calibrate: str = "temperature",
        resize: str | None = None,
        grey: str | None = None,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "fp32",
        cache_dir: str | Path | None = None,
        features: str | None = None,
        input_size: int | None = None,
        flips: str = "none",
        decision: DecisionSettings | None = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.head = head
        self.C = C
        self.normalisation = normalisation
        self.weights = weights
        self.random_state = random_state
        self.class_weight = class_weight
        self.reduction = reduction
        self.calibrate = calibrate
        self.resize = resize
        self.grey = grey
        self.engine = engine
        self.device = device
        self.precision = precision
        self.cache_dir = cache_dir
        self.features = features
        self.input_size = input_size
        self.flips = flips
        self.decision = decision

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:  # noqa: N803
        """Extract the features of *X* and train the head on them.

        Args:
            X: N images, as for :meth:`FeatureExtractor.transform`.
            y: N labels.
            groups: N values; images of one value (of one person, scene or film) are held out
                together where probabilities, C and the distance of unlike images are learned,
                and so are copies of an image. None where images are independent.

        Raises:
            OffshelfError: an image, label or setting cannot be used.
        """
        choice = self._choice()
        check_probability(wish := ProbabilitySettings(choice.calibrate))
        rule_for = rule_of(self.decision, wish)
        items = items_of(X)
        self.classes_, targets = sorted_classes(y, len(items))
        names = [str(label) for label in self.classes_]
        self.rule_ = rule_for(names)
        given = None if groups is None else group_numbers(groups, len(items))
        self.extractor_ = self._extractor().fit()
        self.flips_ = check_flips(self.flips)
        found = self.extractor_.extracted(items, self.flips_)
        features = found.matrix
        numbers = groups_with_copies(given, found.digests)
        recipe = Recipe(
            kind=choice.kind,
            c=self.C,
            normalisation=self.normalisation,  # type: ignore[arg-type]
            reduction=choice.reduction,
            class_weight=choice.class_weight,  # type: ignore[arg-type]
            seed=self.random_state,
        )
        trainer = trainer_of(recipe, found.images, targets, names, groups=numbers)
        self.head_ = trainer.head
        self.certainty_ = fit_certainty(
            trainer, features, targets, names, wish, seed=self.random_state
        )
        check_decidable(self.rule_, self.certainty_)
        if given is not None and self.certainty_.calibration is None:
            for note in self.certainty_.notes:
                warnings.warn(note, stacklevel=2)
        self.record_ = TrainingRecord.of(self.extractor_, items, targets, found)
        return self

    def _choice(self) -> HeadChoice:
        if isinstance(self.head, HeadChoice):
            return self.head
        return HeadChoice(self.head, self.reduction, self.class_weight, self.calibrate)

    def _extractor(self) -> FeatureExtractor:
        return FeatureExtractor(
            self.backbone,
            self.layer,
            self.pooling,
            weights=self.weights,
            resize=self.resize,
            grey=self.grey,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            cache_dir=self.cache_dir,
            features=self.features,
            input_size=self.input_size,
        )

    def save(self, path: str | Path, samples: int = SAMPLES) -> Path:
        """Write a ``.offshelf`` file, as ``offshelf predict``, ``evaluate`` and ``show`` take it.

        Args:
            path: the file; labels are in it as text.
            samples: training images that it holds for its self-test, scaled to the network's
                input, 0 to 3.

        Raises:
            DataError: *samples* is none of these numbers.
            ModelFileError: the file cannot be written there.
        """
        check_is_fitted(self, "head_")
        record = self.record_.with_samples(samples)
        model = record.model(self.extractor_, self.head_, self.certainty_, self.flips_)
        return save_model(dataclasses.replace(model, rule=self.rule_), path)

    def decision_function(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return scores, float32, N x K; for two classes N, positive for ``classes_[1]``.

        Args:
            X: N images, as for :meth:`FeatureExtractor.transform`.

        Raises:
            DataError: an image cannot be used; the message names the first.
        """
        scores = self._scores(X)
        if len(self.classes_) == 2:
            scores = ((scores[:, 1] - scores[:, 0]) / 2).astype(np.float32)
        return scores

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the label of every image, N of ``classes_``: the largest score, or *decision*.

        See :meth:`decision_function`.
        """
        scores = self._scores(X)
        found = decided(self.rule_, scores, self.certainty_.probabilities(scores))
        labels: NDArray[Any] = self.classes_[found]
        return labels

    def _scores(self, images: Any) -> NDArray[np.float32]:
        check_is_fitted(self, "head_")
        flips = self.flips_ if self.flips_ in (PREDICTION, BOTH) else NO_FLIPS
        return self.extractor_.extracted(items_of(images), flips).images.decide(self.head_)

    @available_if(_is_calibrated)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of every class, float64, N x K; each row sums to 1.

        There is no such method with ``calibrate="none"``.
        """
        scores = self._scores(X)
        found = self.certainty_.probabilities(scores)
        return np.empty(scores.shape) if found is None else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
