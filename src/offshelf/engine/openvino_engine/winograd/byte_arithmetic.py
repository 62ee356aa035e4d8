"""The matrix product of 8-bit numbers: fours of them at once, or exactly in float32.

A number is ``round(value x scale) + offset``, cut to 0..255; a weight -127..127. The offset's
share of every sum is known beforehand, so the sums start at minus that share. Both ways give
the same whole numbers, up to 512 channels; a sum of more can round in float32.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from offshelf.engine.openvino_engine.winograd.arithmetic import Whole
from offshelf.engine.openvino_engine.winograd.panel_layout import MOST_BYTE
from offshelf.engine.openvino_engine.winograd.vector_instructions import Emitter

# A float32 of this size has no place for a fraction: to add it is to round, and the sum's
# lowest bits are the whole number.
ROUNDING = 1.5 * 2**23
_BYTE, _WORD = ir.IntType(8), ir.IntType(32)


class Counted(Whole):
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
            emit.larger(rounded, emit.constant(ROUNDING)), emit.constant(ROUNDING + MOST_BYTE)
        )

    def _offset(self, point: int) -> Any:
        place = self._emit.at(self._p["offsets"], point)
        return self._emit.everywhere(self._emit.builder.load(place, align=4))

    def _in_units(self, sums: Any, point: int, channel: Any) -> Any:
        place = self._emit.product(point, self._n["channels"])
        unit = self._emit.load(self._emit.at(self._p["units"], place, channel))
        return self._emit.builder.fmul(sums, unit)


class Byte(Counted):
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
