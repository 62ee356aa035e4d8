"""How the numbers of the matrix product are kept and multiplied: float32 or bfloat16."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from offshelf.engine.openvino_engine.winograd.vector_instructions import FLOAT, Emitter


class BFloat(ir.types._BaseFloatType):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def format_constant(self, value: float) -> str:
        """Return LLVM's text for a constant."""
        return repr(value)


BFloat._create_instance()


class Whole:
    """float32, one fused multiply-add after the other."""

    # Numbers of the depth that one instruction takes from each row and column.
    step = 1

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self.sums = emit.vector

    def pointer(self, pointer: Any) -> Any:
        """Return a pointer to numbers of this kind."""
        return pointer

    def columns(self, panel: Any, vector: int) -> Any:
        """Return what is multiplied with, for the columns of one vector."""
        return self._emit.load(self._emit.at(panel, vector * self._emit.width))

    def factor(self, place: Any) -> Any:
        """Return a row's number at *place*, for all columns."""
        return self._emit.everywhere(self._emit.builder.load(place, align=4))

    def start(self, _point: Any, _column: Any) -> Any:
        """Return the sums before the first product, for a vector of columns."""
        return self._emit.constant(0.0)

    def add(self, total: Any, factor: Any, columns: Any) -> Any:
        """Return total + factor x columns."""
        return self._emit.fma(factor, columns, total)

    def store(self, vector: Any, place: Any, _point: int, _channel: Any) -> None:
        """Write a vector of float32 to *place* as numbers of this kind."""
        self._emit.store(vector, place)

    def load(self, place: Any, _point: int, _channel: Any) -> Any:
        """Return finished sums as float32."""
        return self._emit.load(place)


class Half(Whole):
    """bfloat16 in pairs: products of both are added to a float32 (AVX512_BF16)."""

    element = BFloat()
    step = 2

    def __init__(self, emit: Emitter) -> None:
        super().__init__(emit)
        self._pairs = ir.VectorType(self.element, 2 * emit.width)
        kind = ir.FunctionType(emit.vector, [emit.vector, self._pairs, self._pairs])
        self._dot = emit.function("llvm.x86.avx512bf16.dpbf16ps.512", kind)

    def pointer(self, pointer: Any) -> Any:
        """Return a pointer to numbers of this kind."""
        return self._emit.builder.bitcast(pointer, self.element.as_pointer())

    def columns(self, panel: Any, vector: int) -> Any:
        """Return what is multiplied with, for the columns of one vector."""
        place = self._emit.at(panel, 2 * vector * self._emit.width)
        pointer = self._emit.builder.bitcast(place, self._pairs.as_pointer())
        return self._emit.builder.load(pointer, align=4)

    def factor(self, place: Any) -> Any:
        """Return a row's pair of numbers at *place*, for all columns."""
        builder = self._emit.builder
        pair = builder.load(builder.bitcast(place, FLOAT.as_pointer()), align=4)
        return builder.bitcast(self._emit.everywhere(pair), self._pairs)

    def add(self, total: Any, factor: Any, columns: Any) -> Any:
        """Return total + both products of each pair."""
        return self._emit.builder.call(self._dot, [total, factor, columns])

    def store(self, vector: Any, place: Any, _point: int, _channel: Any) -> None:
        """Write a vector of float32 to *place*, rounded to the nearest."""
        builder = self._emit.builder
        kind = ir.VectorType(self.element, self._emit.width)
        pointer = builder.bitcast(place, kind.as_pointer())
        builder.store(builder.fptrunc(vector, kind), pointer, align=4)
