"""The row index of a store: image hash to part and row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.features.store.part_format import Part

_ROW_BITS = 32
_ROW = (1 << _ROW_BITS) - 1


class Index:
    """The rows of some parts. Of equal rows that of the oldest part counts.

    A part that comes or goes costs as much as it has rows, however many others there are.
    One thread at a time may change it, while others look things up.
    """

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self._places: dict[bytes, int] = {}
        # Further places of rows that stand in several parts.
        self._doubled: dict[bytes, list[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def find(self, digest: bytes) -> tuple[Part, int] | None:
        """Return the part and the number of the row in it, None for what is not here."""
        # Again where the part has just gone: another one may hold the row.
        while (place := self._places.get(digest)) is not None:
            part = self.parts.get(place >> _ROW_BITS)
            if part is not None:
                return part, place & _ROW
        return None

    def places(self, digests: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of the parts and the rows in them; -1 for what is not here."""
        found = np.array([self._places.get(digest, -1) for digest in digests], np.int64)
        return found >> _ROW_BITS, np.where(found < 0, -1, found & _ROW)

    def kept(self, part: Part) -> NDArray[np.int64]:
        """Return which rows of *part* count, ascending: no older part holds them."""
        first = next(number for number, one in self.parts.items() if one is part) << _ROW_BITS
        places = (self._places.get(digest) for digest in part.digests())
        return np.flatnonzero([place == first | row for row, place in enumerate(places)])

    def update(self, new: Sequence[Part], gone: Collection[Path]) -> None:
        """Add parts and forget others; a row that both hold can be found all the time."""
        leaving = {number for number, part in self.parts.items() if part.path in gone}
        for part in new:
            self._add(part, leaving)
        for number in leaving:
            self._drop(number, leaving)

    def _add(self, part: Part, leaving: set[int]) -> None:
        number, self._next = self._next, self._next + 1
        self.parts[number] = part
        digests, start = part.digests(), number << _ROW_BITS
        new = dict(zip(digests, range(start, start + len(digests)), strict=True))
        # Almost always, and many times as fast as row by row.
        if len(new) == len(digests) and self._places.keys().isdisjoint(new):
            self._places.update(new)
            return
        for place, digest in enumerate(digests, start):
            other = self._places.setdefault(digest, place)
            if other == place:
                continue
            first, second = other, place
            if other >> _ROW_BITS in leaving:
                if digest not in self._doubled:
                    self._places[digest] = place
                    continue
            elif self._age(place) < self._age(other):
                first, second = place, other
            self._places[digest] = first
            self._doubled.setdefault(digest, []).append(second)

    def _drop(self, number: int, leaving: set[int]) -> None:
        for place, digest in enumerate(self.parts[number].digests(), number << _ROW_BITS):
            others = self._doubled.pop(digest, [])
            left = [one for one in others if one >> _ROW_BITS not in leaving]
            if self._places.get(digest) == place:
                if not left:
                    del self._places[digest]
                    continue
                self._places[digest] = oldest = min(left, key=self._age)
                left.remove(oldest)
            if left:
                self._doubled[digest] = left
        del self.parts[number]

    def _age(self, place: int) -> tuple[str, int]:
        return self.parts[place >> _ROW_BITS].path.name, place
