"""LLVM instructions: whole numbers, loops, and vectors of float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from llvmlite import ir

INDEX = ir.IntType(64)
FLOAT = ir.FloatType()
Tile = Sequence[Sequence[Any]]
Matrix = Sequence[Sequence[float]]


class Emitter:
    """Writes instructions at the end of a function.

    Args:
        function: an LLVM function without code.
        width: floats in a vector register.
    """

    def __init__(self, function: Any, width: int) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("start"))
        self.width = width
        self.vector = ir.VectorType(FLOAT, width)
        self._fma = self._declare(f"llvm.fma.v{width}f32", 3)
        self._max = self._declare(f"llvm.maxnum.v{width}f32", 2)
        self._min = self._declare(f"llvm.minnum.v{width}f32", 2)

    def function(self, name: str, kind: Any) -> Any:
        """Return the function *name* of LLVM's own, declared once."""
        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, kind, name)

    def number(self, value: Any) -> Any:
        """Return *value* as an instruction."""
        return INDEX(value) if isinstance(value, int) else value

    def sum(self, *values: Any) -> Any:
        """Return the sum of whole numbers."""
        total, *rest = (self.number(value) for value in values)
        for value in rest:
            total = self.builder.add(total, value)
        return total

    def product(self, *values: Any) -> Any:
        """Return the product of whole numbers."""
        total, *rest = (self.number(value) for value in values)
        for value in rest:
            total = self.builder.mul(total, value)
        return total

    def divide(self, value: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder of whole numbers."""
        by = self.number(by)
        return self.builder.udiv(value, by), self.builder.urem(value, by)

    def least(self, a: Any, b: Any) -> Any:
        """Return the smaller of two whole numbers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    @contextlib.contextmanager
    def loop(self, stop: Any, step: Any = 1) -> Iterator[Any]:
        """Count from 0 to below *stop*; what is written inside is the loop's body."""
        builder = self.builder
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(INDEX)
        index.add_incoming(INDEX(0), before)
        builder.cbranch(builder.icmp_signed("<", index, self.number(stop)), body, after)
        builder.position_at_end(body)
        yield index
        index.add_incoming(self.sum(index, step), builder.block)
        builder.branch(head)
        builder.position_at_end(after)

    def at(self, pointer: Any, *steps: Any) -> Any:
        """Return *pointer* moved by the sum of *steps*."""
        return self.builder.gep(pointer, [self.sum(*steps)])

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
