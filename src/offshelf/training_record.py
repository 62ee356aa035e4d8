"""What a model file keeps of the images that an estimator was trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from offshelf.data.decode import Limits
from offshelf.engine.selection import platform_of
from offshelf.errors import DataError
from offshelf.features.network_input import network_input
from offshelf.heads.fitting.fit_head import decision
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.model_file.model import Model, Sample, record
from offshelf.model_file.specs import short_digest
from offshelf.version import library_versions, today

if TYPE_CHECKING:
    from offshelf.feature_extractor import FeatureExtractor, ImageFeatures

SAMPLES = 3


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """The training images, as far as a model file knows them.

    Attributes:
        pixels: of a few images, what the network saw, uint8, S x S x 3.
        features: of the same, float32.
        targets: N class indices.
        digests: the sha256 of each of the N images.
        places: which of the N the few are.
    """

    pixels: tuple[NDArray[np.uint8], ...]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    digests: tuple[bytes, ...]
    places: tuple[int, ...]

    @classmethod
    def of(
        cls,
        extractor: FeatureExtractor,
        items: Sequence[Any],
        targets: NDArray[np.int64],
        found: ImageFeatures,
    ) -> Self:
        """Return the record of images that *extractor* has just seen."""
        spread = np.linspace(0, len(items) - 1, min(SAMPLES, len(items)))
        places = tuple(np.unique(spread.astype(np.int64)).tolist())
        few = [items[place] for place in places]
        pixels = (network_input(one, extractor.backbone_.input, Limits()).pixels for one in few)
        features = found.matrix[list(places)]
        return cls(tuple(pixels), features, np.asarray(targets), found.digests, places)

    def with_samples(self, count: int) -> TrainingRecord:
        """Return the record with *count* of the few images, or with all where it has fewer.

        Raises:
            DataError: *count* is no whole number from 0 to 3.
        """
        if isinstance(count, bool) or count not in range(SAMPLES + 1):
            raise DataError(f"samples is a whole number from 0 to {SAMPLES}, not {count!r}")
        return dataclasses.replace(
            self,
            pixels=self.pixels[:count],
            features=self.features[:count],
            places=self.places[:count],
        )

    def model(self, extractor: FeatureExtractor, head: FittedHead, certainty: Certainty) -> Model:
        """Return the contents of the model file."""
        options, backbone = extractor.engine_options, extractor.backbone_
        made = record(backbone, options.precision)
        if options.precision != "fp32":
            made = dataclasses.replace(made, platform=platform_of(options))
        scores = decision(head, self.features)
        labels = [head.classes[self.targets[place]] for place in self.places]
        samples = map(Sample, self.pixels, scores, labels)
        counts = np.bincount(self.targets, minlength=len(head.classes)).tolist()
        pairs = zip(head.classes, counts, strict=True)
        return Model(
            backbone=made,
            kind=extractor.kind_,
            head=head,
            metrics={},
            data={
                "date": today(),
                "classes": {name: {"train": count, "test": 0} for name, count in pairs},
                "images_sha256": hashlib.sha256(b"".join(self.digests)).hexdigest(),
                "n_images": len(self.digests),
                "n_failed": 0,
            },
            versions=library_versions(),
            seen=np.unique(np.array([short_digest(one) for one in self.digests], np.uint64)),
            samples=tuple(samples),
            certainty=certainty,
        )
