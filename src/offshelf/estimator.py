"""scikit-learn estimators: a transformer from images to features, and a classifier of images.

Both take file paths, PIL images or uint8 arrays. Features come from the store on the
second call, so cross-validation and grid search run the network once per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.data.tables.classes import sorted_classes
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError
from offshelf.features.extraction import extract_images
from offshelf.features.feature_kind import (
    DEFAULT_LAYER,
    DEFAULT_POOLING,
    FeatureKind,
    feature_kinds,
)
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision
from offshelf.heads.probabilities.probability_model import (
    ProbabilitySettings,
    check_probability,
    fit_certainty,
)

DEFAULT_BACKBONE = "efficientnet_lite0"


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frozen features of images as a scikit-learn transformer.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max`` or ``gem``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        resize: ``squash``, ``crop``, ``letterbox``, or None for the weights' own.
        engine: ``auto``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        cache_dir: the root of offshelf's own folders.

    Attributes:
        backbone_: the network with its weights and preprocessing.
        kind_: layer and pooling.
        n_features_out_: columns of the matrix; known after the first transform.

    >>> import numpy as np
    >>> images = np.zeros((2, 32, 32, 3), np.uint8)
    >>> FeatureExtractor().fit_transform(images).shape
    (2, 1280)
    """

    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        layer: str = DEFAULT_LAYER,
        pooling: str = DEFAULT_POOLING,
        weights: str | None = None,
        resize: str | None = None,
        engine: str = "auto",
        device: str = "auto",
        cache_dir: str | Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.weights = weights
        self.resize = resize
        self.engine = engine
        self.device = device
        self.cache_dir = cache_dir

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the network and its weights; nothing is learned from the images.

        Args:
            X: not used.
            y: not used.

        Raises:
            OffshelfError: a name is unknown, or the weights are not here.
        """
        self.backbone_: Backbone = open_backbone(
            self.backbone, weights=self.weights, resize=self.resize, cache_dir=self.cache_dir
        )
        self.kind_: FeatureKind = feature_kinds(self.backbone_, [self.layer], [self.pooling])[0]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return the features of *X*, float32, N x D.

        Args:
            X: N paths, PIL images, or uint8 arrays (H x W, H x W x 1, 3 or 4), or one
                uint8 array of N images.

        Raises:
            DataError: an image cannot be used; the message names the first.
        """
        check_is_fitted(self, "backbone_")
        options = EngineOptions(self.engine, self.device, cache_dir=self.cache_dir)
        matrix = extract_images(_items(X), self.backbone_, self.kind_, options)
        self.n_features_out_ = matrix.shape[1]
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return ``LAYER_POOLING_0`` ... for every column."""
        check_is_fitted(self, "n_features_out_")
        names = [f"{self.kind_.column}_{i}" for i in range(self.n_features_out_)]
        return np.array(names, object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


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
        reason = (
            "; ".join(classifier.certainty_.notes)
            or "choose head=HeadChoice(calibrate='temperature')"
        )
        raise AttributeError(f"the classifier has no probabilities: {reason}")
    return True


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen backbone and a head as one scikit-learn classifier of images.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max`` or ``gem``.
        head: the classifier on the features, for example ``svm``, or a :class:`HeadChoice`
            with a reduction, class weights or probabilities.
        C: inverse strength of the regularisation, > 0.
        normalisation: of each feature row: ``l2``, ``none``, ``standard`` or ``sqrt``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        random_state: seed of the head.

    Attributes:
        classes_: the labels, sorted.
        extractor_: the fitted :class:`FeatureExtractor`.
        head_: the fitted head.
        certainty_: what makes probabilities of its scores, where the head is to be
            calibrated.

    >>> import numpy as np
    >>> dark, light = np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 8, 8, 3), 250, np.uint8)
    >>> images, labels = np.concatenate([dark, light]), ["dark", "dark", "light", "light"]
    >>> TransferClassifier().fit(images, labels).predict(images).tolist()
    ['dark', 'dark', 'light', 'light']
    """

    def __init__(
        self,
        backbone: str = DEFAULT_BACKBONE,
        layer: str = DEFAULT_LAYER,
        pooling: str = DEFAULT_POOLING,
        head: str | HeadChoice = "svm",
        C: float = 1.0,  # noqa: N803
        normalisation: str = "l2",
        weights: str | None = None,
        random_state: int = 0,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.head = head
        self.C = C
        self.normalisation = normalisation
        self.weights = weights
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Extract the features of *X* and train the head on them.

        Args:
            X: N images, as for :meth:`FeatureExtractor.transform`.
            y: N labels.

        Raises:
            OffshelfError: an image, label or setting cannot be used.
        """
        choice = self.head if isinstance(self.head, HeadChoice) else HeadChoice(self.head)
        check_probability(wish := ProbabilitySettings(choice.calibrate))
        items = _items(X)
        self.classes_, targets = sorted_classes(y, len(items))
        self.extractor_ = FeatureExtractor(
            self.backbone, self.layer, self.pooling, self.weights
        ).fit()
        features = self.extractor_.transform(items)
        names = [str(label) for label in self.classes_]
        recipe = Recipe(
            kind=choice.kind,
            c=self.C,
            normalisation=self.normalisation,  # type: ignore[arg-type]
            reduction=choice.reduction,
            class_weight=choice.class_weight,  # type: ignore[arg-type]
            seed=self.random_state,
        )
        trainer = Trainer(recipe, features, targets, names)
        self.head_ = trainer.head
        self.certainty_ = fit_certainty(
            trainer.held_out, features, targets, names, wish, seed=self.random_state
        )
        return self

    def decision_function(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return scores, float32, N x K; for two classes N, positive for ``classes_[1]``.

        Args:
            X: N images, as for :meth:`FeatureExtractor.transform`.

        Raises:
            DataError: an image cannot be used; the message names the first.
        """
        check_is_fitted(self, "head_")
        scores = decision(self.head_, self.extractor_.transform(X))
        if len(self.classes_) == 2:
            scores = ((scores[:, 1] - scores[:, 0]) / 2).astype(np.float32)
        return scores

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the label of every image, N of ``classes_``; see :meth:`decision_function`."""
        check_is_fitted(self, "head_")
        scores = decision(self.head_, self.extractor_.transform(X))
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    @available_if(_is_calibrated)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of every class, float64, N x K; each row sums to 1.

        There is no such method unless the :class:`HeadChoice` says ``calibrate``.
        """
        scores = decision(self.head_, self.extractor_.transform(X))
        found = self.certainty_.probabilities(scores)
        return np.empty(scores.shape) if found is None else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _items(images: Any) -> Sequence[Any]:
    """Return *images* as a sequence of single images.

    Raises:
        DataError: it is one image, or nothing that holds images.
    """
    if isinstance(images, str | Path):
        raise DataError(f"{images}: one path; pass a list of images")
    if hasattr(images, "to_numpy"):
        images = images.to_numpy()
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (3, 4):
        raise DataError(f"one image, {_shape(images)}; pass a list of images or N x H x W x 3")
    try:
        items = list(images)
    except TypeError as error:
        name = type(images).__name__
        raise DataError(f"one {name}; pass a list of paths, PIL images or uint8 arrays") from error
    if items and isinstance(items[0], np.ndarray) and items[0].dtype.kind in "OU":
        if items[0].size != 1:
            raise DataError(f"a table of {_shape(np.asarray(images))}; pass its column of paths")
        # scikit-learn hands a column of paths over as N x 1.
        items = [row.item() for row in items]
    return items


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(str(length) for length in array.shape)
