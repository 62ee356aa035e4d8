"""The OpenVINO runtime of this process; graphs as bytes, and with another number of rows."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from offshelf import files
from offshelf.errors import EngineError
from offshelf.locks import leave_in_forked, process_lock

# Version of conversion and computation; part of the keys of graphs and features.
VERSION = 6
# Images in a request, unless large matrices ask for more; networks are converted with as many.
ROWS = 2
# The files of a graph: the network's XML, and its weights.
PARTS = ("graph.xml", "graph.bin")
REPORTER = "openvino_telemetry"
_IMPORTING, _MAKING, _REPLACING = process_lock(), process_lock(), process_lock()


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Context in which libraries are imported without the package that reports their use.

    Where somebody else has loaded it, it stays; where not, it can be loaded afterwards.

    >>> with without_telemetry():
    ...     REPORTER in sys.modules
    True
    """
    with _REPLACING:
        if REPORTER in sys.modules:
            yield
            return
        sys.modules[REPORTER] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            if sys.modules.get(REPORTER, REPORTER) is None:
                del sys.modules[REPORTER]


def import_openvino() -> ModuleType:
    """Return the openvino package, without its usage reporting."""
    # Another thread may be importing it; both need the whole module.
    with _IMPORTING:
        if "openvino" in sys.modules:
            return importlib.import_module("openvino")
        with without_telemetry():
            return importlib.import_module("openvino")


def the_core() -> Any:
    """Return the one OpenVINO core of this process.

    Its threads are missing in a process that was forked from this one, which would wait for
    them for ever.

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
    """Check that networks can run on OpenVINO in this process.

    Raises:
        EngineError: this process was forked from one that had made its core.
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


def graph_bytes(model: Any) -> tuple[bytes, bytes]:
    """Return a graph as OpenVINO's XML and weights."""
    with files.temporary_folder() as folder:
        target = folder / PARTS[0]
        import_openvino().save_model(model, target, compress_to_fp16=False)
        return target.read_bytes(), target.with_suffix(".bin").read_bytes()


def graph_from_bytes(xml: bytes, weights: bytes) -> Any:
    """Return the graph that :func:`graph_bytes` took apart."""
    openvino = import_openvino()
    tensor = openvino.Tensor(np.frombuffer(weights, np.uint8).copy())
    return the_core().read_model(xml, tensor)


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
