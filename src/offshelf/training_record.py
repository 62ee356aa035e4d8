"""What a model file keeps of the images that an estimator was trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.decode import Limits
from offshelf.engine.selection import platform_of
from offshelf.errors import DataError
from offshelf.features.network_input import network_input
from offshelf.heads.fitting.mirror_images import Images
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.model_file.feature_record import BackboneRecord, FeatureRecord, record
from offshelf.model_file.model import Model, Sample
from offshelf.model_file.specs import short_digest
from offshelf.version import library_versions, today

if TYPE_CHECKING:
    from offshelf.feature_extractor import FeatureExtractor, ImageFeatures

SAMPLES = 3


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """The training images, as far as a model file knows them.

    Attributes:
        pictures: of a few images, what each network saw, uint8, S x S x 3.
        images: of the same, the features.
        targets: N class indices.
        digests: the sha256 of each of the N images.
        places: which of the N the few are.
    """

    pictures: tuple[tuple[NDArray[np.uint8], ...], ...]
    images: Images
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
        few, networks = [items[place] for place in places], extractor.features_.backbones
        seen = (
            tuple(network_input(one, network.input, Limits()).pixels for network in networks)
            for one in few
        )
        images = found.images.take(np.array(places, np.intp))
        return cls(tuple(seen), images, np.asarray(targets), found.digests, places)

    def with_samples(self, count: int) -> TrainingRecord:
        """Return the record with *count* of the few images, or with all where it has fewer.

        Raises:
            DataError: *count* is no whole number from 0 to 3.
        """
        if isinstance(count, bool) or count not in range(SAMPLES + 1):
            raise DataError(f"samples is a whole number from 0 to {SAMPLES}, not {count!r}")
        return dataclasses.replace(
            self,
            pictures=self.pictures[:count],
            images=self.images.take(np.arange(min(count, len(self.places)))),
            places=self.places[:count],
        )

    def model(
        self, extractor: FeatureExtractor, head: FittedHead, certainty: Certainty, flips: str
    ) -> Model:
        """Return the contents of the model file."""
        options = extractor.engine_options
        platform = "" if options.precision == "fp32" else platform_of(options)

        def network(backbone: Backbone) -> BackboneRecord:
            made = record(backbone, options.precision)
            return dataclasses.replace(made, platform=platform)

        features = dataclasses.replace(extractor.features_, flips=flips)
        scores = self.images.decide(head)
        labels = [head.classes[self.targets[place]] for place in self.places]
        seen = zip(self.pictures, scores, labels, strict=True)
        samples = (Sample(one[0], own, label, one[1:]) for one, own, label in seen)
        counts = np.bincount(self.targets, minlength=len(head.classes)).tolist()
        pairs = zip(head.classes, counts, strict=True)
        return Model(
            features=FeatureRecord.of(features, network),
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
