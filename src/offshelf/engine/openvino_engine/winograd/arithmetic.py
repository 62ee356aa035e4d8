"""Vector instructions in LLVM, and the matrix product in float32, bfloat16 and int8.

An int8 number is ``round(value x scale) + offset``, cut to 0..255; a weight -127..127. The
offset's share of every sum is known beforehand, so the sums start at minus that share. With
VNNI and without it the whole numbers are the same, up to 512 channels; a sum of more can round
in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from offshelf.engine.openvino_engine.winograd.panel_layout import MAX_BYTE
from offshelf.machine_code import Instructions

INDEX = ir.IntType(64)
FLOAT = ir.FloatType()
Tile = Sequence[Sequence[Any]]
Matrix = Sequence[Sequence[float]]


class Emitter(Instructions):
    """Writes instructions at the end of a function."""

    def __init__(self, function: Any, width: int) -> None:
        super().__init__(function)
        self.width = width
        self.vector = ir.VectorType(FLOAT, width)
        self._fma = self._declare(f"llvm.fma.v{width}f32", 3)
        self._max = self._declare(f"llvm.maxnum.v{width}f32", 2)
        self._min = self._declare(f"llvm.minnum.v{width}f32", 2)

    def load(self, pointer: Any) -> Any:
        """Return the vector at *pointer*."""
        return self.builder.load(self._cast(pointer), align=4)

    def store(self, value: Any, pointer: Any) -> None:
        """Write a vector to *pointer*."""
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()), align=4)

    def prefetch(self, place: Any) -> None:
        """Fetch the line at *place* into the second-level cache; it may lie beyond all memory."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        asked = (self.builder.bitcast(place, byte), number(0), number(2), number(1))
        self.builder.call(self.function("llvm.prefetch.p0i8", kind), asked)

    def everywhere(self, value: Any) -> Any:
        """Return a vector with one number in all places."""
        empty = ir.Constant(ir.VectorType(value.type, self.width), ir.Undefined)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        first = self.builder.insert_element(empty, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, empty, lanes)

    def constant(self, value: float) -> Any:
        """Return a vector of one constant."""
        return ir.Constant(self.vector, [value] * self.width)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once."""
        return self.builder.call(self._fma, [a, b, c])

    def larger(self, a: Any, b: Any) -> Any:
        """Return the larger of each pair of floats."""
        return self.builder.call(self._max, [a, b])

    def smaller(self, a: Any, b: Any) -> Any:
        """Return the smaller of each pair of floats."""
        return self.builder.call(self._min, [a, b])

    def two_sided(self, matrix: Matrix, tile: Tile) -> list[list[Any]]:
        """Return matrix x tile x matrix transposed; a weight of 0 costs nothing."""
        columns = [[self._dot(row, column) for row in matrix] for column in zip(*tile, strict=True)]
        lines = list(zip(*columns, strict=True))
        return [[self._dot(row, line) for row in matrix] for line in lines]

    def _dot(self, weights: Sequence[float], vectors: Sequence[Any]) -> Any:
        terms = sorted(zip(weights, vectors, strict=True), key=lambda term: term[0] != 1)
        total = None
        for weight, vector in terms:
            if weight == 1:
                total = vector if total is None else self.builder.fadd(total, vector)
            elif weight == -1 and total is not None:
                total = self.builder.fsub(total, vector)
            elif weight:
                start = self.constant(0.0) if total is None else total
                total = self.fma(self.constant(float(weight)), vector, start)
        return total

    def _declare(self, name: str, arguments: int) -> Any:
        return self.function(name, ir.FunctionType(self.vector, [self.vector] * arguments))

    def _cast(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.vector.as_pointer())


class BFloatType(ir.types._BaseFloatType):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"

    def format_constant(self, value: float) -> str:
        """Return LLVM's text for a constant."""
        return repr(value)


BFloatType._create_instance()


class Float32:
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


class BFloat16(Float32):
    """bfloat16 in pairs: products of both are added to a float32 (AVX512_BF16)."""

    element = BFloatType()
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


# A float32 of this size has no place for a fraction: to add it is to round, and the sum's
# lowest bits are the whole number.
ROUNDING = 1.5 * 2**23
_BYTE, _WORD = ir.IntType(8), ir.IntType(32)


