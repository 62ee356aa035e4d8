"""OpenVINO graphs of tapped networks: converted once and kept on disk.

A second start needs no torch.
"""

from __future__ import annotations

import contextlib
import shutil
import warnings
from pathlib import Path
from typing import Any

from offshelf import cache, files, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.cache import Usage
from offshelf.engine.contract import Calibration, EngineOptions, Tap
from offshelf.engine.openvino_engine.int8 import quantised
from offshelf.engine.openvino_runtime import (
    PARTS,
    ROWS,
    VERSION,
    graph_bytes,
    import_openvino,
    the_core,
)
from offshelf.errors import EngineError
from offshelf.interrupt import deferring_signals
from offshelf.locks import alone
from offshelf.progress import notify

KEY = "key.json"


def graph_folder(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Path:
    """Return where the graph is kept: weights, preprocessing, taps, precision, version."""
    key = _key(backbone, taps, options)
    return cache.compiled_folder(options.cache_dir) / files.sha256_json(key)[:32]


def load_graph(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Any:
    """Return the graph from disk, or convert the network and keep it.

    A graph that was damaged on disk is made again; of several processes one makes it. The graph
    of a model file is used but not kept: it is not trusted.

    Raises:
        LayerError: a tap is no layer, or the weights do not reach it.
        WeightsError: the weights file does not fit.
    """
    if options.precision == "int8" and options.calibration and options.calibration.network:
        return _made(backbone, taps, options)
    key = _key(backbone, taps, options)
    folder = graph_folder(backbone, taps, options)
    # What is set aside as damaged is said already.
    new = not folder.exists()
    kept = read_graph(folder, key)
    if kept is not None:
        return kept
    with alone(folder):
        # Another process may have made it in the meantime.
        kept = read_graph(folder, key)
        if kept is not None:
            return kept
        if new and options.precision != "int8":
            notify(
                f"first run with {backbone.spec.name} and these layers: the network is converted, "
                "some seconds, once"
            )
        model = _made(backbone, taps, options)
        # A graph read back owns its numbers, a converted one borrows torch's: so the first run
        # computes with the same memory as every later one.
        return keep_graph(model, folder, key) or model


def _made(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Any:
    if options.precision == "int8":
        return quantised(backbone, options, lambda: load_graph(backbone, taps, options.in_fp32()))
    return convert(backbone, taps)


def read_graph(folder: Path, key: dict[str, Any]) -> Any:
    """Return the graph of *key* in *folder*, None where there is none.

    One that is damaged, or another's, is set aside with its folder.
    """
    if not folder.is_dir():
        return None
    with contextlib.closing(Usage(folder)):
        damaged = _damaged(folder, key)
        if damaged:
            sealed_json.set_aside(folder, "the network is converted again", f"{damaged} is damaged")
            return None
        return the_core().read_model(folder / PARTS[0])


def _damaged(folder: Path, key: dict[str, Any]) -> str:
    """Return the name of the first file that is not what was written, "" where all are."""
    kept = sealed_json.sealed(folder / KEY)
    if kept is None or files.sha256_json(kept.get("key")) != files.sha256_json(key):
        return KEY
    hashes = kept.get("sha256")
    for name in PARTS:
        try:
            # A pipe would be waited for.
            if not isinstance(hashes, dict) or not (folder / name).is_file():
                return name
            if files.sha256_file(folder / name) != hashes[name]:
                return name
        except (OSError, KeyError):
            return name
    return ""


def is_current(folder: Path) -> bool:
    """Return whether the graph in *folder* is of this version, so that it may be read again."""
    kept = sealed_json.sealed(folder / KEY)
    key = kept.get("key") if kept else None
    own = {"graph": VERSION, "openvino": import_openvino().get_version()}
    return isinstance(key, dict) and own.items() <= key.items()


def keep_graph(model: Any, folder: Path, key: dict[str, Any]) -> Any:
    """Write the graph to *folder*, whole or not at all, and return it as it stands there.

    None where it cannot be kept: a full disk is no error.
    """
    try:
        with files.temporary_folder(folder.parent) as place:
            whole = place / folder.name
            whole.mkdir()
            import_openvino().save_model(model, whole / PARTS[0], compress_to_fp16=False)
            hashes = {name: files.sha256_file(whole / name) for name in PARTS}
            sealed_json.write(whole / KEY, {"key": key, "sha256": hashes})
            if folder.exists():
                shutil.rmtree(folder)
            whole.rename(folder)
            Usage(folder).close()
        return the_core().read_model(folder / PARTS[0])
    except (OSError, RuntimeError):
        # Another process was first, or the disk is full: the graph in memory is used.
        return None


def finished(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Calibration:
    """Return the calibration of *options* with its int8 network, for a model file.

    Raises:
        EngineError: *options* are not of int8.
    """
    if options.calibration is None:
        raise EngineError("only int8 has a calibrated network to keep")
    network = graph_bytes(load_graph(backbone, taps, options))
    return Calibration(options.calibration.digest, network=network)


def _key(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> dict[str, Any]:
    return {
        "graph": VERSION,
        "backbone": backbone.identity(),
        "taps": [[tap.path, tap.pooling] for tap in taps],
        "precision": "int8" if options.precision == "int8" else "fp32",
        "calibration": options.precision_key if options.precision == "int8" else "",
        "openvino": import_openvino().get_version(),
    }


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
        # OpenVINO traces by torch.jit, which is deprecated; and what the tracer warns of as
        # constants are constants, as all shapes are fixed.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        # Tracing would run the network three more times to check itself.
        decoder = TorchScriptPythonDecoder(
            network, example_input=example, trace_kwargs={"check_trace": False}
        )
        shape = openvino.PartialShape(list(example.shape))
        return openvino.convert_model(decoder, input=[(shape, openvino.Type.u8)])
