"""Conversion of a tapped torch network to an OpenVINO graph."""

from __future__ import annotations

import warnings
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.engine.contract import Tap
from offshelf.engine.openvino_runtime import ROWS, import_openvino
from offshelf.interrupt import deferring_signals


def convert(backbone: Backbone, taps: tuple[Tap, ...]) -> Any:
    """Return the tapped network as a graph with the fixed shape 2 x S x S x 3, uint8.

    Its outputs are float32, one for each tap, in their order.

    Raises:
        LayerError: a tap is no layer, or the weights do not reach it.
        WeightsError: the weights file does not fit.
    """
    import torch

    from offshelf.engine.torch_engine.tapped_network import TappedNetwork

    openvino = import_openvino()
    network = TappedNetwork(backbone, taps)
    size = backbone.input.size
    example = torch.zeros((ROWS, size, size, 3), dtype=torch.uint8)
    quiet = warnings.catch_warnings()
    with deferring_signals(), torch.inference_mode(), one_thread(), quiet:
        # OpenVINO traces by torch.jit, which torch calls deprecated; and what it warns to take
        # for a constant is one, as all shapes here are fixed.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        # Tracing would run the network three more times to check itself.
        decoder = TorchScriptPythonDecoder(
            network, example_input=example, trace_kwargs={"check_trace": False}
        )
        shape = openvino.PartialShape(list(example.shape))
        return openvino.convert_model(decoder, input=[(shape, openvino.Type.u8)])
