"""int8 networks: post-training quantisation, calibrated on the user's own images."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine.int8_winograd import int8_method, with_ranges
from offshelf.engine.openvino_engine.winograd.rewrite import read_ranges
from offshelf.engine.openvino_runtime import (
    ROWS,
    graph_from_bytes,
    import_openvino,
    without_telemetry,
)
from offshelf.engine.processor import adds_bytes_exactly
from offshelf.errors import EngineError

TRANSFORMERS = ("vit", "swin", "deit", "dinov", "beit", "eva")


def quantised(backbone: Backbone, options: EngineOptions, exact: Callable[[], Any]) -> Any:
    """Return the int8 graph of a tapped network.

    Weights and activations are quantised with ranges measured on the calibration images.
    VGG gets ranges for Winograd's filtering where the processor is fastest so, all others
    NNCF's quantisation with its fast bias correction. Weights have 8 bits where sums of their
    products are exact, and 7 on processors that would cut them off; a network from a model file
    is brought to weights that this processor adds exactly.

    Raises:
        EngineError: the calibration has neither images nor a finished network, or NNCF
            is not installed.
    """
    calibration = options.calibration
    if calibration is not None and calibration.network is not None:
        return _from_file(*calibration.network)
    if calibration is None or calibration.pixels is None:
        raise EngineError("precision int8 needs a sample of images to calibrate on")
    chained = int8_method(backbone.spec.architecture) == "winograd"
    if not chained:
        _check_nncf()
    model = exact()
    model = _smaller(model) if chained else model
    pixels = calibration.pixels()
    if not len(pixels):
        raise EngineError("precision int8: none of the images to calibrate on can be used")
    if chained:
        return with_ranges(model, pixels, options.threads)
    return _by_nncf(backbone, model, pixels)


def uncalibrated(backbone: Backbone, model: Any, threads: int | None) -> Any:
    """Return an int8 graph that is as fast as a calibrated one, with the ranges of noise.

    Raises:
        EngineError: NNCF is not installed.
    """
    size = backbone.input.size
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, size, size, 3)).astype(np.uint8)
    if int8_method(backbone.spec.architecture) == "winograd":
        return with_ranges(_smaller(model), noise, threads)
    _check_nncf()
    return _by_nncf(backbone, model, noise, uncalibrated=True)


def _by_nncf(
    backbone: Backbone, model: Any, pixels: NDArray[np.uint8], uncalibrated: bool = False
) -> Any:
    full = np.resize(pixels, (-(-len(pixels) // ROWS) * ROWS, *pixels.shape[1:]))
    batches = list(full.reshape(-1, ROWS, *pixels.shape[1:]))
    with _quiet_nncf() as nncf:
        fix = nncf.OverflowFix.FIRST_LAYER if adds_bytes_exactly() else nncf.OverflowFix.ENABLE
        transformer = any(word in backbone.spec.architecture for word in TRANSFORMERS)
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=fix, disable_bias_correction=uncalibrated
            ),
        )


def _smaller(model: Any) -> Any:
    """Return *model* with the weights of its fully connected layers in 8 bits.

    They are read once for a batch: their size decides their time.
    """
    kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    if "MatMul" not in kinds.values():
        return model
    _check_nncf()
    with _quiet_nncf() as nncf:
        convolutions = [name for name, kind in kinds.items() if kind.endswith("Convolution")]
        return nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT8_ASYM,
            ignored_scope=nncf.IgnoredScope(names=convolutions),
        )


def has_nncf() -> bool:
    """Return whether NNCF is installed; it is not imported, which takes seconds."""
    return importlib.util.find_spec("nncf") is not None


def _check_nncf() -> None:
    if not has_nncf():
        raise EngineError(
            "precision int8 needs nncf, a part of every installation that is missing here: "
            "pip install nncf"
        )


def _from_file(xml: bytes, weights: bytes) -> Any:
    try:
        model = graph_from_bytes(xml, weights)
        ours = read_ranges(model)
    except (RuntimeError, ValueError) as error:
        raise EngineError("the int8 network in the model file cannot be read") from error
    return model if ours or adds_bytes_exactly() else without_overflow(model)


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """NNCF without bars, chatter and usage reports; errors of its logger are kept."""
    with contextlib.redirect_stdout(None), without_telemetry():
        kind = logging.getLoggerClass()
        try:
            import nncf  # which makes its own kind of logger that of everybody
        except ImportError as error:
            reason = " ".join(str(error).split())
            raise EngineError(
                f"precision int8 needs nncf, which cannot be imported here ({reason}): "
                "pip install --force-reinstall nncf"
            ) from error
        finally:
            logging.setLoggerClass(kind)
        logger = logging.getLogger("nncf")
        before = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield nncf
        finally:
            logger.setLevel(before)


# 255 x 128 = 32640 is below 2^15.
MAX_PAIR = 128
_KINDS = frozenset({"Convolution", "GroupConvolution", "MatMul"})


def without_overflow(model: Any) -> Any:
    """Return an int8 *model* whose sums a processor without VNNI adds exactly; changed in place.

    Such a processor multiplies bytes of 0..255 by weights and adds two neighbouring products into
    16 bits with a sign. The sum is cut off beyond 32767, so the sizes of two neighbouring weights
    may come to 128 and no more. Each output channel is rounded again as much as its largest pair
    asks for.
    """
    for op in model.get_ops():
        if op.get_type_name() in _KINDS:
            _requantise(op)
    return model


def channel_factors(weights: NDArray[np.int8], outputs: int) -> NDArray[np.float32]:
    """Return the factor that makes all pairs of an output channel fit, 1 where they do.

    Args:
        weights: the axes of outputs first, that of inputs next.
        outputs: how many axes count output channels.

    >>> channel_factors(np.array([[100, -60, 3], [64, 64, 0]], np.int8), 1).ravel().tolist()
    [0.800000011920929, 1.0]
    """
    sizes = np.abs(weights.astype(np.int16))
    odd = [(0, sizes.shape[axis] % 2 if axis == outputs else 0) for axis in range(sizes.ndim)]
    even = np.moveaxis(np.pad(sizes, odd), outputs, -1)
    pairs = even.reshape(*even.shape[:-1], -1, 2).sum(-1)
    largest = pairs.reshape(*weights.shape[:outputs], -1).max(-1)
    found: NDArray[np.float32] = np.minimum(1, MAX_PAIR / np.maximum(largest, 1, dtype=np.float32))
    return found.reshape(*found.shape, *[1] * (weights.ndim - outputs))


def scaled_weights(weights: NDArray[np.int8], share: NDArray[np.float32], outputs: int) -> Any:
    """Return *weights* times *share* in whole numbers whose pairs fit."""
    # Both of a pair can be rounded up: then the sum is one too much.
    product = np.rint(weights * share)
    over = channel_factors(product.astype(np.int8), outputs) < 1
    return np.where(over, np.trunc(weights * share), product).astype(np.int8)


def _requantise(op: Any) -> None:
    found = _quantised(op)
    if found is None:
        return
    convert, multiply, transposed = found
    constant = convert.input(0).get_source_output().get_node()
    scale = multiply.input(1).get_source_output().get_node()
    weights = _transposed(constant.data, transposed)
    outputs = {"Convolution": 1, "GroupConvolution": 2}.get(op.get_type_name(), weights.ndim - 1)
    share = channel_factors(weights, outputs)
    if (share == 1).all():
        return
    opset13 = import_openvino().opset13
    smaller = np.ascontiguousarray(_transposed(scaled_weights(weights, share, outputs), transposed))
    unit = (scale.data / _transposed(share, transposed)).astype(np.float32)
    convert.input(0).replace_source_output(opset13.constant(smaller, dtype=np.int8).output(0))
    multiply.input(1).replace_source_output(opset13.constant(unit).output(0))


def _quantised(op: Any) -> tuple[Any, Any, bool] | None:
    """Return the nodes that make whole numbers weights, and whether inputs are the first axis.

    None where the second input of *op* is no weight of 8 bits.
    """
    multiply = op.input(1).get_source_output().get_node()
    if multiply.get_type_name() != "Multiply":
        return None
    convert = multiply.input(0).get_source_output().get_node()
    if convert.get_type_name() != "Convert":
        return None
    constant = convert.input(0).get_source_output().get_node()
    if constant.get_type_name() != "Constant" or constant.get_element_type().to_string() != "i8":
        return None
    transposed = op.get_type_name() == "MatMul" and not op.get_attributes()["transpose_b"]
    return convert, multiply, transposed


def _transposed(values: NDArray[Any], transposed: bool) -> NDArray[Any]:
    return values.swapaxes(-1, -2) if transposed else values
