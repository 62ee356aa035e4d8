"""Whole files of kinds that nothing here reads are told from damaged ones, and say what to do."""
# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from made_tiffs import made_tiff
from offshelf.data.decode import decode
from offshelf.errors import ImageError

DAMAGED = "damaged, or an unusual kind of "


def tag(content: bytes, number: int, value: int) -> bytes:
    """The same file with another first value of a tag, if it is in place."""
    changed = bytearray(content)
    at = next(
        at
        for at in range(10, len(content), 12)
        if struct.unpack_from("<H", content, at)[0] == number
    )
    struct.pack_into("<H", changed, at + 8, value)
    return bytes(changed)


GREY = made_tiff(np.zeros((2, 2), np.uint16))
PACKED = made_tiff(np.zeros((2, 2, 3), np.float64), packed=True)
COLOUR = made_tiff(np.zeros((2, 2, 4), np.float32), photometric=5)
JPEG = io.BytesIO()
Image.new("RGB", (16, 16)).save(JPEG, "JPEG")
FRAME = JPEG.getvalue().index(b"\xff\xc0")


def frame(**fields: int) -> bytes:
    places = {"marker": 1, "bits": 4, "channels": 9}
    content = bytearray(JPEG.getvalue())
    for name, value in fields.items():
        content[FRAME + places[name]] = value
    return bytes(content)


def bmp(bits: int, compression: int, *masks: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 56, 1, 1, 1, bits, compression, 4, 0, 0, 0, 0)
    body = head + struct.pack("<4I", *(masks or (0, 0, 0, 0)))
    return b"BM" + struct.pack("<IHHI", 74, 0, 0, 70) + body + bytes(4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (made_tiff(np.zeros((2, 2), np.complex64)), "a TIFF of complex numbers; convert it to 8-bit RGB"),
        (tag(GREY, 258, 24), "a TIFF of grey, 1 band of 24 bits; convert it to 8-bit RGB"),
        (COLOUR, "a TIFF of CMYK, 4 bands of floats of 32 bits; convert it to 8-bit RGB"),
        (tag(GREY, 262, 32803), "a TIFF of camera's colours, 1 band of 16 bits; convert it to 8-bit RGB"),
        (tag(tag(GREY, 258, 1), 262, 5), "a TIFF of CMYK, 1 band of 1 bit; convert it to 8-bit RGB"),
        (tag(GREY, 262, 777), "a TIFF of unknown colours, 1 band of 16 bits; convert it to 8-bit RGB"),
        (tag(tag(GREY, 262, 3), 258, 65535), "a TIFF of palette, 1 band of 9999 bits; convert it to 8-bit RGB"),
        (tag(GREY, 259, 34887), "a TIFF compressed by LERC; convert it to PNG"),
        (tag(GREY, 259, 34712), "a TIFF compressed by JPEG 2000; convert it to PNG"),
        (tag(GREY, 259, 999), "a TIFF compressed by method 999; convert it to PNG"),
        (frame(bits=12), "a JPEG of 12 bits; convert it to 8 bits"),
        (frame(channels=2), "a JPEG of 2 channels; convert it to PNG"),
        (frame(marker=0xC3), "a lossless JPEG; convert it to PNG"),
        (frame(marker=0xC5), "a hierarchical JPEG; convert it to PNG"),
        (bmp(32, 3, 1, 2, 4, 8), "a BMP of an unusual kind (bitfields layout); convert it to PNG"),
        (bmp(24, 4), "a BMP of an unusual kind (compression (4)); convert it to PNG"),
        (bmp(64, 0), "a BMP of an unusual kind (pixel depth (64)); convert it to PNG"),
        (b"PF\n1 1\n-1.0\n" + bytes(12), "a PFM image in colour; convert it to JPEG or PNG"),
        (b"P7\nWIDTH 1\n", "a PAM image; convert it to JPEG or PNG"),
    ],
)  # fmt: skip
def test_unsupported(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert (caught.value.status, caught.value.reason) == ("unsupported", reason)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (tag(GREY, 256, 0), "TIFF"),
        (tag(PACKED, 317, 9), "TIFF"),  # a predictor that is none
        (GREY.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 60000, 4)), "TIFF"),
        (frame(bits=9), "JPEG"),
        (b"\xff\xd8\xff\xff" + bytes(20), "JPEG"),
    ],
)
def test_damaged(content: bytes, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content)
    assert (caught.value.status, caught.value.reason) == ("unreadable", DAMAGED + name)
