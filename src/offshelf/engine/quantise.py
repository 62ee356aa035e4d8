"""int8 networks: post-training quantisation by NNCF, calibrated on the user's own images."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from offshelf.backbones.backbone import Backbone
from offshelf.engine.base import EngineOptions, Tap
from offshelf.engine.graph import ROWS, convert, graph_from_bytes, import_openvino
from offshelf.errors import EngineError, MissingExtraError

TRANSFORMERS = ("vit", "swin", "deit", "dinov", "beit", "eva")


def quantised(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Any:
    """Return the int8 graph of a tapped network.

    Weights and activations are quantised with ranges measured on the calibration images;
    NNCF's fast bias correction is applied.

    Raises:
        EngineError: the calibration has neither images nor a finished network.
        MissingExtraError: NNCF is not installed.
    """
    calibration = options.calibration
    if calibration is not None and calibration.network is not None:
        return _from_file(*calibration.network)
    if calibration is None or calibration.pixels is None:
        raise EngineError("precision int8 needs a sample of images to calibrate on")
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtraError("precision int8", "int8")
    pixels = calibration.pixels()
    if not len(pixels):
        raise EngineError("precision int8: none of the images to calibrate on can be used")
    full = np.resize(pixels, (-(-len(pixels) // ROWS) * ROWS, *pixels.shape[1:]))
    batches = list(full.reshape(-1, ROWS, *pixels.shape[1:]))
    import_openvino()
    with _quiet_nncf():
        import nncf

        transformer = any(word in backbone.spec.architecture for word in TRANSFORMERS)
        return nncf.quantize(
            convert(backbone, taps),
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        )


def _from_file(xml: bytes, weights: bytes) -> Any:
    try:
        return graph_from_bytes(xml, weights)
    except RuntimeError as error:
        raise EngineError("the int8 network in the model file cannot be read") from error


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """No bars and no chatter on stdout; warnings of NNCF's logger are kept."""
    with contextlib.redirect_stdout(None):
        logging.getLogger("nncf").setLevel(logging.ERROR)
        yield
