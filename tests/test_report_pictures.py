"""Pictures of maps, filters and crops, checked by their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from offshelf.errors import OffshelfError
from offshelf.report.pictures import mosaic
from offshelf.report.pictures.activation_tiles import (
    BETWEEN,
    HEAD,
    MARGIN,
    SIDE_PANEL,
    Caption,
    Look,
    crop_picture,
    filter_picture,
    map_picture,
)
from offshelf.report.pictures.canvas import MAX_SIDE
from offshelf.report.pictures.colour_maps import coloured

SEEN = np.random.default_rng(1).integers(0, 256, (SIDE_PANEL, SIDE_PANEL, 3), np.uint8)
TITLE = Caption("vgg16  relu1_1", "cat.jpg")


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def tiles(picture: np.ndarray, count: int, side: int) -> list[np.ndarray]:
    place = mosaic.layout(count, side, 4000)
    left = MARGIN + SIDE_PANEL + BETWEEN
    corners = [place.corner(number) for number in range(count)]
    return [
        picture[HEAD + y : HEAD + y + place.tile, left + x : left + x + place.tile]
        for x, y in corners
    ]


def drawn(maps: np.ndarray, **look: str) -> list[np.ndarray]:
    names = [str(number) for number in range(len(maps))]
    picture = opened(map_picture(maps, names, SEEN, TITLE, Look(**look)))
    return tiles(picture, len(maps), maps.shape[-1])


def test_each_channel_has_a_scale_of_its_own() -> None:
    maps = np.zeros((3, 7, 7))
    maps[0, 0, 0], maps[1, 3, 3] = 1000.0, 0.001
    first, second, dead = drawn(maps)
    light, dark = coloured(np.array([1.0, 0.0]))
    assert np.array_equal(first[2, 2], light)
    assert np.array_equal(second[second.shape[0] // 2, second.shape[1] // 2], light)
    assert (dead == dark).all()


def test_a_common_scale_compares_channels() -> None:
    maps = np.zeros((2, 7, 7))
    maps[0, 0, 0], maps[1, 0, 0] = 10.0, 5.0
    first, second = drawn(maps, scale="common", colours="grey")
    assert first[2, 2].tolist() == [255, 255, 255]
    assert second[2, 2].tolist() == [128, 128, 128]


def test_the_input_stands_beside_the_maps_as_it_was_seen() -> None:
    picture = opened(map_picture(np.ones((1, 7, 7)), ["0"], SEEN, TITLE))
    top = HEAD + mosaic.LABEL
    assert np.array_equal(picture[top : top + SIDE_PANEL, MARGIN : MARGIN + SIDE_PANEL], SEEN)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "side"), [(1, 2), (64, 224), (1024, 7), (20, 512)])
def test_pictures_of_maps_are_bounded(count: int, side: int) -> None:
    maps = np.zeros((count, side, side), np.float32)
    with Image.open(io.BytesIO(map_picture(maps, [""] * count, SEEN, TITLE))) as picture:
        assert max(picture.size) <= MAX_SIDE


def test_few_extreme_cells_do_not_leave_a_large_map_dark() -> None:
    maps = np.full((1, 64, 64), 1.0)
    maps[0, 0, :4] = 100.0
    assert np.array_equal(drawn(maps)[0][-1, -1], coloured(np.array([1.0]))[0])
    assert not np.array_equal(drawn(maps, scale="common")[0][-1, -1], coloured(np.array([1.0]))[0])


def filter_tile(weights: np.ndarray, **look: str) -> np.ndarray:
    picture = opened(filter_picture(weights, [""] * len(weights), TITLE, Look(**look)))
    return picture[HEAD + mosaic.LABEL + 5, MARGIN + 5]


def test_a_filter_is_drawn_in_the_colours_it_weighs() -> None:
    weights = np.zeros((2, 3, 3, 3))
    weights[0, 0], weights[0, 2] = 0.5, -0.5
    weights[1] = 5.0
    assert filter_tile(weights).tolist() == [255, 128, 0]
    assert filter_tile(weights, scale="common").tolist() == [140, 128, 115]


def test_a_dead_filter_stays_grey() -> None:
    weights = np.full((2, 3, 3, 3), 1e-8)
    weights[1] = 1.0
    assert filter_tile(weights).tolist() == [128, 128, 128]
    assert filter_tile(np.zeros((1, 3, 3, 3))).tolist() == [128, 128, 128]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "side"), [(1, 11), (64, 7), (768, 16)])
def test_pictures_of_filters_are_bounded(count: int, side: int) -> None:
    weights = np.random.default_rng(0).normal(size=(count, 3, side, side))
    with Image.open(io.BytesIO(filter_picture(weights, [""] * count, TITLE))) as picture:
        assert max(picture.size) <= MAX_SIDE


def test_crops_stand_in_a_row_behind_their_channel() -> None:
    crop = np.full((32, 32, 3), (200, 10, 10), np.uint8)
    picture = opened(crop_picture([("7", [(crop, "1.5"), (crop, "1.2")])], 96, TITLE))
    red = np.argwhere((picture == (200, 10, 10)).all(axis=2))
    assert len(red) == 2 * 96 * 96
    assert opened(crop_picture([("7", [])], 96, TITLE)).shape[0] > 96


def test_too_many_rows_are_one_line() -> None:
    with pytest.raises(OffshelfError, match="choose fewer channels"):
        crop_picture([("0", [])] * 200, 96, TITLE)


@pytest.mark.parametrize(
    ("look", "text"),
    [
        ({"scale": "chanel"}, "no scale 'chanel': channel or common. Did you mean 'channel'?"),
        ({"colours": "jet"}, "no colours 'jet': cividis, viridis, magma, grey."),
        ({"form": "gif"}, "no form 'gif': pictures are png or svg"),
    ],
)
def test_a_wrong_look_is_one_line(look: dict[str, str], text: str) -> None:
    with pytest.raises(OffshelfError) as error:
        Look(**look)
    assert str(error.value) == text


def test_an_svg_has_the_same_maps() -> None:
    content = map_picture(np.ones((4, 7, 7)), list("abcd"), SEEN, TITLE, Look(form="svg"))
    assert content.startswith(b"<?xml")
