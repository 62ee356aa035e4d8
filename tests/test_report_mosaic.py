"""Tiles: where they stand, how big they are, and how numbers become shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offshelf.report.pictures import mosaic


@given(st.integers(1, 1024), st.integers(2, 512), st.integers(2000, 4000))
def test_every_layout_fits_its_room(count: int, side: int, room: int) -> None:
    place = mosaic.layout(count, side, room)
    assert place.columns * place.rows >= count > place.columns * (place.rows - 1)
    assert place.tile >= 1
    assert place.width <= room
    assert place.height <= room
    assert place.tile % side == 0 or place.tile < side


def test_tiles_do_not_overlap() -> None:
    place = mosaic.layout(10, 7, 2000)
    corners = [place.corner(number) for number in range(10)]
    assert len(set(corners)) == 10
    assert max(x for x, _ in corners) + place.tile == place.width
    assert max(y for _, y in corners) + place.tile == place.height


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (4, [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]),
        (2, [[1, 2], [3, 4]]),
        (1, [[2.5]]),
    ],
)
def test_maps_are_repeated_or_averaged(side: int, expected: list[list[float]]) -> None:
    assert mosaic.to_side(np.array([[1.0, 2.0], [3.0, 4.0]]), side).tolist() == expected


@pytest.mark.parametrize(
    ("values", "cut", "expected"),
    [
        ([2.0, 5.0], 0.0, (0.0, 5.0)),
        ([-3.0, 5.0], 0.0, (-3.0, 5.0)),
        ([-3.0, -1.0], 0.0, (-3.0, 0.0)),
        ([0.0, 0.0], 0.0, (0.0, 0.0)),
        ([0.0] * 999 + [7.0], 0.005, (0.0, 7.0)),
        ([1.0] * 999 + [100.0], 0.005, (0.0, 1.0)),
    ],
)
def test_a_scale_holds_zero(values: list[float], cut: float, expected: tuple[float, float]) -> None:
    assert mosaic.limits(np.array(values), cut) == expected


def test_an_empty_range_is_dark() -> None:
    assert mosaic.shares(np.zeros((2, 2)), 0.0, 0.0).tolist() == [[0, 0], [0, 0]]


def test_a_picture_of_the_right_size_stays_what_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    assert np.array_equal(mosaic.picture_to_side(pixels, 9), pixels)
    assert mosaic.picture_to_side(pixels, 30).shape == (30, 30, 3)
