"""TIFF samples of every kind and layout give the pixels computed from their values."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from made_tiffs import made_tiff
from offshelf.data.decode import Limits, as_rgb, decode, decode_with_facts
from offshelf.data.decoding.colour import grey8
from offshelf.data.decoding.tiff import tiff_picture
from offshelf.errors import ImageError

WHITE = [255, 255, 255]
DTYPES = ["u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def noise(dtype: str, bands: int) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.random((37, 53, bands)).astype(dtype)
    limits = np.iinfo(kind)
    native = kind.newbyteorder("=")
    return rng.integers(limits.min, limits.max, (37, 53, bands), native, True).astype(dtype)


def expected(values: NDArray[Any]) -> NDArray[np.float64]:
    wide = values.astype(np.longdouble)
    low, high = wide.min(), wide.max()
    if values.dtype.kind == "f":
        low, high = np.longdouble(0), np.longdouble(1)
    elif values.dtype.str[1:] == "u2":
        low, high = np.longdouble(0), np.longdouble(65535)
    grey = np.floor((wide - low) * 255 / (high - low) + 0.5).astype(np.float64)
    return grey if grey.shape[2] == 3 else grey.repeat(3, axis=2)


def far(content: bytes, pixels: NDArray[np.float64]) -> float:
    return float(np.abs(decode(content) - pixels).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bands", [1, 3])
def test_every_kind_of_sample(dtype: str, order: str, bands: int) -> None:
    values = noise(order + dtype, bands)
    assert far(made_tiff(values), expected(values)) == 0


@pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f4", ">f8", ">f2"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(
    "layout",
    [
        {"rows": 5},
        {"rows": 5, "packed": True},
        {"tile": 16},
        {"tile": 16, "packed": True},
        {"separate": True},
        {"separate": True, "rows": 7},
        {"separate": True, "tile": 32, "packed": True},
        {"packed": True, "predictor": 2, "rows": 9},
        {"packed": True, "predictor": 2, "tile": 16, "separate": True},
        {"packed": True, "predictor": 3, "rows": 9},
        {"packed": True, "predictor": 3, "tile": 16},
        {"big": True, "rows": 9},
        {"more": ((274, "H", [1]), (65000, "H", [1] * 500))},
    ],
    ids=str,
)
def test_every_layout(dtype: str, bands: int, layout: dict[str, Any]) -> None:
    values = noise(dtype, bands)
    if layout.get("predictor") == 3 and values.dtype.kind != "f":
        layout = {**layout, "predictor": 2}  # that of whole numbers
    assert far(made_tiff(values, **layout), expected(values)) == 0


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_files_of_another_writer(compression: str, dtype: str) -> None:
    values = noise(dtype, 1)
    buffer = io.BytesIO()
    image = Image.fromarray(values[:, :, 0])
    image.save(buffer, "TIFF", compression=compression, tiffinfo={317: 1})
    assert far(buffer.getvalue(), expected(values)) == 0


def test_8_bits_of_big_endian_bigtiff() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    content = bytearray(made_tiff(values.astype(">u2") * 257, big=True))
    assert decode(bytes(content)).tolist() == values.tolist()


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("bands", [1, 3])
def test_without_a_photometric_tag_black_is_zero(dtype: str, bands: int) -> None:
    white = np.iinfo(dtype).max
    content = made_tiff(np.full((1, 1, bands), white, dtype))
    entry = struct.pack("<HH", 262, 3)
    assert entry in content
    assert decode(content.replace(entry, struct.pack("<HH", 60001, 3))).tolist() == [[WHITE]]


@pytest.mark.parametrize("rows", [0, 2**16 - 1])
def test_one_strip_by_any_number_of_rows(rows: int) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    content = bytearray(made_tiff(values))
    at = content.index(struct.pack("<HHI", 278, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", rows)
    assert decode(bytes(content))[:, :, 0].tolist() == np.arange(12).reshape(3, 4).tolist()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero(dtype: str) -> None:
    white = {"u1": 255, "u2": 65535, "f4": 1}[dtype]
    values = np.array([[0, white]], dtype)
    assert decode(made_tiff(values, photometric=0)).tolist() == [[WHITE, [0] * 3]]
    bilevel = Image.new("1", (2, 1))
    bilevel.putpixel((1, 0), 1)
    buffer = io.BytesIO()
    bilevel.save(buffer, "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)
    assert entry + b"\1" in buffer.getvalue()
    content = buffer.getvalue().replace(entry + b"\1", entry + b"\0")
    assert decode(content).tolist() == [[WHITE, [0] * 3]]


def test_no_data_is_black_even_where_white_is_zero() -> None:
    values = np.array([[np.nan, 0, 1]], np.float32)
    assert decode(made_tiff(values, photometric=0)).tolist() == [[[0] * 3, WHITE, [0] * 3]]


@pytest.mark.parametrize("text", ["0.25", "0.25\0", " 2.5e-1 \0"])
def test_the_tag_of_no_data(text: str) -> None:
    more = ((42113, "B", list(text.encode())),)
    values = np.array([[0.25, 280, 290, 300]], np.float32)
    assert decode(made_tiff(values, more=more))[0, :, 0].tolist() == [0, 0, 128, 255]
    whole = np.array([[7, 65535]], np.uint16)
    more = ((42113, "B", list(b"65535\0")),)
    assert decode(made_tiff(whole, more=more))[0, :, 0].tolist() == [0, 0]


def test_no_data_of_8_bits_and_of_colour() -> None:
    more = ((42113, "B", list(b"255\0")),)
    grey = np.array([[7, 255]], np.uint8)
    assert decode(made_tiff(grey, more=more)).tolist() == [[[7] * 3, [0] * 3]]
    colour = np.array([[[255, 200, 255], [255, 255, 255]]], np.uint8)
    for values in (colour, colour * np.uint16(257)):
        more = ((42113, "B", list(f"{values.max()}\0".encode())),)
        assert decode(made_tiff(values, more=more)).tolist() == [[[255, 200, 255], [0] * 3]]


def test_no_data_is_rounded_as_the_samples_are() -> None:
    more = ((42113, "B", list(b"280.1\0")),)
    values = np.array([[280.1, 282, 292, 302]], np.float32)
    assert decode(made_tiff(values, more=more))[0, :, 0].tolist() == [0, 0, 128, 255]
    assert as_rgb(Image.open(io.BytesIO(made_tiff(values, more=more))))[0, 0, 0] == 0


def test_colour_is_scaled_as_one() -> None:
    values = np.array([[[280, 290, 300], [np.nan, 285, -9999]]], np.float32)
    assert decode(made_tiff(values)).tolist() == [[[0, 128, 255], [0, 64, 0]]]
    overshoot = np.array([[[-0.02, 0.5, 1.02]]], np.float64)
    assert decode(made_tiff(overshoot)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    values = noise("<u2", 3)
    buffer = io.BytesIO()
    image = Image.fromarray(expected(values).astype(np.uint8))
    image.save(buffer, "TIFF", tiffinfo={274: orientation})
    content = made_tiff(values, rows=8, more=((274, "H", [orientation]),))
    assert np.array_equal(decode(content), decode(buffer.getvalue()))


def bands(*values: int) -> NDArray[np.uint8]:
    return np.array([[values]], np.uint8)


FOUR = "4 bands of a TIFF without ExtraSamples: the first three read as RGB"


@pytest.mark.parametrize(
    ("content", "pixel", "assumed"),
    [
        (made_tiff(bands(10, 20, 30, 0)), [10, 20, 30], FOUR),
        (made_tiff(bands(10, 20, 30, 0), extra=[0]), [10, 20, 30], ""),
        (made_tiff(bands(10, 20, 30, 0), extra=[2]), WHITE, ""),
        (made_tiff(bands(10, 20, 30, 255), extra=[2]), [10, 20, 30], ""),
        (made_tiff(bands(10, 20, 30, 40, 50, 60, 70), extra=[0] * 4), [10, 20, 30], ""),
        (
            made_tiff(bands(10, 20, 30, 40, 50, 60, 70), photometric=1, extra=[0] * 6),
            [10, 20, 30],
            "7 grey bands of a TIFF: the first three read as RGB",
        ),
        (
            made_tiff(bands(10, 20, 30), photometric=1),
            [10, 20, 30],
            "3 grey bands of a TIFF: the first three read as RGB",
        ),
        (
            made_tiff(bands(10, 20), photometric=1),
            [10] * 3,
            "2 bands of a TIFF without ExtraSamples: the first read as grey",
        ),
        (made_tiff(bands(10, 20, 0), photometric=1, extra=[0, 2]), WHITE, ""),
        (made_tiff(bands(10, 0), photometric=0, extra=[2]), WHITE, ""),
        (made_tiff(bands(10, 0), photometric=1, extra=[2]), WHITE, ""),
        (made_tiff(bands(64, 128), photometric=1, extra=[1]), [191] * 3, ""),
        (made_tiff(bands(64, 0, 0, 128), extra=[1]), [191, 127, 127], ""),
        (made_tiff(bands(10, 255), photometric=0, extra=[2]), [245] * 3, ""),
    ],
)
def test_bands(content: bytes, pixel: list[int], assumed: str) -> None:
    decoded = decode_with_facts(content)
    assert decode(content).tolist() == [[pixel]]
    assert decoded.facts.assumed == assumed


@pytest.mark.parametrize(
    ("values", "extra", "pixel"),
    [
        (np.array([[[65535, 0, 0, 32896]]], np.uint16), 2, [255, 127, 127]),
        (np.array([[[32896, 0, 0, 32896]]], np.uint16), 1, [255, 127, 127]),
        (np.array([[[1.0, 0, 0, 0.5]]], np.float32), 2, [255, 127, 127]),
        (np.array([[[0.5, 0, 0, 0.5]]], np.float32), 1, [255, 127, 127]),
        (np.array([[[255.0, 0, 51, 255.0]]], np.float32), 2, [255, 0, 51]),
        (np.array([[[255.0, 0, 51, 1.0]]], np.float32), 2, [255, 0, 51]),
        (np.array([[[0, 0, 255, 2**31 - 1]]], np.int32), 2, [0, 0, 255]),
    ],
)
def test_alpha_of_deep_samples(values: NDArray[Any], extra: int, pixel: list[int]) -> None:
    assert decode(made_tiff(values, extra=[extra])).tolist() == [[pixel]]


def test_the_caller_of_python_gets_the_same_grey() -> None:
    for values in (
        np.array([[0, 2**31, 2**32 - 1]], np.uint32),
        np.array([[-3.4e38, 0.5, 1.01]], np.float32),
        np.array([[-5, 0, 5]], np.int16),
    ):
        for photometric in (0, 1):
            content = made_tiff(values, photometric=photometric)
            try:
                opened = Image.open(io.BytesIO(content))
            except OSError:  # Pillow does not open every one
                continue
            assert np.array_equal(as_rgb(opened), decode(content))


def test_no_warning_reaches_the_caller() -> None:
    everything = [np.nan, np.inf, -np.inf, 6e4, -6e4, 1e-7]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in ("f2", "f4", "f8"):
            values = np.array([everything, [*everything[:4], 1e300, -1e300]])
            with np.errstate(all="ignore"):
                values = values.astype(dtype)
            decode(made_tiff(values))
            grey8(values)


@pytest.mark.parametrize("extra", [None, [0], [2]])
def test_the_caller_of_python_gets_the_same_bands(extra: list[int] | None) -> None:
    content = made_tiff(bands(10, 20, 30, 0), extra=extra)
    opened = Image.open(io.BytesIO(content))
    assert as_rgb(opened).tolist() == decode(content).tolist()


def test_truncated_and_damaged() -> None:
    values = noise("<f4", 3)
    for content in (made_tiff(values, rows=5), made_tiff(values, rows=5, packed=True)):
        with pytest.raises(ImageError, match=r"^truncated: the TIFF file ends early$"):
            decode(content[: len(content) * 2 // 3])
    packed = bytearray(made_tiff(values, packed=True))
    at = packed.index(b"\x78\x9c")
    packed[at : at + 9] = bytes(9)
    with pytest.raises(ImageError, match=r"^unreadable: damaged, or an unusual kind of TIFF$"):
        decode(bytes(packed))


@pytest.mark.parametrize("packed", [False, True])
def test_parts_that_are_left_out(packed: bool) -> None:
    """Sparse files, as maps of the earth are written."""
    content = bytearray(made_tiff(noise("<f4", 1), rows=5, packed=packed))
    entry = content.index(struct.pack("<HHI", 279, 4, 8)) + 8
    (at,) = struct.unpack_from("<I", content, entry)
    content[at + 4 : at + 8] = bytes(4)
    with pytest.raises(ImageError) as caught:
        decode(bytes(content))
    assert str(caught.value) == "unsupported: a TIFF with parts left out; convert it to PNG"


def test_limits() -> None:
    content = made_tiff(noise("<f4", 3))
    with pytest.raises(ImageError, match=r"^too_large: 53 x 37 pixels, the limit is 99 in all$"):
        decode(content, Limits(max_pixels=99))
    many = bytearray(made_tiff(np.zeros((1, 1, 40_000), np.uint16)))
    for tag in (256, 257, 278):
        at = many.index(struct.pack("<HHI", tag, 3, 1)) + 8
        many[at : at + 2] = struct.pack("<H", 10_000)
    with pytest.raises(ImageError, match=r"^too_large: more than 4294967296 bytes of samples"):
        decode(bytes(many), Limits(max_memory=10**12))


@pytest.mark.parametrize("planes", [False, True])
def test_a_size_beyond_any_limit_is_not_laid_out(planes: bool) -> None:
    content = bytearray(made_tiff(noise("<u2", 3), separate=planes))
    for tag in (256, 257, 278):
        entry = content.index(struct.pack("<HHI", tag, 3, 1))
        struct.pack_into("<HHII", content, entry, tag, 4, 1, 2**31)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"^too_large: more pixels than Pillow opens"):
            decode(bytes(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [{}, {"rows": 8, "packed": True}, {"tile": 256}, {"packed": True}, {"rows": 700}],
    ids=str,
)
def test_a_large_file_takes_its_pixels_and_a_little_more(layout: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    content = made_tiff(rng.random((2000, 1500), np.float32), **layout)
    known = tiff_picture(content)
    assert known is not None
    tracemalloc.start()
    try:
        pixels = decode(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pixels.nbytes <= peak <= known.memory <= pixels.nbytes + 130 * 2**20


@pytest.mark.parametrize("mode", ["P", "F"])
def test_a_tag_of_millions_of_values_is_not_read(mode: str) -> None:
    """As Python's numbers they would take ten times their bytes."""
    buffer = io.BytesIO()
    Image.new(mode, (64, 64)).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    entry = content.index(struct.pack("<HHI", 273, 4, 1))
    struct.pack_into("<HHII", content, entry, 273, 4, 2**21, len(content))
    content += bytes(4 * 2**21)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"^unreadable: ") as caught:
            decode(bytes(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**26
    if mode == "P":
        assert caught.value.reason == "more than 1048576 values in a tag of a TIFF"


def test_strips_that_all_unpack_the_same_bytes_are_bounded() -> None:
    """A place and length for each strip may repeat; what is copied is bounded by the picture."""
    content = bytearray(made_tiff(np.zeros((64, 64), np.float32), rows=1, packed=True))
    body = zlib.compress(bytes(2**20))
    start = len(content)
    for tag, value in ((273, start), (279, len(body))):
        entry = content.index(struct.pack("<HHI", tag, 4, 64)) + 8
        (at,) = struct.unpack_from("<I", content, entry)
        struct.pack_into("<64I", content, at, *[value] * 64)
    assert decode(bytes(content) + body).tolist() == np.zeros((64, 64, 3)).tolist()
