"""Images of a class that a model was not trained on: how well each measure tells them.

Each class is left out in turn: a model of the others sees the test images, and the AUROC says
how often an image of the class that was left out is more unusual than one of the others. Then,
with all classes, the share of known test images that are rejected at 5 % and at 1 %. Features of
EfficientNet-Lite0 of a folder of images, or of the digits that come with scikit-learn.

    python benchmarks/unlike.py --data ../shared/data/15-scene
    python benchmarks/unlike.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arguments import Parser, existing
from measure import heading
from offshelf import FeatureExtractor
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision
from offshelf.heads.probabilities.out_of_distribution import area, surroundings
from offshelf.heads.probabilities.probability_model import ProbabilitySettings, fit_certainty
from offshelf.heads.probabilities.rejection import MEASURES
from offshelf.jobs.fit.job import fit

TRAINED = 600


@dataclass(frozen=True)
class Side:
    """Features N x D and class indices N of one split."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> Side:
        """Return some of the rows, with classes numbered anew."""
        targets = np.unique(self.targets[chosen], return_inverse=True)[1]
        return Side(self.features[chosen], targets.astype(np.int64))


def digits() -> tuple[Side, Side]:
    """Return 600 digits to train on, and the other 1,197."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images * 15.9375).astype("uint8")
    features = FeatureExtractor().fit().transform(list(images))
    order = np.random.default_rng(1).permutation(len(images))
    rows = (order[:TRAINED], order[TRAINED:])
    train, test = (Side(features[part], found.target[part].astype(np.int64)) for part in rows)
    return train, test


def images(data: Path) -> tuple[Side, Side]:
    """Return the two splits of a folder of labelled images."""
    result = fit(data)
    rows, kind = result.extraction.ok, result.model.kind
    features = result.extraction.matrix(kind, rows)
    targets = result.table.targets()[rows]
    split = np.array(result.table.splits)[rows]
    train, test = (Side(features[split == n], targets[split == n]) for n in ("train", "test"))
    return train, test


def unusual(train: Side, features: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return how unusual N images are to a model of *train*, by each measure."""
    names = [str(k) for k in range(int(train.targets.max()) + 1)]
    trainer = Trainer(Recipe(), train.features, train.targets, names)
    wish = ProbabilitySettings(unlike=False)
    sure = fit_certainty(trainer, train.features, train.targets, names, wish)
    shares = sure.probabilities(decision(trainer.head, features))
    around = surroundings(train.features, train.targets)
    found = {name: around.reference(name).distances(features) for name in MEASURES[1:]}
    return {"confidence": np.array([]) if shares is None else -shares.max(axis=1), **found}


def left_out(train: Side, test: Side) -> dict[str, list[float]]:
    """Return the AUROC for each class that is left out, by measure."""
    areas: dict[str, list[float]] = {name: [] for name in MEASURES}
    for k in range(int(train.targets.max()) + 1):
        values = unusual(train.of(train.targets != k), test.features)
        for name, one in values.items():
            areas[name].append(area(one[test.targets != k], one[test.targets == k]))
    return areas


def rejected(train: Side, test: Side, measure: str, rate: float) -> float:
    """Return the share of known test images that are rejected at a rate."""
    names = [str(k) for k in range(int(train.targets.max()) + 1)]
    trainer = Trainer(Recipe(), train.features, train.targets, names)
    wish = ProbabilitySettings(reject=rate, reject_by=measure, unlike=False)
    found = fit_certainty(trainer, train.features, train.targets, names, wish)
    shares = found.probabilities(decision(trainer.head, test.features))
    unknown = found.verdicts(shares, test.features).unknown
    return 0.0 if unknown is None else float(unknown.mean())


def main() -> None:
    """Measure and print."""
    parser = Parser(__doc__)
    parser.add_argument("--data", type=existing, help="a folder of labelled images")
    data = parser.parse_args().data
    train, test = digits() if data is None else images(data)
    name = "digits" if data is None else data.name
    print(heading(f"Classes left out, and known images rejected: {name}, efficientnet_lite0"))
    print(f"\n{len(train.targets):,} images to train, {len(test.targets):,} to test\n")
    print("| measure | AUROC, mean | least | most | rejected at 5 % | at 1 % |")
    print("|---|---:|---:|---:|---:|---:|")
    for measure, areas in left_out(train, test).items():
        shares = [f"{100 * rejected(train, test, measure, rate):.2f} %" for rate in (0.05, 0.01)]
        figures = [f"{value:.3f}" for value in (np.mean(areas), min(areas), max(areas))]
        print("| " + " | ".join([measure, *figures, *shares]) + " |")


if __name__ == "__main__":
    main()
