"""LLVM instructions for vectors of float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from offshelf.machine_code import Instructions

INDEX = ir.IntType(64)
FLOAT = ir.FloatType()
Tile = Sequence[Sequence[Any]]
Matrix = Sequence[Sequence[float]]


class Emitter(Instructions):
    """Writes instructions at the end of a function.

    Args:
        function: an LLVM function without code.
        width: floats in a vector register.
    """

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
