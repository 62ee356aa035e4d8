"""Class probabilities of one image, in evaluation and in training mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.catalogue.imagenet import class_names
from offshelf.engine.contract import Tap
from offshelf.engine.torch_engine.training_mode import TrainingMode
from offshelf.errors import DataError, EngineError
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import spelled

NORMAL = "evaluation"
PLAIN = "not normalised"


@dataclass(frozen=True)
class Guess:
    """One class of an answer.

    Attributes:
        label: the name of the class.
        index: its number, 0 to 999.
        probability: softmax of the logits.
        logit: the network's output for it.
    """

    label: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no answer.
        reason: the same in a sentence.
        logits: float32 vectors of 1,000 values, by how the network was run; the proper
            way, ``evaluation``, is always there when the status is ``ok``.
    """

    path: str
    status: str
    reason: str
    logits: Mapping[str, NDArray[np.float32]]

    def best(self, count: int = 5, view: str = NORMAL) -> tuple[Guess, ...]:
        """Return the *count* most probable classes, the best first; () without an answer."""
        if view not in self.logits:
            return ()
        logits, names = self.logits[view], class_names()
        shares = softmax(logits)
        return tuple(
            Guess(names[k], int(k), float(shares[k]), float(logits[k]))
            for k in ranking(logits)[:count]
        )

    def table(self, count: int = 5) -> Table:
        """Return the best classes of every way of running the network, side by side."""
        chosen = dict.fromkeys(int(k) for k in ranking(self.logits[NORMAL])[:count])
        for view, logits in self.logits.items():
            # Of the other ways: all of one, only the first of many.
            chosen |= dict.fromkeys(ranking(logits)[: count if view == PLAIN else 1].tolist())
        shares = {view: softmax(logits) for view, logits in self.logits.items()}
        rows = tuple(_row(k, list(shares.values())) for k in chosen)
        columns = (Column("class"), *(Column(view, "percent") for view in shares))
        return Table(self.path, columns, rows)

    def changes(self) -> tuple[str, ...]:
        """Return one line for each other way of running the network: what it changed."""
        groups: dict[str, list[str]] = {}
        for view in self.logits:
            if view != NORMAL:
                groups.setdefault(view.rstrip(" 123456789"), []).append(view)
        lines = []
        for name, views in groups.items():
            lines.append(f"{name}: {_against(self, views[0])}")
            if len(views) > 1:
                moved = spread(softmax(self.logits[view]) for view in views)
                text = f"differ by up to {format_cell(moved, 'percent')}" if moved else "agree"
                lines[-1] += f"; its {len(views)} passes {text}"
        return tuple(lines)

    def to_json(self, count: int = 5) -> dict[str, Any]:
        """Return the best classes of every way as JSON values."""
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "top": [dataclasses.asdict(guess) for guess in self.best(count)],
            "views": {
                view: [dataclasses.asdict(guess) for guess in self.best(count, view)]
                for view in self.logits
                if view != NORMAL
            },
            "changes": list(self.changes()),
        }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities in float64 that sum to one, along the last axis.

    >>> softmax(np.array([1000.0, 1000.0], np.float32))
    array([0.5, 0.5])
    """
    exact = np.asarray(logits, np.float64)
    powers = np.exp(exact - exact.max(-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return shares


def ranking(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return class numbers, the best first; equal ones in their order."""
    return np.argsort(-logits, kind="stable")


def spread(answers: Iterable[NDArray[np.float64]]) -> float:
    """Return by how much the probability of one class differs between answers at most.

    >>> spread([np.array([0.25, 0.75]), np.array([0.5, 0.5])])
    0.25
    """
    return float(np.ptp(np.stack(list(answers)), axis=0).max())


def _row(index: int, shares: list[NDArray[np.float64]]) -> tuple[Cell, ...]:
    return (class_names()[index], *(float(share[index]) for share in shares))


