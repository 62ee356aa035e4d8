"""A network in training mode, to show why features need evaluation mode.

In training mode batch normalisation uses the statistics of whatever is in the batch and
moves its running averages, and dropout drops at random; an extractor left in that mode
gives another vector for the same image each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.engine.contract import Tap
from offshelf.errors import EngineError

if TYPE_CHECKING:
    from offshelf.engine.torch_engine.tapped_network import TappedNetwork

ALONE, TOGETHER, AFTER = "alone", "in a batch", "evaluation after"
PASSES, BATCH = 3, 8
Outputs = dict[str, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class ModeDependentLayers:
    """Counts of the layers that behave differently in training mode.

    Attributes:
        normalisations: batch normalisations.
        dropouts: dropouts that drop something.
    """

    normalisations: int
    dropouts: int


class TrainingMode:
    """A backbone that can be run in training and in evaluation mode, on the CPU with torch.

    Raises:
        LayerError: the weights do not reach the tap.
    """

    def __init__(self, backbone: Backbone, tap: Tap) -> None:
        from offshelf.engine.torch_engine.tapped_network import TappedNetwork

        self._network: TappedNetwork = TappedNetwork(backbone, [tap])
        self._kept = {name: value.clone() for name, value in self._network.named_buffers()}

    @property
    def mode_dependent(self) -> ModeDependentLayers:
        """Which layers make the difference."""
        from torch import nn

        parts = list(self._network.modules())
        shares = [getattr(part, "p", getattr(part, "drop_prob", 0)) for part in parts]
        return ModeDependentLayers(
            sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts),
            sum(isinstance(share, float) and share > 0 for share in shares),
        )

    def reset(self) -> None:
        """Put back the running averages that training passes have moved."""
        for name, value in self._network.named_buffers():
            value.copy_(self._kept[name])

    def run(
        self, pixels: NDArray[np.uint8], *, training: bool, seed: int = 0
    ) -> NDArray[np.float32]:
        """Return the output for a batch, float32, N x K.

        Args:
            pixels: uint8, N x S x S x 3.
            training: the mode.
            seed: of what dropout drops.

        Raises:
            EngineError: batch normalisation cannot take statistics of so few values.
        """
        import torch

        self._network.train(training)
        try:
            with torch.no_grad(), one_thread(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                (output,) = self._network(torch.from_numpy(np.array(pixels)))
        except ValueError as error:
            raise EngineError(
                "an image alone cannot be run in training mode: batch normalisation needs more "
                "than one value of each channel"
            ) from error
        finally:
            self._network.eval()
        return output.float().flatten(1).numpy().copy()  # type: ignore[no-any-return]


def training_outputs(
    pixels: Mapping[int, NDArray[np.uint8]], backbone: Backbone, tap: Tap, seed: int = 0
) -> tuple[dict[int, Outputs], tuple[str, ...]]:
    """Return what each image gives in training mode, alone and in batches, and notes.

    Args:
        pixels: by row, what the network sees of an image, uint8, S x S x 3.
        backbone: the network.
        tap: where the output is taken.
        seed: of dropout and of the random crops in a batch.

    Returns:
        By row: three vectors ``alone`` (none where the network cannot be run so), three
        ``in a batch`` and one ``evaluation after``; and lines that hold for all images.
    """
    network = TrainingMode(backbone, tap)
    parts = network.mode_dependent
    notes = [
        f"training mode: {parts.normalisations} batch normalisations use the statistics of the "
        f"batch, {parts.dropouts} dropouts drop at random; '{TOGETHER}' is the image among "
        f"{BATCH - 1} random crops, others each time; '{AFTER}' is evaluation mode once more, "
        "with the running averages that the training passes have moved"
    ]
    found: dict[int, Outputs] = {}
    for row, image in pixels.items():
        network.reset()
        try:
            alone = _passes(network, [image[None]] * PASSES, seed)
        except EngineError as error:
            alone, note = [], str(error)
            notes += [note] if note not in notes else []
        network.reset()
        batches = [
            np.stack([image, *random_crops(list(pixels.values()), BATCH - 1, seed + number)])
            for number in range(PASSES)
        ]
        together = _passes(network, batches, seed)
        after = network.run(image[None], training=False)[0]
        found[row] = {ALONE: alone, TOGETHER: together, AFTER: [after]}
    return found, tuple(notes)


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
    network: TrainingMode, batches: Sequence[NDArray[np.uint8]], seed: int
) -> list[NDArray[np.float32]]:
    return [
        network.run(batch, training=True, seed=seed + number)[0]
        for number, batch in enumerate(batches, 1)
    ]
