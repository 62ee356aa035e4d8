"""Values whose white no file states: what counts, what is drawn black and what white."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from offshelf.data.decoding.colour import conversion_bytes, grey8, picture
from offshelf.data.decoding.levels import Levels, found_levels, no_data

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # shares of white, which interpolation passes
        ([0.0, 0.5, 1.0001], [0, 128, 255]),
        ([-0.0001, 0.5, 1.0], [0, 128, 255]),
        ([-0.2, 0.5, 1.2], [0, 128, 255]),
        ([0.25, 1.7], [64, 255]),
        ([1.0001, 1.0001], [255, 255]),
        ([-1e-9, -1e-9], [0, 0]),
        # 8 bits, which interpolation passes
        ([-3.0, 128.0, 258.0], [0, 128, 255]),
        ([-3.0, 40.0], [0, 40]),
        ([256.0, 256.0], [255, 255]),
        ([0.0, 100.4], [0, 100]),
        # stretched, since it is none of both
        ([-0.5, 0.0, 0.5], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-5.0, 5.0], [0, 255]),
        ([280.0, 290.0, 300.0], [0, 128, 255]),
        ([250.0, 286.0], [0, 255]),
        ([0.0, 32767.5, 65535.0], [0, 128, 255]),
        # no data
        ([NAN, 280.0, 290.0, 300.0], [0, 0, 128, 255]),
        ([-INF, INF, 0.5], [0, 0, 128]),
        ([-3.4e38, 280.0, 290.0, 300.0], [0, 0, 128, 255]),
        ([1e20, 0.5, 1.0], [0, 128, 255]),
        ([9.96921e36, -1e30, 0.5], [0, 0, 128]),
        ([-9999.0, 280.0, 290.0, 300.0], [0, 0, 128, 255]),
        ([-9999.0, 0.5, 1.0], [0, 128, 255]),
        ([-32768.0, -20.0, 0.0, 20.0], [0, 0, 128, 255]),
        ([-9999.0, -9999.0], [0, 0]),
        ([NAN, NAN], [0, 0]),
        ([1e25, 3e25], [0, 255]),  # all are as large: a kind of its own
        ([-9999.0, -9000.0, 0.0, 9000.0], [0, 13, 134, 255]),  # a value among others
        ([-1.7e308, 1.7e308], [0, 255]),
        ([5e-324, 1e-320], [0, 0]),
    ],
)
def test_floats(values: list[float], expected: list[int]) -> None:
    assert grey8(np.array([values])).tolist() == [expected]
    fits = all(abs(value) < 1e38 or not np.isfinite(value) for value in values)
    if fits:
        assert grey8(np.array([values], np.float32)).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], [0, 1]),
        ([-3, 128, 258], [0, 128, 255]),
        ([-300, 32896, 65700], [0, 128, 255]),
        ([0, 256], [0, 255]),
        ([0, 1000, 65535], [0, 4, 255]),
        ([-1, 1], [0, 255]),
        ([-1024, 1023, 3071], [0, 127, 255]),
        ([-(2**31), -2000, 0, 2000], [0, 0, 128, 255]),
        ([-32768, 0, 257, 30000], [0, 0, 1, 117]),
    ],
)
def test_whole_numbers(values: list[int], expected: list[int]) -> None:
    assert grey8(np.array([values], np.int32)).tolist() == [expected]


def test_siblings_share_one_scale() -> None:
    """A picture that interpolation took past white is drawn as it was before."""
    for white in (1.0, 255.0):
        plain = np.array([0.0, 0.2, 0.7, 1.0]) * white
        passed = np.array([-0.03, 0.2, 0.7, 1.03]) * white
        assert grey8(plain).tolist() == grey8(passed).tolist() == [0, 51, 179, 255]


def test_the_blocks_decide_together() -> None:
    blocks = [np.array([NAN, -9999.0, 300.0]), np.array([280.0]), np.array([NAN])]
    levels = found_levels(blocks)
    assert levels == Levels(black=280.0, white=300.0, missing=(-9999.0,), huge=1e20)


def test_a_stated_value_of_no_data_counts_before_all() -> None:
    assert found_levels([np.array([0, 70, 255])], (255.0,)).grey8(
        np.array([0, 70, 255])
    ).tolist() == [0, 70, 0]
    levels = Levels(black=0, white=65535, missing=(65535.0,))
    assert levels.grey8(np.array([65535, 65534], np.uint16)).tolist() == [0, 255]


@pytest.mark.parametrize("text", [None, "", "nan", "inf", "none", b"\xff", (1, 2)])
def test_a_tag_that_states_no_value(text: object) -> None:
    assert no_data(text, np.dtype("f4")) == ()


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i2", ">i2", "<f2", ">f2"])
def test_two_bytes_by_table_as_one_by_one(dtype: str) -> None:
    values = np.arange(-300, 300, dtype=np.float64).repeat(1000).astype(dtype)
    levels = Levels(black=-100, white=200, missing=(7.0,))
    few = np.concatenate([levels.grey8(part) for part in np.array_split(values, 600)])
    assert values.size > 2**19
    assert np.array_equal(levels.grey8(values), few)


def made(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode == "F":
        return Image.fromarray(rng.random((size[1], size[0]), np.float32))
    if mode == "I":
        return Image.fromarray(rng.integers(0, 70000, (size[1], size[0]), np.int32))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (size[1], size[0]), np.uint16))
    noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), np.uint8))
    return noise.convert("RGB").convert(mode) if mode in {"P", "CMYK", "1"} else noise.convert(mode)


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")


@pytest.mark.parametrize("mode", MODES)
def test_a_large_picture_takes_its_pixels_and_a_little_more(mode: str) -> None:
    image = made(mode, (2000, 1500))
    tracemalloc.start()
    try:
        pixels, _ = picture(image, (255, 255, 255))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= conversion_bytes(mode, 2000, 1500) <= pixels.nbytes + 2**23
    assert peak >= pixels.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_strips_are_turned_as_the_whole(mode: str, orientation: int) -> None:
    image = made(mode, (300, 2000))
    plain: Any = picture(image, (1, 2, 3))[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    upright = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }[orientation](plain)
    assert np.array_equal(picture(image, (1, 2, 3))[0], upright)
