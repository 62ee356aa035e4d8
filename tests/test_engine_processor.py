"""What a processor can do, as the system lists it and as a variable of oneDNN limits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from offshelf.engine import processor
from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.engine.processor import computes_bfloat16, may_use

SERVER = "sse2 avx2 fma avx512f avx512_vnni avx512_bf16"
MATRIX = f"{SERVER} amx_bf16 amx_int8"
LAPTOP, NEWER = "sse2 avx2 fma", "sse2 avx2 fma avx_vnni"


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in processor.SWITCHES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "limit", "halves"),
    [
        (SERVER, None, True),
        (SERVER, "ALL", True),
        (SERVER, "AVX512_CORE_VNNI", False),
        (SERVER, "AVX512_CORE", False),
        (SERVER, "avx2", False),
        (SERVER, "no such level", True),
        (MATRIX, None, True),
        (MATRIX, "AVX2", False),
        (LAPTOP, None, False),
        (NEWER, None, False),
        (NEWER, "AVX2", False),
        # Another architecture, or a system that does not say.
        ("fp asimd", None, False),
        (None, None, False),
    ],
)
def test_flags_and_limit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str | None,
    limit: str | None,
    halves: bool,
) -> None:
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "_CPUINFO", file)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert computes_bfloat16() is halves


def test_both_names_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "SSE41")
    assert not may_use("avx2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert may_use("avx2")
    assert not may_use("avx512f")


def test_compiled_convolutions_keep_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    features = dict.fromkeys(("avx512f", "avx512vnni", "avx512bf16", "avx2", "fma"), True)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delenv(processor.WINOGRAD_SWITCH, raising=False)
    found = kernel.registers.__wrapped__()
    assert (found.width, found.dot) == (16, True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    found = kernel.registers.__wrapped__()
    assert (found.width, found.dot) == (16, False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = kernel.registers.__wrapped__()
    assert (found.width, found.dot) == (8, False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert kernel.registers.__wrapped__() is None


def test_an_empty_variable_forbids_nothing(monkeypatch: pytest.MonkeyPatch):
    before = processor.processor_kind()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")
    assert processor.processor_kind() == before
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in processor.processor_kind().split()
