"""Convolutions and inputs that the tests of `engine.winograd` make up."""

from __future__ import annotations

import numpy as np

from offshelf.engine.openvino_engine.winograd.chain import Chain
from offshelf.engine.openvino_engine.winograd.convolution import Convolution


def made(channels: int, depth: int, relu: bool = True, pool: bool = False) -> Convolution:
    """Return a convolution whose results are about as large as its input."""
    draw = np.random.default_rng(channels * depth)
    scale = np.sqrt(2 / (9 * depth))
    weights = draw.normal(size=(channels, depth, 3, 3)).astype(np.float32) * np.float32(scale)
    return Convolution(weights, draw.normal(size=channels).astype(np.float32), relu, pool)


def images(count: int, height: int, width: int, channels: int) -> np.ndarray:
    """Return normal numbers, channels last."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(count, height, width, channels)).astype(np.float32)


def run(steps: list[Convolution], x: np.ndarray) -> np.ndarray:
    """Return what a chain of *steps* makes of *x*."""
    chain = Chain(steps, *x.shape[1:3])
    out = np.full((len(x), *chain.shape), np.nan, np.float32)
    chain.run(x, out)
    return out
