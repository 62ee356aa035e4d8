"""The two passes of a resize as LLVM functions: first along the rows, then down the columns.

Products are those of whole numbers of 32 bits, so that every processor gives the same.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from llvmlite import ir

from offshelf.machine_code import Instructions
from offshelf.resample.filter_weights import BESIDE, BITS, LANES, MIN_LINE, PIXELS

# Rows that share a loaded weight.
ROWS = 4
INDEX, BYTE, WORD = ir.IntType(64), ir.IntType(8), ir.IntType(32)
_BYTES, _SUMS = ir.VectorType(BYTE, LANES), ir.VectorType(WORD, LANES)
# The names and kinds of the arguments, in order.
ALONG = ("source", "starts", "weights", "target", *("line", "rows", "groups", "columns", "stride"))
DOWN = ("source", "starts", "counts", "weights", "target", *("taps", "rows", "line"))
_POINTERS = {
    **dict.fromkeys(("source", "target"), BYTE),
    **dict.fromkeys(("starts", "counts"), INDEX),
    "weights": WORD,
}


def along_rows(module: Any, name: str, channels: int) -> None:
    """Add the pass along rows: *rows* of *line* bytes become *columns* pixels each.

    A result is made of *groups* vectors of bytes, the first at its start; its weights are as
    many. Each row of the target has *stride* bytes, one more than its pixels or more.
    """
    _Along(module, name, ALONG).write(channels)


def down_columns(module: Any, name: str) -> None:
    """Add the pass down columns: each of *rows* is made of *counts* rows of *line* bytes.

    A row has *taps* weights, of which the first count; *line* is ``MIN_LINE`` bytes or more.
    """
    _Down(module, name, DOWN).write()


class _Pass(Instructions):
    def __init__(self, module: Any, name: str, arguments: Sequence[str]) -> None:
        kinds = [_POINTERS[word].as_pointer() if word in _POINTERS else INDEX for word in arguments]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        super().__init__(function)
        self.given = dict(zip(arguments, function.args, strict=True))
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        # Half of what is cut off.
        self.half = ir.Constant(_SUMS, [1 << (BITS - 1)] * LANES)

    @contextlib.contextmanager
    def accumulating(
        self, stop: Any, starts: Sequence[Any]
    ) -> Iterator[tuple[Any, list[Any], list[Any]]]:
        """Count from 0 to below *stop* with a sum from each of *starts* on.

        Yields the count, the sums before, and a list that takes what is added to each. After
        the loop the sums before are the sums.
        """
        builder, before = self.builder, self.builder.block
        with self.loop(stop) as index:
            body = builder.block
            builder.position_before(index)
            sums = [builder.phi(_SUMS) for _ in starts]
            builder.position_at_end(body)
            more = list[Any]()
            yield index, sums, more
            for total, start, one in zip(sums, starts, more, strict=True):
                total.add_incoming(start, before)
                total.add_incoming(builder.add(total, one), builder.block)

    def weighted(self, source: Any, weights: Any) -> Any:
        """Return the bytes at *source*, weighted."""
        vector = self.builder.bitcast(source, _BYTES.as_pointer())
        wide = self.builder.zext(self.builder.load(vector, align=1), _SUMS)
        return self.builder.mul(wide, weights)

    def store(self, sums: Any, target: Any) -> None:
        """Write sums as bytes: cut to whole numbers, and kept within 0 to 255."""
        builder, kind = self.builder, sums.type
        cut = builder.ashr(sums, self._all(BITS, kind))
        for name, limit in (("smax", 0), ("smin", 255)):
            full = f"llvm.{name}.v{kind.count}i32"
            function = self.function(full, ir.FunctionType(kind, [kind, kind]))
            cut = builder.call(function, [cut, self._all(limit, kind)])
        small = ir.VectorType(BYTE, kind.count)
        builder.store(
            builder.trunc(cut, small), builder.bitcast(target, small.as_pointer()), align=1
        )

    def _all(self, value: int, kind: Any) -> Any:
        return ir.Constant(kind, [value] * kind.count)


class _Along(_Pass):
    def write(self, channels: int) -> None:
        builder, n = self.builder, self.given
        blocks, rest = self.divide(n["rows"], ROWS)
        done = self.product(blocks, ROWS)
        with self.loop(done, ROWS) as row:
            self._rows(row, ROWS, channels)
        with self.loop(rest) as row:
            self._rows(self.sum(done, row), 1, channels)
        builder.ret_void()

    def _rows(self, row: Any, count: int, channels: int) -> None:
        builder, n = self.builder, self.given
        rows = [self.sum(row, r) for r in range(count)]
        lines = [self.at(n["source"], self.product(r, n["line"])) for r in rows]
        targets = [self.at(n["target"], self.product(r, n["stride"])) for r in rows]
        each, zero = self.product(n["groups"], LANES), ir.Constant(_SUMS, [0] * LANES)
        with self.loop(n["columns"]) as column:
            start = builder.load(self.at(n["starts"], column))
            weights = self.at(n["weights"], self.product(column, each))
            with self.accumulating(n["groups"], [zero] * count) as (group, sums, more):
                spot = self.at(weights, self.product(group, LANES))
                loaded = builder.load(builder.bitcast(spot, _SUMS.as_pointer()), align=4)
                step = self.sum(start, self.product(group, PIXELS[channels] * channels))
                more += [self.weighted(self.at(line, step), loaded) for line in lines]
            for total, target in zip(sums, targets, strict=True):
                pixel = self._gathered(total, channels)
                self.store(pixel, self.at(target, self.product(column, channels)))

    def _gathered(self, sums: Any, channels: int) -> Any:
        """Return the sum of each channel; of three, a fourth place holds nothing of use."""
        builder = self.builder
        if channels == 1:
            # The halves of what is left, again and again.
            while sums.type.count > 1:
                half = sums.type.count // 2
                sums = builder.add(self._part(sums, 0, half), self._part(sums, half, half))
        else:
            first, *others = (self._part(sums, 3 * pixel, 4) for pixel in range(PIXELS[3]))
            sums = functools.reduce(builder.add, others, first)
        return builder.add(sums, self._all(1 << (BITS - 1), sums.type))

    def _part(self, sums: Any, first: int, count: int) -> Any:
        places = ir.Constant(ir.VectorType(WORD, count), list(range(first, first + count)))
        return self.builder.shuffle_vector(sums, ir.Constant(sums.type, ir.Undefined), places)


class _Down(_Pass):
    def write(self) -> None:
        builder, n = self.builder, self.given
        furthest = builder.sub(n["line"], self.number(MIN_LINE))
        with self.loop(n["rows"]) as row:
            first = self.product(builder.load(self.at(n["starts"], row)), n["line"])
            source = self.at(n["source"], first)
            target = self.at(n["target"], self.product(row, n["line"]))
            count = builder.load(self.at(n["counts"], row))
            weights = self.at(n["weights"], self.product(row, n["taps"]))
            with self.loop(n["line"], MIN_LINE) as step:
                # The last begins sooner, and computes some once more.
                place = self.least(step, furthest)
                with self.accumulating(count, [self.half] * BESIDE) as (tap, sums, more):
                    weight = self._broadcast(builder.load(self.at(weights, tap)))
                    spot = self.at(source, self.product(tap, n["line"]), place)
                    spots = [self.at(spot, beside * LANES) for beside in range(BESIDE)]
                    more += [self.weighted(one, weight) for one in spots]
                for beside, total in enumerate(sums):
                    self.store(total, self.at(target, place, beside * LANES))
        builder.ret_void()

    def _broadcast(self, weight: Any) -> Any:
        empty = ir.Constant(_SUMS, ir.Undefined)
        first = self.builder.insert_element(empty, weight, WORD(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(_SUMS, [0] * LANES))
