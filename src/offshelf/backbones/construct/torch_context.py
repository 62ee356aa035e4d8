"""Contexts in which torch builds and runs networks, and the import of torchvision and timm.

How torch shares out a convolution among threads decides the order of its sums, so the last bits
of features would depend on the number of threads, and on the place of an image in its batch. And
threads that torch once started are missing in a process that is forked afterwards, which would
wait for them for ever.

Nothing is compiled here, but torchvision, timm and torch import torch's compiler, which takes more
than a second. A stand-in does what is asked of it until the compiler is really there. Random
numbers for tensors without memory are not drawn: torch handles them by symbols, whose import takes
a third of a second.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from offshelf.locks import process_lock


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch computes with the calling thread alone.

    >>> import torch
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    import torch

    # Asked for the first time in a thread, torch sets the number to its own.
    torch.get_num_threads()
    with _openmp().limit(limits=1):
        yield


@functools.cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")


COMPILER = "torch._dynamo"
_DRAWS = frozenset({"normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_"})


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Context in which a stand-in is imported for torch's compiler."""
    import torch  # noqa: F401 - it might import its compiler itself

    if COMPILER in sys.modules:
        yield
        return
    stand_in, inner = _StandIn(COMPILER), ModuleType(f"{COMPILER}.utils")
    vars(inner)["is_compile_supported"] = _is_compile_supported
    vars(stand_in).update(utils=inner, disable=_disable, graph_break=lambda: None)
    sys.modules.update({module.__name__: module for module in (stand_in, inner)})
    try:
        yield
    finally:
        _forget()


def without_draws() -> Any:
    """Return a context in which no random numbers are drawn for tensors without memory.

    >>> import torch
    >>> with without_draws():
    ...     torch.nn.init.normal_(torch.empty(2, device="meta")).device
    device(type='meta')
    """
    return _mode()()


@functools.cache
def _mode() -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    class WithoutDraws(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__name__", "") in _DRAWS:
                tensor = args[0] if args else kwargs.get("tensor")
                if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                    return tensor
            return func(*args, **kwargs)

    return WithoutDraws


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the real compiler."""
        if name.startswith("__"):
            raise AttributeError(name)
        _forget()
        return getattr(importlib.import_module(COMPILER), name)


def _forget() -> None:
    if isinstance(sys.modules.get(COMPILER), _StandIn):
        del sys.modules[COMPILER], sys.modules[f"{COMPILER}.utils"]


def _is_compile_supported(device_type: str) -> bool:
    _forget()
    return bool(importlib.import_module(f"{COMPILER}.utils").is_compile_supported(device_type))


def _disable(function: Any = None, recursive: bool = True, **options: Any) -> Any:
    """Return *function*, not compiled once the compiler is there."""
    if function is None:
        return functools.partial(_disable, recursive=recursive, **options)
    found: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        compiler = sys.modules.get(COMPILER)
        if compiler is None or isinstance(compiler, _StandIn):
            return function(*args, **kwargs)
        if not found:
            found.append(compiler.disable(function, recursive, **options))
        return found[0](*args, **kwargs)

    return called


_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[object] = []
_LOCK = process_lock()


def import_torchvision() -> ModuleType:
    """Return the torchvision package.

    >>> import_torchvision().models.alexnet.__name__
    'alexnet'
    """
    with _LOCK, warnings.catch_warnings(), without_compiler():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
        return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Return the timm package, which needs torchvision.

    >>> import_timm().__name__
    'timm'
    """
    import_torchvision()
    with _LOCK, without_compiler():
        return importlib.import_module("timm")


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)
    # The declarations live only as long as the library object does.
    _LIBRARIES.append(library)
