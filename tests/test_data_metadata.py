"""Metadata that are damaged, large or hostile never spoil a picture; damaged pixels always do."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from offshelf.data.decode import as_rgb, decode
from offshelf.data.decoding.pillow_files import jpeg_pixels, png_pixels
from offshelf.errors import ImageError

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
BROKEN = ("unreadable", "damaged, or an unusual kind of PNG")


def chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    checksum = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def saved(kind: str, exif: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind, **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def turn(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


PNG = saved("PNG")
HEAD, DATA, END = PNG[:33], PNG[33:-12], PNG[-12:]
BOMB = zlib.compress(bytes(30_000_000))
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Workflow\0\0" + zlib.compress(b"x" * 1_500_000)),
        chunk(b"iTXt", b"Workflow\0\1\0\0\0" + zlib.compress(b"x" * 1_500_000)),
        chunk(b"tEXt", b"Workflow\0" + b"x" * 70_000_000),
        chunk(b"zTXt", b"Workflow\0\0" + BOMB) * 80,
        chunk(b"iCCP", b"icc\0\0" + BOMB),
        chunk(b"iCCP", b"icc\0\0profile", wrong=1),
        chunk(b"iCCP", b"icc\0\7profile"),
        chunk(b"zTXt", b"Workflow\0\7text"),
        chunk(b"zTXt", b"Raw profile type exif\0\7text"),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
        chunk(b"iTXt", b"XML:com.adobe.xmp"),
        chunk(b"eXIf", turn(6)[6:], wrong=1),
        chunk(b"eXIf", b""),
        chunk(b"pHYs", b"short"),
        chunk(b"tRNS", b"short"),
        chunk(b"gAMA", b""),
        chunk(b"acTL", b"short"),
        chunk(b"fcTL", bytes(26), wrong=5) * 2,
        chunk(b"tIME", b"1234567", wrong=1),
        chunk(b"prVt", b"anything", wrong=1),
    ],
    ids=lambda extra: extra[4:8].decode(),
)
@pytest.mark.parametrize("last", [False, True])
def test_png_with_metadata_that_pillow_gives_up(extra: bytes, last: bool) -> None:
    content = HEAD + DATA + extra + END if last else HEAD + extra + DATA + END
    assert np.array_equal(decode(content), NOISE)
    assert len(png_pixels(content)) <= len(PNG) + 100


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", turn(6)[6:]),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_png_keeps_its_orientation(extra: bytes, last: bool) -> None:
    text = chunk(b"zTXt", b"Workflow\0\0" + BOMB)
    content = HEAD + text + DATA + extra + END if last else HEAD + extra + text + DATA + END
    assert np.array_equal(decode(content), np.rot90(NOISE, -1))


def test_damaged_chunks_of_pixels_stay_damaged() -> None:
    palette = io.BytesIO()
    Image.fromarray(NOISE).quantize(16).save(palette, "PNG")
    content = palette.getvalue()
    at = content.index(b"PLTE") + 10
    for damaged in (
        content[:at] + b"\xa5" + content[at + 1 :],
        HEAD[:-1] + b"\0" + DATA + END,
        HEAD + chunk(b"tRNS", bytes(6), wrong=1) + DATA + END,
        HEAD + b"\0\0\0\1\0\0\0\0" + DATA + END,
    ):
        with pytest.raises(ImageError) as caught:
            decode(damaged)
        assert (caught.value.status, caught.value.reason) == BROKEN


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_pixels_that_zeros_fill_up_are_damaged(mode: str) -> None:
    """As a broken transfer leaves them: much of that can be unpacked, as pixels of one colour."""
    large = Image.fromarray(NOISE).resize((300, 200))
    picture = large.quantize(64) if mode == "P" else large.convert("L" if mode[0] == "I" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    whole = buffer.getvalue()
    start = whole.index(b"IDAT")
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        at = start + int((len(whole) - 12 - start) * share)
        for damaged in (
            whole[:at].ljust(len(whole), b"\0"),
            whole[:at].ljust(len(whole) - 12, b"\0") + whole[-12:],
            whole[:at] + bytes(64) + whole[at + 64 :],
            whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :],
        ):
            with pytest.raises(ImageError) as caught:
                decode(damaged)
            assert caught.value.status == "unreadable"
            assert caught.value.reason == "damaged: its pixels do not match their checksum"


def test_a_wrong_checksum_over_right_pixels_is_no_damage() -> None:
    whole = saved("PNG")
    end = whole.index(b"IEND") - 5
    torn = whole[:end] + bytes([whole[end] ^ 1]) + whole[end + 1 :]
    assert np.array_equal(decode(torn), NOISE)


def test_a_chunk_that_never_ends_is_truncated() -> None:
    with pytest.raises(ImageError, match=r"^truncated: the PNG file ends early$"):
        decode(HEAD + struct.pack(">I", 2**31 - 1) + b"tEXt" + DATA)


@pytest.mark.slow
def test_a_million_chunks_are_not_read() -> None:
    with pytest.raises(ImageError, match=r"^unreadable: more than 1048576 chunks in a PNG$"):
        decode(HEAD + chunk(b"teSt", b"") * (2**20 + 1) + DATA + END)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE0, b"JFIF\0"),
        segment(0xEE, b"Adobe"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"MPF\0damaged"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
        segment(0xFE, b""),
    ],
)
def test_jpeg_with_segments_that_pillow_gives_up(extra: bytes) -> None:
    content = saved("JPEG", turn(6))
    damaged = content[:2] + extra + content[2:]
    assert np.array_equal(decode(damaged), decode(content))
    assert decode(damaged).shape == (50, 40, 3)


def test_jpeg_keeps_what_its_colours_are() -> None:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "JPEG", keep_rgb=True)  # by a marker of Adobe
    content = buffer.getvalue()
    assert b"Adobe" in jpeg_pixels(content)
    damaged = content[:2] + segment(0xE2, b"ICC_PROFILE\0") + content[2:]
    assert np.array_equal(decode(damaged), decode(content))


def deep(colour: int, values: list[list[int]], *extra: bytes) -> bytes:
    """One row of pixels of 16 bits."""
    row = np.array(values, ">u2")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", len(row), 1, 16, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row.tobytes()))
    return PNG[:8] + head + b"".join(extra) + body + END


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (deep(2, [[0x00FF, 128, 129], [65535, 0x8000, 0x7FFF]]), [[1, 0, 1], [255, 128, 127]]),
        (deep(6, [[0x00FF, 0x40FF, 0x8080, 65535]]), [[1, 65, 128]]),
        (deep(6, [[0, 0, 0, 0], [65535, 0, 0, 0x8080]]), [[255] * 3, [255, 127, 127]]),
        (deep(4, [[0x00FF, 65535], [0, 0], [0, 0x8080]]), [[1] * 3, [255] * 3, [127] * 3]),
        (
            deep(2, [[1, 2, 3], [1, 2, 4]], chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))),
            [[255] * 3, [0, 0, 0]],
        ),
    ],
)
def test_16_bit_colour_is_rounded_to_the_nearest(content: bytes, expected: list[list[int]]) -> None:
    assert decode(content).tolist() == [expected]
    opened = Image.open(io.BytesIO(content))
    assert as_rgb(opened).tolist() == [expected]
    assert as_rgb(opened).tolist() == [expected]  # the caller's image is as it was


def test_16_bit_colour_in_strips_and_turned() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (2000, 300, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 300, 2000, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows, 1))
    content = PNG[:8] + head + body + chunk(b"eXIf", turn(6)[6:]) + END
    expected = np.floor(np.rot90(values, -1) / 257 + 0.5)
    assert np.array_equal(decode(content), expected)


def with_tags(content: bytes, *entries: tuple[int, int, int, int]) -> bytes:
    """The same TIFF file with more tags in its directory."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    known = [content[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    known += [struct.pack("<HHII", *entry) for entry in entries]
    known.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    directory = struct.pack("<H", len(known)) + b"".join(known) + bytes(4)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "entry",
    [
        (282, 5, 1, 2**31),  # a resolution beyond the end
        (305, 2, 2**31 - 1, 8),  # a text without end
        (700, 3, 1, 5),  # XMP that is a number
        (34665, 4, 1, 100),  # EXIF where there is none
        (34675, 7, 2**30, 8),
        (50000, 77, 4, 4),
    ],
)
def test_tiff_with_tags_that_pillow_gives_up(mode: str, entry: tuple[int, int, int, int]) -> None:
    image = Image.fromarray(NOISE)
    buffer = io.BytesIO()
    (image.quantize(16) if mode == "P" else image.convert(mode)).save(buffer, "TIFF")
    assert np.array_equal(decode(with_tags(buffer.getvalue(), entry)), decode(buffer.getvalue()))


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_with_metadata_that_pillow_gives_up(lossless: bool) -> None:
    buffer, plain = io.BytesIO(), io.BytesIO()
    image = Image.fromarray(NOISE)
    image.save(plain, "WEBP", lossless=lossless)
    image.save(buffer, "WEBP", lossless=lossless, exif=turn(6), xmp=XMP, icc_profile=b"x" * 99)
    whole = buffer.getvalue()
    at = whole.index(b"EXIF") + 4
    for content in (whole[:at] + struct.pack("<I", 5) + whole[at + 4 :], whole[: at + 10]):
        assert np.array_equal(decode(content), decode(plain.getvalue()))
    assert decode(whole).shape == (50, 40, 3)
    with pytest.raises(ImageError, match=r"^truncated: the WEBP file ends early$"):
        decode(whole[: at // 2])
