"""The same images through a network that was left in training mode, several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import Tap
from offshelf.engine.torch_engine.training_mode import TrainingMode
from offshelf.errors import DataError, EngineError

PASSES = 3
BATCH = 8
MOST_IMAGES = 16
AFTER = "evaluation after"
Views = dict[str, NDArray[np.float32]]


def require_few(images: int) -> None:
    """Check that these are not more images than a person would compare.

    Raises:
        DataError: they are.
    """
    if images > MOST_IMAGES:
        raise DataError(
            f"{images} images: training mode is shown for at most {MOST_IMAGES}; name fewer"
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
