"""A tapped network as an OpenVINO graph, kept on disk so that a second start needs no torch."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from offshelf import files, home, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.one_thread import one_thread
from offshelf.cache.usage import Usage
from offshelf.engine.calibration import Calibration
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine.telemetry import without_telemetry
from offshelf.errors import EngineError
from offshelf.forks import leave_in_forked, process_lock
from offshelf.interrupt import interrupted_afterwards
from offshelf.locks import alone

VERSION = 5
# Of every request; those of int8 networks in model files from before were 4.
ROWS, OLD_ROWS = 2, 4
KEY = "key.json"
_PARTS = ("graph.xml", "graph.bin")
_IMPORTING, _MAKING = process_lock(), process_lock()


def import_openvino() -> ModuleType:
    """Return the openvino package, without its usage reporting.

    >>> import_openvino().__name__
    'openvino'
    """
    # Another thread may be just about to import it; then both need the whole module.
    with _IMPORTING:
        if "openvino" in sys.modules:
            return importlib.import_module("openvino")
        with without_telemetry():
            return importlib.import_module("openvino")


def the_core() -> Any:
    """Return the one OpenVINO core of this process.

    Its threads are not there in a process that was forked from this one: there it would wait
    for them for ever.

    Each core brings a signal stack of its own, and when two of them end in another order than
    that of stacks, one that is gone stays in place: the next Ctrl-C is then a crash (OpenVINO
    2026.4).

    Raises:
        EngineError: this process was forked from one that had made its core.

    >>> the_core() is the_core()
    True
    """
    check_not_forked()
    with _MAKING:
        return _core()[0]


def check_not_forked() -> None:
    """Do nothing where networks can run on OpenVINO in this process.

    Raises:
        EngineError: this process was forked from one that had made its core.

    >>> check_not_forked()
    """
    if _core.cache_info().currsize and _core()[1] != os.getpid():
        raise EngineError(
            "offshelf had run a network before this process was forked, and none can run here: "
            "start processes with multiprocessing.get_context('spawn')"
        )


@functools.lru_cache(maxsize=1)
def _core() -> tuple[Any, int]:
    """Return the core, and the process that it belongs to."""
    core = import_openvino().Core()
    leave_in_forked(the_core, core)
    return core, os.getpid()


def graph_folder(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Path:
    """Return where the graph is kept: weights, preprocessing, taps, precision, version."""
    key = _key(backbone, taps, options)
    return home.compiled_folder(options.cache_dir) / files.sha256_json(key)[:32]


def load_graph(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Any:
    """Return the graph from disk, or convert the network and keep it.

    A graph that was damaged on disk is made again; of several processes one makes it. What a
    model file brings is used and not kept: it may be anybody's.

    Raises:
        LayerError: a tap is no layer, or the weights do not reach it.
        WeightsError: the weights file does not fit.
    """
    if options.precision == "int8" and options.calibration and options.calibration.network:
        return _made(backbone, taps, options)
    key = _key(backbone, taps, options)
    folder = graph_folder(backbone, taps, options)
    kept = read_graph(folder, key)
    if kept is not None:
        return kept
    with alone(folder):
        # Another process may have made it in the meantime.
        kept = read_graph(folder, key)
        if kept is not None:
            return kept
        model = _made(backbone, taps, options)
        # What is read back owns its numbers, where a converted graph borrows those of torch; so
        # the first run computes with the same memory as every later one.
        return keep_graph(model, folder, key) or model


def _made(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Any:
    if options.precision == "int8":
        from offshelf.engine.openvino_engine.int8 import quantised

        return quantised(backbone, taps, options)
    return convert(backbone, taps)


def convert(backbone: Backbone, taps: tuple[Tap, ...]) -> Any:
    """Return the tapped network as a graph with the fixed shape 2 x S x S x 3, uint8."""
    import torch

    from offshelf.engine.torch_engine.tapped_network import TappedNetwork

    openvino = import_openvino()
    network = TappedNetwork(backbone, taps)
    size = backbone.input.size
    example = torch.zeros((ROWS, size, size, 3), dtype=torch.uint8)
    quiet = warnings.catch_warnings()
    with interrupted_afterwards(), torch.inference_mode(), one_thread(), quiet:
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


def read_graph(folder: Path, key: dict[str, Any]) -> Any:
    """Return the graph of *key* in *folder*, None where there is none.

    One that is damaged, or another's, is set aside with its folder.
    """
    if not folder.is_dir():
        return None
    with contextlib.closing(Usage(folder)):
        return _read_used(folder, key)


def _read_used(folder: Path, key: dict[str, Any]) -> Any:
    damaged = _damaged(folder, key)
    if damaged:
        sealed_json.set_aside(folder, "the network is converted again", f"{damaged} is damaged")
        return None
    return the_core().read_model(folder / _PARTS[0])


def _damaged(folder: Path, key: dict[str, Any]) -> str:
    """Return the name of the first file that is not what was written, "" where all are."""
    kept = sealed_json.sealed(folder / KEY)
    if kept is None or files.sha256_json(kept.get("key")) != files.sha256_json(key):
        return KEY
    hashes = kept.get("sha256")
    for name in _PARTS:
        try:
            if not isinstance(hashes, dict) or files.sha256_file(folder / name) != hashes[name]:
                return name
        except (OSError, KeyError):
            return name
    return ""


def is_current(folder: Path) -> bool:
    """Return whether the graph in *folder* is of this version, so that it may be read again.

    >>> is_current(Path("no/such/folder"))
    False
    """
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
            import_openvino().save_model(model, whole / _PARTS[0], compress_to_fp16=False)
            hashes = {name: files.sha256_file(whole / name) for name in _PARTS}
            sealed_json.write(whole / KEY, {"key": key, "sha256": hashes})
            if folder.exists():
                shutil.rmtree(folder)
            whole.rename(folder)
            Usage(folder).close()
        return the_core().read_model(folder / _PARTS[0])
    except (OSError, RuntimeError):
        # Another process was first, or the disk is full: the graph in memory serves.
        return None


def graph_bytes(model: Any) -> tuple[bytes, bytes]:
    """Return a graph as OpenVINO's XML and weights."""
    with files.temporary_folder() as folder:
        target = folder / _PARTS[0]
        import_openvino().save_model(model, target, compress_to_fp16=False)
        return target.read_bytes(), target.with_suffix(".bin").read_bytes()