class Int8AsFloat32(Float32):
    """Whole numbers kept as float32, for processors without an instruction for bytes."""

    def __init__(self, emit: Emitter, p: dict[str, Any], n: dict[str, Any]) -> None:
        super().__init__(emit)
        self._p, self._n = p, n

    def store(self, vector: Any, place: Any, point: int, channel: Any) -> None:
        """Write a vector of float32 to *place* as whole numbers, without their offset."""
        rounded = self._rounded(vector, point, channel)
        offset = self._emit.builder.fadd(self._offset(point), self._emit.constant(ROUNDING))
        self._emit.store(self._emit.builder.fsub(rounded, offset), place)

    def load(self, place: Any, point: int, channel: Any) -> Any:
        """Return finished sums in units of the result."""
        return self._in_units(self._emit.load(place), point, channel)

    def _rounded(self, vector: Any, point: int, channel: Any) -> Any:
        """Return ROUNDING + the numbers of 8 bits."""
        emit = self._emit
        place = emit.product(point, self._n["depth"])
        scale = emit.load(emit.at(self._p["scales"], place, channel))
        shift = emit.builder.fadd(self._offset(point), emit.constant(ROUNDING))
        rounded = emit.fma(vector, scale, shift)
        return emit.smaller(
            emit.larger(rounded, emit.constant(ROUNDING)), emit.constant(ROUNDING + MAX_BYTE)
        )

    def _offset(self, point: int) -> Any:
        place = self._emit.at(self._p["offsets"], point)
        return self._emit.everywhere(self._emit.builder.load(place, align=4))

    def _in_units(self, sums: Any, point: int, channel: Any) -> Any:
        place = self._emit.product(point, self._n["channels"])
        unit = self._emit.load(self._emit.at(self._p["units"], place, channel))
        return self._emit.builder.fmul(sums, unit)


class Int8(Int8AsFloat32):
    """Fours of bytes: their products are added to a whole number of 32 bits (VNNI)."""

    step = 4

    def __init__(self, emit: Emitter, p: dict[str, Any], n: dict[str, Any]) -> None:
        super().__init__(emit, p, n)
        self.sums = ir.VectorType(_WORD, emit.width)
        kind = ir.FunctionType(self.sums, [self.sums] * 3)
        self._dot = emit.function(f"llvm.x86.avx512.vpdpbusd.{32 * emit.width}", kind)

    def pointer(self, pointer: Any) -> Any:
        """Return a pointer to numbers of this kind."""
        return self._emit.builder.bitcast(pointer, _BYTE.as_pointer())

    def columns(self, panel: Any, vector: int) -> Any:
        """Return what is multiplied with, for the columns of one vector."""
        return self._load(self._emit.at(panel, 4 * vector * self._emit.width))

    def factor(self, place: Any) -> Any:
        """Return a row's four numbers at *place*, for all columns."""
        builder = self._emit.builder
        four = builder.load(builder.bitcast(place, _WORD.as_pointer()), align=4)
        return self._emit.everywhere(four)

    def start(self, point: Any, column: Any) -> Any:
        """Return minus the share of the offset."""
        place = self._emit.product(point, self._n["channels"])
        return self._load(self._emit.at(self._p["starts"], place, column))

    def add(self, total: Any, factor: Any, columns: Any) -> Any:
        """Return total + the four products."""
        return self._emit.builder.call(self._dot, [total, factor, columns])

    def store(self, vector: Any, place: Any, point: int, channel: Any) -> None:
        """Write a vector of float32 to *place* as bytes."""
        builder = self._emit.builder
        bits = builder.bitcast(self._rounded(vector, point, channel), self.sums)
        kind = ir.VectorType(_BYTE, self._emit.width)
        builder.store(builder.trunc(bits, kind), builder.bitcast(place, kind.as_pointer()), align=1)

    def load(self, place: Any, point: int, channel: Any) -> Any:
        """Return finished sums in units of the result."""
        sums = self._emit.builder.sitofp(self._load(place), self._emit.vector)
        return self._in_units(sums, point, channel)

    def _load(self, place: Any) -> Any:
        builder = self._emit.builder
        return builder.load(builder.bitcast(place, self.sums.as_pointer()), align=4)