def _against(answer: Answer, view: str) -> str:
    before, after = answer.best(5), answer.best(5, view)
    kept = len({guess.index for guess in before} & {guess.index for guess in after})
    moved = np.abs(softmax(answer.logits[NORMAL]) - softmax(answer.logits[view])).sum() / 2
    first = [
        f"{one.label} ({format_cell(one.probability, 'percent')})" for one in (before[0], after[0])
    ]
    same = before[0].index == after[0].index
    top = f"still {first[1]}, was {first[0]}" if same else f"{first[1]} instead of {first[0]}"
    return (
        f"{top}; {kept} of the 5 best stay; "
        f"{format_cell(float(moved), 'percent')} of the probability has moved"
    )


PASSES = 3
BATCH = 8
MAX_IMAGES = 16
AFTER = "evaluation after"
Views = dict[str, NDArray[np.float32]]


def require_few(images: int) -> None:
    """Check that these are not more images than a person would compare.

    Raises:
        DataError: they are.
    """
    if images > MAX_IMAGES:
        raise DataError(
            f"{images} images: training mode is shown for at most {MAX_IMAGES}; name fewer"
        )


def training_views(
    pixels: Mapping[int, NDArray[np.uint8]], backbone: Backbone, tap: Tap, seed: int = 0
) -> tuple[dict[int, Views], tuple[str, ...]]:
    """Return what each image gives in training mode, alone and in batches, and notes.

    Args:
        pixels: by row, what the network sees of an image, uint8, S x S x 3.
        backbone: the network.
        tap: where the output is taken.
        seed: of dropout and of the random crops in a batch.

    Returns:
        By row: ``alone 1`` to ``3``, ``in a batch 1`` to ``3`` and ``evaluation after``,
        each a vector; and lines that hold for all images.

    """
    network = TrainingMode(backbone, tap)
    notes = [_explained(network)]
    views: dict[int, Views] = {}
    for row, image in pixels.items():
        network.reset()
        try:
            alone = _passes("alone", network, [image[None]] * PASSES, seed)
        except EngineError as error:
            alone, note = {}, str(error)
            notes += [note] if note not in notes else []
        network.reset()
        batches = [
            np.stack([image, *random_crops(list(pixels.values()), BATCH - 1, seed + number)])
            for number in range(PASSES)
        ]
        together = _passes("in a batch", network, batches, seed)
        views[row] = {**alone, **together, AFTER: network.run(image[None], training=False)[0]}
    return views, tuple(notes)


def random_crops(
    pixels: Sequence[NDArray[np.uint8]], count: int, seed: int
) -> list[NDArray[np.uint8]]:
    """Return random crops of the given images, as training would put them into a batch.

    >>> [one.shape for one in random_crops([np.zeros((8, 8, 3), np.uint8)], 2, 0)]
    [(8, 8, 3), (8, 8, 3)]
    """
    draw, crops = np.random.default_rng(seed), []
    for _ in range(count):
        image = pixels[int(draw.integers(len(pixels)))]
        full = image.shape[0]
        side = int(draw.integers(max(1, full // 2), full + 1))
        top, left = draw.integers(0, full - side + 1, 2)
        window = image[top : top + side, left : left + side][:, :: int(draw.choice((-1, 1)))]
        picture = Image.fromarray(np.ascontiguousarray(window))
        crops.append(np.asarray(picture.resize((full, full), Image.Resampling.BILINEAR)))
    return crops


def _passes(
    name: str, network: TrainingMode, batches: Sequence[NDArray[np.uint8]], seed: int
) -> Views:
    return {
        f"{name} {number}": network.run(batch, training=True, seed=seed + number)[0]
        for number, batch in enumerate(batches, 1)
    }


def _explained(network: TrainingMode) -> str:
    parts = network.mode_dependent
    return (
        f"training mode: {parts.normalisations} batch normalisations use the statistics of the "
        f"batch, {parts.dropouts} dropouts drop at random; 'in a batch' is the image among "
        f"{BATCH - 1} random crops, others each time; '{AFTER}' is evaluation mode once more, "
        "with the running averages that the training passes have moved"
    )
