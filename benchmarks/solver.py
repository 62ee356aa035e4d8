"""The linear heads against scikit-learn's, on the same features, in turn in one run.

One fit of the SVM against `LinearSVC`; the path over 7 values of C from 0.01 to 100 with 5
folds and a refit against `GridSearchCV(LinearSVC)` on two processes; ridge with the C chosen by
leaving out each row against `RidgeClassifierCV`. Every side gets the raw float32 features and
normalises them itself. Features are generated, or the training rows of a Parquet file that
`offshelf extract` wrote.

    python benchmarks/solver.py
    python benchmarks/solver.py --features vgg16.parquet
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arguments import Parser, existing, positive

CS = tuple(float(c) for c in np.logspace(-2, 2, 7))
CLASSES, LATENT, PROCESSES, FOLDS = 15, 60, 2, 5
PARTS = ("fit", "path", "ridge")


@dataclass(frozen=True)
class Data:
    """Training rows and, to compare labels on, test rows."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    test: NDArray[np.float32]

    @property
    def classes(self) -> list[str]:
        """One name for each class."""
        return [str(name) for name in range(int(self.targets.max()) + 1)]


def generated(rows: int, dimension: int, seed: int = 0) -> Data:
    """Return rectified mixtures of a few causes in 15 clusters, as a network's features are."""
    draw = np.random.default_rng(seed)
    targets = np.arange(2 * rows) % CLASSES
    causes = draw.standard_normal((CLASSES, LATENT))[targets]
    causes += 2.0 * draw.standard_normal(causes.shape)
    mixed = causes @ draw.standard_normal((LATENT, dimension)) / np.sqrt(LATENT)
    noise = 0.5 * draw.standard_normal(mixed.shape, np.float32)
    features = np.maximum(0, mixed + noise - 0.5).astype(np.float32)
    return Data(features[:rows], targets[:rows], features[rows:])


def read(path: Path, column: str | None) -> Data:
    """Return the rows of a Parquet file with `label`, perhaps `split`, and a list column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    kinds = pa.types.is_fixed_size_list, pa.types.is_list
    lists = [field.name for field in table.schema if any(is_kind(field.type) for is_kind in kinds)]
    whole = table.column(column or lists[0]).combine_chunks()
    kept = np.asarray(whole.is_valid())
    features = np.stack(whole.drop_null().to_numpy(zero_copy_only=False)).astype(np.float32)
    labels = np.array(table.column("label").to_pylist(), dtype=str)[kept]
    targets = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    split = (
        np.array(table.column("split").to_pylist())[kept] if "split" in table.schema.names else ""
    )
    train = split != "test" if len(np.unique(split)) > 1 else np.ones(len(targets), dtype=bool)
    return Data(features[train], targets[train], features[~train] if (~train).any() else features)


@dataclass(frozen=True)
class Side:
    """One way to do a part: what to time, and what its result says of other rows."""

    work: Callable[[], Any]
    scores: Callable[[Any, NDArray[np.float32]], NDArray[Any]]
    chosen: Callable[[Any], float]


def ours(part: str, data: Data) -> Side:
    """Return offshelf's side of *part*."""
    from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head

    given = data.features, data.targets, data.classes
    kind, c = {"fit": ("svm", 1.0), "path": ("svm", "auto"), "ridge": ("ridge", "auto")}[part]
    return Side(
        lambda: fit_head(Recipe(kind=kind, c=c), *given),
        decision,
        lambda head: head.parameters["C"],
    )


def theirs(part: str, data: Data) -> Side:
    """Return scikit-learn's side of *part*."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import LinearSVC

    svm = make_pipeline(Normalizer(), LinearSVC(random_state=0))
    grid = {"linearsvc__C": CS}
    ridge = make_pipeline(Normalizer(), RidgeClassifierCV([1 / (2 * c) for c in CS]))
    model, chosen = {
        "fit": (svm, lambda _: 1.0),
        "path": (
            GridSearchCV(svm, grid, cv=FOLDS, n_jobs=PROCESSES),
            lambda found: found.best_params_["linearsvc__C"],
        ),
        "ridge": (ridge, lambda found: 1 / (2 * found[-1].alpha_)),
    }[part]
    return Side(
        lambda: model.fit(data.features, data.targets),
        lambda found, rows: found.decision_function(rows),
        chosen,
    )


def compare(part: str, data: Data, repeat: int) -> str:
    """Run both sides in turn and return a row of the table."""
    seconds: tuple[list[float], list[float]] = ([], [])
    sides, results = (ours(part, data), theirs(part, data)), [None, None]
    for _ in range(repeat):
        for number, side in enumerate(sides):
            start = time.perf_counter()
            results[number] = side.work()
            seconds[number].append(time.perf_counter() - start)
    mine, other = (statistics.median(values) for values in seconds)
    ratios = [theirs / ours for ours, theirs in zip(*seconds, strict=True)]
    scores = [side.scores(result, data.test) for side, result in zip(sides, results, strict=True)]
    same = (scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).mean()
    cs = [side.chosen(result) for side, result in zip(sides, results, strict=True)]
    size = " x ".join(f"{value:,}" for value in data.features.shape)
    return (
        f"| {part} | {size} | {mine:.3f} | {other:.3f} | {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}) | {cs[0]:.3g}, {cs[1]:.3g} | {same:.2%} | "
        f"{np.abs(scores[0] - scores[1]).max():.1e} |"
    )


def main() -> None:
    """Print one row for every part and size."""
    from measure import heading

    parser = Parser(__doc__)
    parser.add_argument("--features", type=existing, help="Parquet file; else features are made up")
    parser.add_argument("--column", help="its column of features; else the first")
    parser.add_argument("--rows", type=positive, default=1500, help=" ")
    parser.add_argument("--dimensions", type=positive, nargs="+", default=(1280, 25_088), help=" ")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help=" ")
    parser.add_argument("--repeat", type=positive, default=3, help=" ")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="Liblinear failed to converge")
    print(heading("Linear solver"))
    print("| part | rows x dimensions | offshelf s | scikit-learn s | ratio (range) ", end="")
    print("| C of each | same labels | largest score difference |")
    print("|---|---|---:|---:|---:|---|---:|---:|")
    made = (generated(asked.rows, dimension) for dimension in asked.dimensions)
    for data in [read(asked.features, asked.column)] if asked.features else made:
        # The first call of a process pays for imports; both sides do so here.
        classes = range(len(data.classes))
        few = np.concatenate([np.flatnonzero(data.targets == each)[:20] for each in classes])
        small = Data(data.features[few, :8], data.targets[few], data.test[:9, :8])
        for part in asked.parts:
            compare(part, small, 1)
            print(compare(part, data, asked.repeat), flush=True)


if __name__ == "__main__":
    main()
