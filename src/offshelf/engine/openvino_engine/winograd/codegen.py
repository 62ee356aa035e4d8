"""The convolution as an LLVM function: tiles in, a matrix product for each point, tiles out.

Every output is one fixed sequence of operations, whatever is computed beside it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from offshelf.engine.openvino_engine.winograd.arithmetic import (
    FLOAT,
    INDEX,
    BFloat16,
    Emitter,
    Float32,
    Int8,
    Int8AsFloat32,
    Tile,
)
from offshelf.engine.openvino_engine.winograd.panel_layout import (
    LINE,
    NUMBERS,
    POINTERS,
    VECTORS,
    Kind,
    Registers,
)


def convolution(module: Any, name: str, kind: Kind, registers: Registers) -> None:
    """Add the function *name* to *module*; its arguments are ``POINTERS``, floor, ``NUMBERS``.

    It convolves *images* frames x, writes the larger of the result and floor, and where the
    kind says so the largest of each 2 x 2. Frames are channels last, with a border of one pixel;
    of x they hold rows of tiles x their outputs + 2, and so with columns, or more. At a time
    *block* tiles are computed, in room for points x block x depth and x channels numbers, and a
    line of the cache more for each point.
    """
    pointer = FLOAT.as_pointer()
    kinds = [pointer] * len(POINTERS) + [FLOAT] + [INDEX] * len(NUMBERS)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    _Writer(Emitter(function, registers.width), function.args, kind, registers).write()


class _Writer:
    def __init__(self, emit: Emitter, args: Any, kind: Kind, registers: Registers) -> None:
        self.emit, self.pool, self.registers = emit, kind.pool, registers
        self.filter = kind.filter
        named = dict(zip((*POINTERS, "floor", *NUMBERS), args, strict=True))
        self.p = {name: named[name] for name in POINTERS}
        self.n = {name: named[name] for name in NUMBERS}
        self.numbers = self._numbers(kind)
        for name in ("weights", "transformed"):
            self.p[name] = self.numbers.pointer(self.p[name])
        self.floor = emit.everywhere(named["floor"])

    def _numbers(self, kind: Kind) -> Float32:
        if kind.numbers == "byte":
            chosen = Int8 if self.registers.dot else Int8AsFloat32
            return chosen(self.emit, self.p, self.n)
        return BFloat16(self.emit) if kind.numbers == "half" else Float32(self.emit)

    def write(self) -> None:
        emit, n = self.emit, self.n
        count = emit.product(n["images"], n["rows"], n["columns"])
        with emit.loop(count, n["block"]) as start:
            number = emit.least(n["block"], emit.builder.sub(count, start))
            odd = emit.divide(number, 2)[1]
            padded = emit.sum(number, odd)
            with emit.loop(number) as t:
                self._tile_into(start, t, padded)
            with emit.loop(self.filter.points) as point:
                self._multiply(point, padded)
            with emit.loop(number) as t:
                self._tile_out(start, t, padded)
        emit.builder.ret_void()

    def _place(self, tile: Any) -> tuple[Any, Any, Any]:
        """Return image, row and column of a tile."""
        image, place = self.emit.divide(tile, self.emit.product(self.n["rows"], self.n["columns"]))
        return image, *self.emit.divide(place, self.n["columns"])

    def _tile_into(self, start: Any, t: Any, padded: Any) -> None:
        emit, depth = self.emit, self.n["depth"]
        image, row, column = self._place(emit.sum(start, t))
        line = emit.product(self.n["x_width"], depth)
        out = self.filter.out
        above = emit.sum(emit.product(image, self.n["x_height"]), emit.product(out, row))
        source = emit.at(self.p["x"], emit.product(above, line), emit.product(out, column, depth))
        target = emit.at(self.p["transformed"], emit.product(t, depth))
        plane = self._plane(padded, depth, self.numbers.step)
        with emit.loop(depth, emit.width) as c:
            pixels = [emit.load(spot) for spot in self._spots(emit.at(source, c), line, depth)]
            tile = emit.two_sided(self.filter.into, self._square(pixels))
            spots = self._point_spots(emit.at(target, c), plane)
            values = [value for line_of in tile for value in line_of]
            for point, (value, spot) in enumerate(zip(values, spots, strict=True)):
                self.numbers.store(value, spot, point, c)

    def _multiply(self, point: Any, padded: Any) -> None:
        emit, depth, channels = self.emit, self.n["depth"], self.n["channels"]
        panel = self.registers.panel
        plane = self._plane(padded, depth, self.numbers.step)
        left = emit.at(self.p["transformed"], emit.product(point, plane))
        right = emit.at(self.p["weights"], emit.product(point, depth, channels))
        out = emit.at(self.p["multiplied"], emit.product(point, self._plane(padded, channels)))
        with emit.loop(channels, panel) as column:
            columns = emit.at(right, emit.product(column, depth))
            done: Any = INDEX(0)
            for rows in self.registers.rows:
                blocks = self._blocks(emit.builder.sub(padded, done), rows)
                with emit.loop(emit.product(blocks, rows), rows) as t:
                    row = emit.sum(done, t)
                    lines = emit.at(left, emit.product(row, depth))
                    place = emit.at(out, emit.product(row, channels), column)
                    ahead = self._ahead(columns, row, padded)
                    self._block(rows, lines, columns, place, self._starts(point, column), ahead)
                done = emit.sum(done, emit.product(blocks, rows))

    def _blocks(self, count: Any, rows: int) -> Any:
        """Return how many blocks of *rows* the first *count* rows are divided into.

        If two rows would remain, it is one block less: what then remains is two blocks of the
        next size, faster than a block of this size and one of two rows.
        """
        blocks, rest = self.emit.divide(count, rows)
        if rows + 2 != 2 * self.registers.rows[1]:
            return blocks
        builder = self.emit.builder
        pair = builder.icmp_signed("==", rest, INDEX(2))
        fewer = builder.and_(pair, builder.icmp_signed(">", blocks, INDEX(0)))
        return builder.sub(blocks, builder.zext(fewer, INDEX))

    def _ahead(self, columns: Any, row: Any, padded: Any) -> tuple[Any, Any]:
        """Return where a block starts to fetch the next panel, and numbers for a step of its depth.

        All blocks of rows fetch a share: the first alone reads a panel faster than memory gives it.
        """
        emit, depth, panel = self.emit, self.n["depth"], self.registers.panel
        most = self.registers.rows[0]
        share = emit.sum(emit.divide(INDEX(panel * most), padded)[0], 1)
        before = emit.divide(emit.product(row, depth, share), most)[0]
        return emit.at(columns, emit.product(panel, depth), before), share

    def _starts(self, point: Any, column: Any) -> list[Any]:
        columns = [self.emit.sum(column, v * self.emit.width) for v in range(VECTORS)]
        return [self.numbers.start(point, begin) for begin in columns]

    def _block(
        self, rows: int, left: Any, right: Any, out: Any, starts: list[Any], ahead: tuple[Any, Any]
    ) -> None:
        """Write the product of *rows* rows with a panel: sums stay in registers."""
        emit, numbers, depth = self.emit, self.numbers, self.n["depth"]
        builder = emit.builder
        lines = [emit.at(left, emit.product(r, depth)) for r in range(rows)]
        before, body = builder.block, builder.append_basic_block("depth")
        after = builder.append_basic_block("product")
        builder.branch(body)
        builder.position_at_end(body)
        k = builder.phi(INDEX)
        sums = [[builder.phi(numbers.sums) for _ in range(VECTORS)] for _ in lines]
        panel = emit.at(right, emit.product(self.registers.panel, k))
        columns = [numbers.columns(panel, v) for v in range(VECTORS)]
        following = emit.sum(k, numbers.step)
        k.add_incoming(INDEX(0), before)
        k.add_incoming(following, body)
        emit.prefetch(emit.at(ahead[0], emit.product(ahead[1], k)))
        for r, line in enumerate(lines):
            factor = numbers.factor(emit.at(line, k))
            for v in range(VECTORS):
                sums[r][v].add_incoming(starts[v], before)
                sums[r][v].add_incoming(numbers.add(sums[r][v], factor, columns[v]), body)
        builder.cbranch(builder.icmp_signed("<", following, depth), body, after)
        builder.position_at_end(after)
        for r, carried in enumerate(sums):
            for v, phi in enumerate(carried):
                place = emit.at(out, emit.product(r, self.n["channels"]), v * emit.width)
                emit.store(phi.incomings[1][0], place)

    def _tile_out(self, start: Any, t: Any, padded: Any) -> None:
        emit, channels = self.emit, self.n["channels"]
        image, row, column = self._place(emit.sum(start, t))
        line = emit.product(self.n["y_width"], channels)
        size = self.filter.out // 2 if self.pool else self.filter.out
        above = emit.sum(emit.product(image, self.n["y_height"]), emit.product(size, row), 1)
        beside = emit.sum(emit.product(size, column), 1)
        target = emit.at(self.p["y"], emit.product(above, line), emit.product(beside, channels))
        source = emit.at(self.p["multiplied"], emit.product(t, channels))
        plane = self._plane(padded, channels)
        with emit.loop(channels, emit.width) as c:
            spots = self._point_spots(emit.at(source, c), plane)
            sums = [self.numbers.load(spot, point, c) for point, spot in enumerate(spots)]
            outputs: Tile = emit.two_sided(self.filter.back, self._square(sums))
            outputs = self._pooled(outputs) if self.pool else outputs
            bias = emit.load(emit.at(self.p["bias"], c))
            spots = self._spots(emit.at(target, c), line, channels, len(outputs))
            values = [value for line_of in outputs for value in line_of]
            for value, spot in zip(values, spots, strict=True):
                emit.store(emit.larger(emit.builder.fadd(value, bias), self.floor), spot)

    def _plane(self, padded: Any, size: Any, step: int = 1) -> Any:
        """Return the numbers from a point to the next; *step* of them take four bytes.

        A vector narrower than a line of the cache comes back to its line after all other points.
        At a power of two apart they would push one another out of the cache until then, so they
        lie an odd number of lines apart.
        """
        plane = self.emit.product(padded, size)
        if 4 * self.registers.width == LINE:
            return plane
        return self.emit.builder.or_(plane, INDEX(LINE // 4 * step))

    def _pooled(self, tile: Tile) -> Tile:
        largest = self.emit.larger
        pairs = zip(tile[::2], tile[1::2], strict=True)
        halves = [[largest(a, b) for a, b in zip(*pair, strict=True)] for pair in pairs]
        return [[largest(a, b) for a, b in zip(row[::2], row[1::2], strict=True)] for row in halves]

    def _square(self, values: list[Any]) -> Tile:
        side = self.filter.side
        return [values[i : i + side] for i in range(0, len(values), side)]

    def _point_spots(self, start: Any, plane: Any) -> list[Any]:
        return self._spots(start, self.emit.product(self.filter.side, plane), plane)

    def _spots(self, start: Any, line: Any, beside: Any, side: int = 0) -> list[Any]:
        """Return the places of a square of numbers, line by line; its side is a tile's or given."""
        emit, places = self.emit, range(side or self.filter.side)
        return [
            emit.at(start, emit.product(i, line), emit.product(j, beside))
            for i in places
            for j in places
        ]
