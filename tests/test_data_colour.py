"""Every mode and orientation ends as the RGB that a person sees."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from offshelf.data.decode import Limits, as_rgb, decode, decode_with_facts
from offshelf.data.decoding.colour import grey8

WHITE, RED, GREY = [255, 255, 255], [255, 0, 0], [128, 128, 128]
# Two rows of three blocks of 16 pixels, so that JPEG keeps them apart.
LAYOUT = np.array([[0, 60, 120], [180, 220, 255]], np.uint8)
BLOCKS = np.kron(LAYOUT, np.ones((16, 16), np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def layout_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey level in the middle of each block, rounded to the level it was drawn with."""
    middles = pixels[8::16, 8::16, 0].astype(int)
    return LAYOUT.ravel()[np.abs(middles[..., None] - LAYOUT.ravel()).argmin(-1)]


UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(BLOCKS).convert("RGB"), kind, exif=exif.tobytes())
    expected = UPRIGHT[orientation](LAYOUT)
    pixels = decode(content)
    assert pixels.shape == (16 * expected.shape[0], 16 * expected.shape[1], 3)
    assert np.array_equal(layout_of(pixels), expected)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_out_of_range_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(BLOCKS), "JPEG", exif=exif.tobytes())
    assert np.array_equal(layout_of(decode(content)), LAYOUT)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing"]
)
def test_damaged_exif_leaves_the_picture_whole(exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = decode(saved(Image.fromarray(BLOCKS), "JPEG", exif=exif))
    assert np.array_equal(layout_of(pixels), LAYOUT)


def test_orientation_of_xmp() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = saved(Image.fromarray(BLOCKS).convert("RGB"), "JPEG", xmp=xmp)
    assert np.array_equal(layout_of(decode(content)), np.rot90(LAYOUT, -1))


def two(mode: str, left: Any, right: Any) -> Image.Image:
    image = Image.new(mode, (2, 1), left)
    image.putpixel((1, 0), right)
    return image


def deep(kind: str, dtype: str, values: list[float]) -> bytes:
    return saved(Image.fromarray(np.array([values], dtype)), kind)


def palette(transparency: Any = None) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return saved(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


CASES: dict[str, tuple[bytes, list[list[int]]]] = {
    "1-bit": (saved(two("1", 0, 1), "PNG"), [[0, 0, 0], WHITE]),
    "1-bit tiff": (saved(two("1", 0, 1), "TIFF"), [[0, 0, 0], WHITE]),
    "1-bit, one clear": (saved(two("1", 0, 1), "PNG", transparency=0), [WHITE, WHITE]),
    "grey": (saved(two("L", 7, 200), "PNG"), [[7] * 3, [200] * 3]),
    "grey, one clear": (saved(two("L", 7, 200), "PNG", transparency=7), [WHITE, [200] * 3]),
    "grey and alpha": (saved(two("LA", (0, 0), (0, 127)), "PNG"), [WHITE, GREY]),
    "palette": (palette(), [RED, [0, 0, 255]]),
    "palette, one clear": (palette(0), [WHITE, [0, 0, 255]]),
    "palette with alpha": (palette(b"\xff\x80"), [RED, [127, 127, 255]]),
    "rgb": (saved(two("RGB", (1, 2, 3), (4, 5, 6)), "BMP"), [[1, 2, 3], [4, 5, 6]]),
    "rgb, one clear": (
        saved(two("RGB", (1, 2, 3), (4, 5, 6)), "PNG", transparency=(1, 2, 3)),
        [WHITE, [4, 5, 6]],
    ),
    "rgba": (saved(two("RGBA", (9, 9, 9, 0), (255, 0, 0, 255)), "PNG"), [WHITE, RED]),
    "rgba tiff": (saved(two("RGBA", (9, 9, 9, 0), (255, 0, 0, 255)), "TIFF"), [WHITE, RED]),
    "rgba webp": (
        saved(two("RGBA", (9, 9, 9, 0), (255, 0, 0, 255)), "WEBP", lossless=True),
        [WHITE, RED],
    ),
    "rgba jpeg 2000": (
        saved(two("RGBA", (9, 9, 9, 0), (255, 0, 0, 255)), "JPEG2000"),
        [WHITE, RED],
    ),
    "cmyk tiff": (saved(two("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), "TIFF"), [RED, [0, 0, 0]]),
    "gif, one clear": (saved(two("P", 0, 1), "GIF", transparency=1), [[0, 0, 0], WHITE]),
    "16-bit grey png": (deep("PNG", "uint16", [257, 65535]), [[1] * 3, WHITE]),
    "16-bit grey tiff": (deep("TIFF", "uint16", [385, 386]), [[1] * 3, [2] * 3]),
    "16-bit grey jpeg 2000": (deep("JPEG2000", "uint16", [0, 32896]), [[0] * 3, GREY]),
    "16-bit pgm": (b"P5 2 1 65535 \x01\x01\xff\xff", [[1] * 3, WHITE]),
    "10-bit pgm": (b"P5 2 1 1023 \x00\x00\x03\xff", [[0] * 3, WHITE]),
    "16-bit ppm": (b"P6 1 1 65535 \xff\xff\0\0\0\0", [RED]),
    "plain pbm": (b"P1 2 1 0 1", [WHITE, [0, 0, 0]]),
    "plain pgm": (b"P2 2 1 255 0 128", [[0] * 3, GREY]),
    "32-bit tiff of 8-bit values": (deep("TIFF", "int32", [0, 128]), [[0] * 3, GREY]),
    "32-bit tiff of 16-bit values": (deep("TIFF", "int32", [0, 32896]), [[0] * 3, GREY]),
    "float tiff": (deep("TIFF", "float32", [0, 0.5]), [[0] * 3, GREY]),
}


@pytest.mark.parametrize("name", CASES)
def test_modes(name: str) -> None:
    content, expected = CASES[name]
    pixels = decode(content)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [expected]


def test_background() -> None:
    clear = saved(two("RGBA", (9, 9, 9, 0), (255, 0, 0, 255)), "PNG")
    assert decode(clear, Limits(background=(1, 2, 3))).tolist() == [[[1, 2, 3], RED]]


def test_16_bit_grey_with_a_clear_value() -> None:
    header = b"\0\0\0\x02\0\0\0\x01\x10\0\0\0\0"
    content = deep("PNG", "uint16", [1000, 2000])
    at = content.index(b"IDAT") - 4
    chunk = io.BytesIO()
    PngImagePlugin.putchunk(chunk, b"tRNS", (1000).to_bytes(2, "big"))
    assert header in content
    assert decode(content[:at] + chunk.getvalue() + content[at:]).tolist() == [[WHITE, [8] * 3]]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, bits: int, colour: int, row: bytes, *extra: bytes) -> bytes:
    """One row of pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")


def clear(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(2, 1, 0, b"\x40", clear(1)), [0, 255]),
        (png(2, 1, 0, b"\x40", clear(0)), [255, 255]),
        (png(4, 2, 0, b"\x1b", clear(1)), [0, 255, 170, 255]),
        (png(4, 2, 0, b"\x1b", clear(2)), [0, 85, 255, 255]),
        (png(4, 2, 0, b"\x1b", clear(0xFF02)), [0, 85, 255, 255]),  # the low bits count
        (png(2, 4, 0, b"\x5c", clear(5)), [255, 204]),
        (png(2, 4, 0, b"\x5c", clear(85)), [255, 204]),
        (png(2, 8, 0, b"\x05\x55", clear(5)), [255, 85]),
        (png(2, 8, 0, b"\x05\x55", clear(0x155)), [5, 255]),
        (png(2, 16, 0, b"\x01\x00\x80\x80", clear(256)), [255, 128]),
        (png(2, 8, 2, bytes(3) + b"\x07\x07\x07", clear(0x107, 7, 7)), [0, 255]),
        (png(2, 16, 2, bytes(6) + b"\x80" * 6, clear(0x8080, 0x8080, 0x8080)), [0, 255]),
    ],
)
def test_transparent_values_count_as_the_file_stores_them(
    content: bytes, expected: list[int]
) -> None:
    assert decode(content).tolist() == [[[value] * 3 for value in expected]]
    opened = Image.open(io.BytesIO(content))
    assert as_rgb(opened).tolist() == [[[value] * 3 for value in expected]]
    if expected[0] != 255:
        assert decode(content, Limits(background=(1, 2, 3)))[0, 0].tolist() == [expected[0]] * 3


def test_the_image_of_a_caller_is_left_as_it_was() -> None:
    opened = Image.open(io.BytesIO(png(4, 2, 0, b"\x1b", clear(2))))
    as_rgb(opened)
    assert opened.info["transparency"] == 2


def assumed(content: bytes) -> str:
    return decode_with_facts(content).facts.assumed


def bmp32(size: int, alpha_mask: int, *pixels: int) -> bytes:
    """32 bits a pixel, B G R A, with a header of *size* bytes: 56, 108 (V4) or 124 (V5)."""
    where = 14 + size
    rows = struct.pack(f"<{len(pixels)}I", *pixels)
    head = b"BM" + struct.pack("<IHHI", where + len(rows), 0, 0, where)
    head += struct.pack("<IiiHHIIiiII", size, len(pixels), 1, 1, 32, 3, len(rows), 0, 0, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
    return head.ljust(where, b"\0") + rows


@pytest.mark.parametrize("size", [56, 108, 124])
def test_alpha_of_a_bmp_counts_unless_it_is_0_everywhere(size: int) -> None:
    nowhere = bmp32(size, 0xFF000000, 0x00010203, 0x00040506)
    assert decode(nowhere).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert assumed(nowhere) == "BMP with alpha 0 everywhere read as opaque"
    somewhere = bmp32(size, 0xFF000000, 0x00010203, 0xFF040506)
    assert decode(somewhere).tolist() == [[WHITE, [4, 5, 6]]]
    without = bmp32(size, 0, 0x00010203, 0xFF040506)
    assert decode(without).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert assumed(somewhere) == assumed(without) == ""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_other_files_that_are_clear_everywhere_show_the_background(kind: str) -> None:
    content = saved(Image.new("RGBA", (2, 1), (1, 2, 3, 0)), kind)
    assert decode(content).tolist() == [[WHITE, WHITE]]
    assert assumed(content) == ""


def without_adobe(content: bytes) -> bytes:
    at = content.index(b"\xff\xee")
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


def test_cmyk_without_a_marker_of_adobe_holds_inks() -> None:
    """Cyan paper: 255 of the first ink, none of the others, as a PDF file stores it."""
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 255))  # Pillow's writer inverts
    plain = without_adobe(saved(inks, "JPEG", quality=95))
    assert np.abs(decode(plain).astype(int) - (0, 255, 255)).max() <= 3
    assert assumed(plain) == "CMYK without an Adobe marker read as inks"
    assert np.abs(as_rgb(Image.open(io.BytesIO(plain))).astype(int) - (0, 255, 255)).max() <= 3
    marked = saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)
    assert np.abs(decode(marked).astype(int) - (0, 255, 255)).max() <= 3
    assert assumed(marked) == ""


def tiff_palette(factor: int) -> bytes:
    content = bytearray(palette_tiff := saved(two_colours(), "TIFF"))
    entry = palette_tiff.index(struct.pack("<HHI", 320, 3, 768))
    (at,) = struct.unpack_from("<I", content, entry + 8)
    for channel, values in enumerate(((10, 200), (20, 100), (30, 50))):
        every = [0] * 256
        every[:2] = [value * factor for value in values]
        struct.pack_into("<256H", content, at + 512 * channel, *every)
    return bytes(content)


def two_colours() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_palettes_of_8_and_16_bits(factor: int) -> None:
    content = tiff_palette(factor)
    assert decode(content).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert as_rgb(Image.open(io.BytesIO(content))).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_jpeg_of_other_colour(mode: str) -> None:
    """Adobe's CMYK is stored inverted; a patch of pure red must come back red."""
    image = Image.new("RGB", (16, 16), (255, 0, 0)).convert(mode)
    pixels = decode(saved(image, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_lab_tiff() -> None:
    red = Image.new("RGB", (4, 4), (200, 30, 30))
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(red, transform)
    assert lab is not None
    assert np.abs(decode(saved(lab, "TIFF")).astype(int) - (200, 30, 30)).max() <= 4


def test_12_bit_tiff() -> None:
    """Two values of 12 bits in three bytes; 4095 is white."""
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
    directory = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    content = b"II*\0" + (12).to_bytes(4, "little") + b"\x80\x8f\xff\0" + directory + b"\0\0\0\0"
    assert decode(content).tolist() == [[GREY, WHITE]]


def test_16_bit_tiff_where_white_is_zero() -> None:
    content = deep("TIFF", "uint16", [0, 65535])
    entry = (262).to_bytes(2, "little") + b"\3\0\1\0\0\0"
    assert entry + b"\1\0" in content
    content = content.replace(entry + b"\1\0", entry + b"\0\0")
    assert decode(content).tolist() == [[WHITE, [0] * 3]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), (255, 255, 255)), Image.new("RGB", (16, 16))]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert decode(content).min() >= 250


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 255]], np.int32), [0, 255]),
        (np.array([[0, 65535]], np.int32), [0, 255]),
        (np.array([[0, 65536, 131072]], np.int32), [0, 128, 255]),
        (np.array([[-5, 5]], np.int32), [0, 255]),
        (np.array([[0.0, 100.4]], np.float32), [0, 100]),
        (np.array([[0.0, 300.0]], np.float32), [0, 255]),
        (np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32), [0, 0, 0, 255]),
        (np.array([[np.nan]], np.float32), [0]),
        (np.array([[1e6, 1e6]], np.float32), [0, 0]),
        (np.array([[0, 0]], np.int32), [0, 0]),
        (np.array([[-3e38, 3e38]], np.float32), [0, 255]),
    ],
)
def test_values_decide_where_no_white_is_known(values: Any, expected: list[int]) -> None:
    assert grey8(values).tolist() == [expected]


def test_16_bits_are_divided_by_257_to_the_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(grey8(values, top=65535), np.floor(values / 257 + 0.5))


def test_large_images_are_the_same_in_strips() -> None:
    values = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    assert np.array_equal(decode(saved(Image.fromarray(values), "BMP")), values)
    tall = np.random.default_rng(1).integers(0, 256, (200_001, 3, 3), np.uint8)
    assert np.array_equal(decode(saved(Image.fromarray(tall), "BMP")), tall)
