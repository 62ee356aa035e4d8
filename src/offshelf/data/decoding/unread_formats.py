"""Unsupported kinds of known formats: whole files that cannot be read here."""

from __future__ import annotations

from PIL import UnidentifiedImageError

from offshelf.data.decoding import tiff_directory as tiff
from offshelf.data.decoding.tiff_directory import Directory, read_directory
from offshelf.data.decoding.tiff_samples import PACKED_BYTES

_COMPLEX = frozenset({5, 6})
_FLOATS = 3
# Methods of compression that know pixels, by their numbers, and those Pillow has names for.
_METHODS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_COLOURS = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    9: "Lab",
    10: "Lab",
    32803: "camera's colours",
    34892: "camera's colours",
}
_MANY = 9999  # so that a damaged number stays short
_PILLOWS = frozenset({2, 3, 4, 6, 7, 32771, 32809, 34676, 34677, 50001}) | PACKED_BYTES
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xCD, 0xCE, 0xDE})


def unread_kind(name: str, content: bytes, error: Exception) -> str:
    """Return in words which kind a file is, if that is why it could not be read.

    Args:
        name: of the format.
        content: of the file.
        error: that Pillow raised.

    Returns:
        What it is and what to do, or ``""`` where the file is damaged.
    """
    if name == "BMP" and str(error).startswith("Unsupported BMP"):
        what = str(error).removeprefix("Unsupported BMP ").lower()
        return f"a BMP of an unusual kind ({what}); convert it to PNG"
    if name == "JPEG":
        return _jpeg_kind(content)
    if name == "TIFF" and isinstance(error, UnidentifiedImageError):
        directory = read_directory(content)
        return "" if directory is None else _tiff_kind(directory)
    return ""


def _jpeg_kind(content: bytes) -> str:
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _LOSSLESS:
            return "a lossless JPEG; convert it to PNG"
        if marker in _HIERARCHICAL:
            return "a hierarchical JPEG; convert it to PNG"
        if marker in _FRAMES:
            return _frame_kind(bits=content[at + 4], channels=content[at + 9])
        at += 2
        if marker not in _STAND_ALONE:
            at += int.from_bytes(content[at : at + 2], "big")
    return ""


def _frame_kind(bits: int, channels: int) -> str:
    if bits in (12, 16):
        return f"a JPEG of {bits} bits; convert it to 8 bits"
    if channels == 2 or 4 < channels < 16:
        return f"a JPEG of {channels} channels; convert it to PNG"
    return ""


def _tiff_kind(directory: Directory) -> str:
    known = {tiff.STRIP_OFFSETS, tiff.TILE_OFFSETS} & directory.tags.keys()
    if directory.one(tiff.WIDTH, 0) < 1 or directory.one(tiff.HEIGHT, 0) < 1 or not known:
        return ""
    compression = directory.one(tiff.COMPRESSION, 1)
    if compression not in _PILLOWS:
        method = _METHODS.get(compression, f"method {compression}")
        return f"a TIFF compressed by {method}; convert it to PNG"
    if _is_usual(directory):
        return ""
    return f"a TIFF of {_samples_in_words(directory)}; convert it to 8-bit RGB"


def _is_usual(directory: Directory) -> bool:
    """Return whether these samples are read, so that something else must be wrong."""
    formats = set(directory.tags.get(tiff.SAMPLE_FORMAT, (1,)))
    bits = set(directory.tags.get(tiff.BITS, (1,)))
    sizes = {(16,), (32,), (64,)} if formats == {_FLOATS} else {(8,), (16,), (32,), (64,)}
    known = len(formats) == 1 and not formats & _COMPLEX and tuple(bits) in sizes
    return known and directory.one(tiff.PHOTOMETRIC, 1) in (0, 1, 2)


def _samples_in_words(directory: Directory) -> str:
    formats = set(directory.tags.get(tiff.SAMPLE_FORMAT, (1,)))
    bits = set(directory.tags.get(tiff.BITS, (1,)))
    if formats & _COMPLEX:
        return "complex numbers"
    photometric = directory.one(tiff.PHOTOMETRIC, 1)
    colour = _COLOURS.get(photometric, "unknown colours")
    bands = min(directory.one(tiff.SAMPLES, 1), _MANY)
    bit = min(bits.pop(), _MANY) if len(bits) == 1 else 0
    size = f"{bit} bit{'s' if bit > 1 else ''}" if bit else "several sizes"
    what = "floats of " if formats == {_FLOATS} else ""
    return f"{colour}, {bands} band{'s' if bands > 1 else ''} of {what}{size}"
