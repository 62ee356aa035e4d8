"""Instruction sets of this processor, as far as the environment allows their use.

OpenVINO and torch compute with oneDNN, which uses no newer instructions than the variable
``ONEDNN_MAX_CPU_ISA`` allows. All choices made here by the processor obey the same
variable, so that with ``AVX2`` everything is computed as on such a processor.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Set to 0, this variable selects direct convolutions.
WINOGRAD_SWITCH = "OFFSHELF_WINOGRAD"
# Both names are oneDNN's.
SWITCHES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
# Instructions that decide which code the engines run.
INSTRUCTIONS = frozenset(
    {"avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni"}
    | {"amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "bf16", "i8mm", "sve"}
)
# oneDNN's levels of instructions, each of which holds all before it.
_LEVELS = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
    "AVX512_CORE_BF16",
    "AVX10_1_512",
    "AVX512_CORE_FP16",
    "AVX10_1_512_AMX",
    "AVX512_CORE_AMX",
)
# The first level that has a feature, by LLVM's name of it.
_FIRST = {
    "avx2": "AVX2",
    "fma": "AVX2",
    "avxvnni": "AVX2_VNNI",
    "avx512f": "AVX512_CORE",
    "avx512vnni": "AVX512_CORE_VNNI",
    "avx512bf16": "AVX512_CORE_BF16",
    "amx-bf16": "AVX10_1_512_AMX",
    "amx-int8": "AVX10_1_512_AMX",
}
# Instructions that add four products of bytes to 32 bits: Linux's name and LLVM's.
_DOTS = (("amx_int8", "amx-int8"), ("avx512_vnni", "avx512vnni"), ("avx_vnni", "avxvnni"))
_X86 = frozenset({"x86_64", "amd64", "i386", "i686", "x86"})
_CPUINFO = Path("/proc/cpuinfo")
# Variables that decide which code runs.
_DECIDING = (WINOGRAD_SWITCH, *SWITCHES, "ATEN_CPU_CAPABILITY")


def may_use(feature: str) -> bool:
    """Return whether the environment allows instructions, by LLVM's name of them."""
    asked = next((os.environ[name] for name in SWITCHES if os.environ.get(name)), "ALL").upper()
    if asked not in _LEVELS:
        return True
    return _LEVELS.index(_FIRST[feature]) <= _LEVELS.index(asked)


def computes_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16 (AVX512_BF16, AMX)."""
    flags = cpu_flags()
    return ("avx512_bf16" in flags and may_use("avx512bf16")) or (
        "amx_bf16" in flags and may_use("amx-bf16")
    )


def adds_bytes_exactly() -> bool:
    """Return whether sums of 8-bit products are exact here, whatever the weights.

    Without VNNI an x86 processor adds products of bytes in pairs, into 16 bits: with weights
    of 8 bits a pair can be too large, and is cut off.
    """
    if platform.machine().lower() not in _X86:
        return True
    return bool(bytes_added_by())


def bytes_added_by() -> str:
    """Return what adds products of bytes to 32 bits on x86: ``VNNI``, ``AMX`` or nothing."""
    flags = cpu_flags()
    found = next((name for name, one in _DOTS if name in flags and may_use(one)), "")
    return found and ("AMX" if found.startswith("amx") else "VNNI")


def cpu_flags() -> frozenset[str]:
    """Return the processor's flags as Linux lists them; none where that cannot be read."""
    try:
        return frozenset(_CPUINFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return frozenset()


def processor_kind() -> str:
    """Return the kind of this processor in words, with the variables that restrict it."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    known = INSTRUCTIONS.intersection(next(lines, "").split())
    forbidden = [f"{name}={os.environ[name]}" for name in _DECIDING if os.environ.get(name)]
    return " ".join([platform.machine(), *sorted(known), *forbidden])
