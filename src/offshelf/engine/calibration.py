"""The calibration of int8: a sample of images, or a network calibrated before.

An int8 network depends on the images that set its ranges. The digest of the sample is
therefore part of every key: features, compiled networks and model files of another
sample never mix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# With 300 features came no nearer to fp32 (cosine 0.987), and took twice as long.
MAX_IMAGES = 100


@dataclass(frozen=True, eq=False)
class Calibration:
    """The sample that sets the ranges of an int8 network.

    Attributes:
        digest: sha256 over the sample, 64 hexadecimal digits.
        pixels: returns the sample as the network sees it, uint8, N x S x S x 3; None
            when *network* is given.
        network: the finished int8 network as OpenVINO's XML and weights, from a model
            file; None to make it from *pixels*.
    """

    digest: str
    pixels: Callable[[], NDArray[np.uint8]] | None = None
    network: tuple[bytes, bytes] | None = None
