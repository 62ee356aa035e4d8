"""Which channels are shown."""

from __future__ import annotations

import numpy as np
import pytest

from offshelf.errors import LayerError, OffshelfError
from offshelf.jobs.visualise.feature_maps import Choice, parse_channels

STRENGTHS = np.array([1.0, 5.0, 2.0, 5.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0,)),
        ("0,3,10-12", (0, 3, 10, 11, 12)),
        (" 5 , 1-2 ", (5, 1, 2)),
        ("3,1-4,3", (3, 1, 2, 4)),
        ("7-7", (7,)),
    ],
)
def test_a_list_of_channels_is_read(text: str, expected: tuple[int, ...]) -> None:
    assert parse_channels(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "channels '': '' is no number or range as 10-20"),
        ("1,,2", "channels '1,,2': '' is no number or range as 10-20"),
        ("5-3", "channels '5-3': '5-3' is no number or range as 10-20"),
        ("-1", "channels '-1': '-1' is no number or range as 10-20"),
        ("a", "channels 'a': 'a' is no number or range as 10-20"),
        ("0-9999999", "1025 channels or more: one picture shows at most 1024"),
    ],
)
def test_anything_else_is_one_line(text: str, expected: str) -> None:
    with pytest.raises(LayerError) as error:
        parse_channels(text)
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("wanted", "sort", "limit", "expected"),
    [
        (None, "index", 3, (0, 1, 2)),
        (None, "strength", 3, (1, 3, 2)),
        ((3, 0, 2), "index", 1, (3, 0, 2)),
        ((0, 2, 3), "strength", 1, (3, 2, 0)),
    ],
)
def test_channels_are_chosen(wanted, sort: str, limit: int, expected) -> None:
    assert Choice(wanted, sort, limit).of(STRENGTHS) == expected


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ((0, 64), "relu1_1 has the channels 0 to 63: no channel 64"),
        ((-1,), "relu1_1 has the channels 0 to 63: no channel -1"),
        ((), "no channel was asked for"),
    ],
)
def test_a_channel_out_of_range_is_one_line(wanted: tuple[int, ...], text: str) -> None:
    with pytest.raises(LayerError) as error:
        Choice(wanted).check(64, "relu1_1")
    assert str(error.value) == text


def test_an_unknown_order_is_one_line() -> None:
    with pytest.raises(OffshelfError) as error:
        Choice(sort="strenght")
    assert str(error.value) == "no order 'strenght': index or strength. Did you mean 'strength'?"