def graph_from_bytes(xml: bytes, weights: bytes) -> Any:
    """Return the graph that :func:`graph_bytes` took apart."""
    openvino = import_openvino()
    tensor = openvino.Tensor(np.frombuffer(weights, np.uint8).copy())
    return the_core().read_model(xml, tensor)


def finished(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Calibration:
    """Return the calibration of *options* with its int8 network, for a model file.

    Raises:
        EngineError: *options* are not of int8.
    """
    if options.calibration is None:
        raise EngineError("only int8 has a calibrated network to keep")
    network = graph_bytes(load_graph(backbone, taps, options))
    return Calibration(options.calibration.digest, network=network)


def with_rows(model: Any, rows: int) -> Any:
    """Return a copy of *model* that takes *rows* images at once.

    Raises:
        RuntimeError: the network's graph is fixed to its own number of rows.
    """
    if model.inputs[0].shape[0] == rows:
        return model
    copy = model.clone()
    shape = list(copy.inputs[0].shape)
    copy.reshape([rows, *shape[1:]])
    if any(output.partial_shape.is_dynamic or output.shape[0] != rows for output in copy.outputs):
        raise RuntimeError("the graph cannot take another number of rows")
    return copy


def _key(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> dict[str, Any]:
    return {
        "graph": VERSION,
        "backbone": backbone.identity(),
        "taps": [[tap.path, tap.pooling] for tap in taps],
        "precision": "int8" if options.precision == "int8" else "fp32",
        "calibration": options.precision_key if options.precision == "int8" else "",
        "openvino": import_openvino().get_version(),
    }
