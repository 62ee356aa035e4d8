"""The convolution compiled for this processor, once in a process."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any

from offshelf.engine.openvino_engine.winograd.panel_layout import NUMBERS, POINTERS, Kind, Registers
from offshelf.engine.processor import WINOGRAD_SWITCH, may_use
from offshelf.machine_code import assembled, is_possible

Function = Callable[..., None]
NAME = "convolve"
_USED = (
    *("avx512f", "avx512vnni", "avx512bf16", "avx2", "fma", "avxvnni"),
    *("amx-bf16", "amx-int8"),
)


@functools.cache
def registers() -> Registers | None:
    """Return the registers of this processor; None where no compiled code is used."""
    if os.environ.get(WINOGRAD_SWITCH) == "0" or not is_possible():
        return None
    features = _features()
    if features.get("avx512f"):
        return Registers(16, (14, 8, 2), dot=bool(features.get("avx512vnni")))
    if features.get("avx2") and features.get("fma"):
        return Registers(8, (6, 4, 2), dot=bool(features.get("avxvnni")))
    return None


@functools.cache
def has_fast_bf16() -> bool:
    """Return whether bfloat16 is fastest by Winograd's filtering on this processor.

    With matrix units (AMX) a direct convolution in bfloat16 is faster.
    """
    if registers() is None:
        return False
    features = _features()
    return bool(features.get("avx512bf16") and not features.get("amx-bf16"))


@functools.cache
def has_fast_int8() -> bool:
    """Return whether int8 is fastest by Winograd's filtering on this processor.

    With matrix units (AMX) a direct convolution in int8 is faster.
    """
    found = registers()
    if found is None or not found.dot:
        return False
    return not _features().get("amx-int8")


def _features() -> dict[str, bool]:
    """Return by LLVM's name which features the processor has and the environment allows."""
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    return {name: bool(found.get(name)) and may_use(name) for name in _USED}


def function(kind: Kind) -> Function:
    """Return the compiled function; see :func:`.codegen.convolution`.

    It holds no lock of Python's while it runs. Pointers are addresses.

    Raises:
        RuntimeError: the processor is not supported.
    """
    return made(kind, required())


def required() -> Registers:
    """Return the registers of this processor.

    Raises:
        RuntimeError: the processor is not supported.
    """
    found = registers()
    if found is None:
        raise RuntimeError("this processor is not supported")
    return found


@functools.cache
def made(kind: Kind, registers: Registers) -> Function:
    """Return the function compiled for *registers*, once in a process."""
    engine = _engine(kind, registers)
    address = engine.get_function_address(NAME)
    floats = [ctypes.c_void_p] * len(POINTERS)
    numbers = [ctypes.c_int64] * len(NUMBERS)
    callable_ = ctypes.CFUNCTYPE(None, *floats, ctypes.c_float, *numbers)(address)
    # The engine owns the machine code; of two threads that compile at once, each keeps its own.
    callable_.engine = engine  # type: ignore[attr-defined]
    return callable_


def _engine(kind: Kind, registers: Registers) -> Any:
    """Compile; the result owns the machine code."""
    from llvmlite import ir

    from offshelf.engine.openvino_engine.winograd.codegen import convolution

    module = ir.Module(NAME)
    convolution(module, NAME, kind, registers)
    return assembled(module)
