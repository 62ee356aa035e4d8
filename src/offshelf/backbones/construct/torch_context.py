"""Contexts for torch: in one thread, without its compiler, and without drawing random numbers.

How torch shares out a convolution decides the order of its sums, so the last bits of features
would depend on the number of threads, and on the place of an image in its batch. And threads
that torch once started are missing in a process that is forked afterwards, which would wait for
them for ever.

Nothing is compiled here, but torch's compiler, whose import takes more than a second, is imported
by the way: by torchvision, to ask it one question when its box operators are called; by timm and
torch, to mark functions that are not to be compiled, or where compiling is to pause. A stand-in
does what is asked when the compiler is really there; where it is here already there is none.

Random numbers for tensors without memory are not drawn: torch handles them by symbols, whose
import takes a third of a second.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with the calling thread alone; other threads keep what they have.

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
    """Let a stand-in be imported for torch's compiler; it is gone at the end."""
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
    """Return a block in which tensors without memory are left as they are where numbers are drawn.

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
        """Return what else is asked for: of the real compiler."""
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
    """Return *function*, which the compiler leaves alone from when it is there."""
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
