"""Image formats, recognised by their first bytes, and kinds of them that cannot be read.

The list is fixed: formats whose readers run no other program and follow no reference
(EPS, PDF, SVG and WMF do, or may). Each is read by Pillow's own reader of that name.
"""

from __future__ import annotations

import importlib
import struct

from PIL import Image, UnidentifiedImageError, features

from offshelf.data.decoding import tiff_samples as tiff
from offshelf.data.decoding.tiff_samples import PACKED_BYTES, Directory, read_directory
from offshelf.errors import ImageError

# Pillow format -> module that registers it. Importing just this one keeps Pillow from
# importing all its forty-odd plugins when a format is not loaded yet.
_PLUGINS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
    "PPM": "PpmImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "AVIF": "AvifImagePlugin",
}
_CODECS = {"JPEG": "jpg", "WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
# Sizes of the second header of a BMP file; two letters alone could begin a text.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon file"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"qoif", "a QOI image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"<svg", "an SVG drawing"),
    (b"PF\n", "a PFM image in colour"),
    (b"P7\n", "a PAM image"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def image_format(content: bytes) -> str:
    """Return the Pillow name of the format that *content* begins like.

    Raises:
        ImageError: ``unsupported`` for images of other formats, ``not_an_image``
            for anything else.

    >>> image_format(b"GIF89a...")
    'GIF'
    """
    found = _format_of(content)
    if found:
        return found
    brands = _brands(content)
    if any(brand in brands for brand in _HEIF_BRANDS):
        raise ImageError("unsupported", "a HEIC image; convert it to JPEG or PNG")
    for signature, what in _OTHERS:
        if content.startswith(signature):
            raise ImageError("unsupported", f"{what}; convert it to JPEG or PNG")
    raise ImageError("not_an_image", _what_else(content))


def register(name: str) -> None:
    """Make sure that Pillow knows the format *name*."""
    if name not in Image.OPEN:
        importlib.import_module(f"PIL.{_PLUGINS[name]}")


def lacks_codec(name: str) -> bool:
    """Return whether this build of Pillow came without the decoder of the format *name*."""
    return name in _CODECS and not features.check(_CODECS[name])


def ends_early(name: str, content: bytes) -> bool:
    """Return whether a damaged file of format *name* stops before its own end.

    ``False`` also means that it cannot be known.
    """
    try:
        return _ENDS[name](content) if name in _ENDS else False
    except (struct.error, IndexError):  # the very field that would tell is not there
        return True


def _format_of(content: bytes) -> str:
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:1] == b"P" and content[1:2] in b"123456f" and content[2:3] in b" \t\r\n#":
        return "PPM" if len(content) > 2 else ""
    return "AVIF" if {b"avif", b"avis"} & set(_brands(content)) else ""


def _brands(content: bytes) -> list[bytes]:
    """Return the brands of an ISO media file: the major one, then those it is compatible with."""
    if content[4:8] != b"ftyp":
        return []
    size = min(int.from_bytes(content[:4], "big"), 256)
    return [content[8:12], *(content[at : at + 4] for at in range(16, size, 4))]


def _what_else(content: bytes) -> str:
    head = content[:512]
    if not any(content):
        return "holds only zero bytes"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image"
    if all(byte in b"\t\n\r\f\x1b" or byte >= 32 for byte in head):
        return "text, not an image"
    return "not an image of a known format"


def _jpeg_ends_early(content: bytes) -> bool:
    at = 2
    while content[at + 1] != 0xDA:  # segments up to the start of the scan
        if content[at] != 0xFF:
            return False
        at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content.find(b"\xff\xd9", at) < 0


def _box_ends_early(content: bytes) -> bool:
    if content.startswith(b"\xff\x4f"):  # a codestream of JPEG 2000 alone
        return not content.endswith(b"\xff\xd9")
    at = 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if size == 1:
            size = struct.unpack_from(">Q", content, at + 8)[0]
        if size == 0:  # up to the end of the file; a codestream closes with its own mark
            return kind == b"jp2c" and not content.endswith(b"\xff\xd9")
        at += max(size, 8)
    return at > len(content)


def _tiff_ends_early(content: bytes) -> bool:
    """Return whether the directory or one of the strips or tiles lies past the end."""
    directory = tiff.read_directory(content)
    if directory is None or directory.cut:
        return True
    tags = directory.tags
    starts = tags.get(tiff.STRIP_OFFSETS, tags.get(tiff.TILE_OFFSETS, ()))
    lengths = tags.get(tiff.STRIP_COUNTS, tags.get(tiff.TILE_COUNTS, ()))
    return any(
        start + length > len(content) for start, length in zip(starts, lengths, strict=False)
    )


_ENDS = {
    "JPEG": _jpeg_ends_early,
    "PNG": lambda content: b"IEND" not in content[-64:],
    "GIF": lambda content: not content.rstrip(b"\0").endswith(b";"),
    "BMP": lambda content: struct.unpack_from("<I", content, 2)[0] > len(content),
    "WEBP": lambda content: struct.unpack_from("<I", content, 4)[0] + 8 > len(content),
    "TIFF": _tiff_ends_early,
    "JPEG2000": _box_ends_early,
    "AVIF": _box_ends_early,
}


_COMPLEX = frozenset({5, 6})
_FLOATS = 3
# Methods of compression that know pixels, by their numbers, and those Pillow has names for.
_METHODS = {
    **dict.fromkeys((33003, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((34676, 34677), "SGI LogLuv"),
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    **dict.fromkeys((50002, 52546), "JPEG XL"),
}
_COLOURS = {
    **dict.fromkeys((0, 1), "grey"),
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    **dict.fromkeys((8, 9, 10), "Lab"),
    **dict.fromkeys((32803, 34892), "camera's colours"),
}
_MAX_SHOWN = 9999  # so that a damaged number stays short
_PILLOWS = frozenset({2, 3, 4, 6, 7, 32771, 32809, 34676, 34677, 50001}) | PACKED_BYTES
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xCD, 0xCE, 0xDE})


def unread_kind(name: str, content: bytes, error: Exception) -> str:
    """Return what a file of a known format is and what to do, ``""`` where it is damaged.

    *error* is the one that Pillow raised.
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
    bands = min(directory.one(tiff.SAMPLES, 1), _MAX_SHOWN)
    bit = min(bits.pop(), _MAX_SHOWN) if len(bits) == 1 else 0
    size = f"{bit} bit{'s' if bit > 1 else ''}" if bit else "several sizes"
    what = "floats of " if formats == {_FLOATS} else ""
    return f"{colour}, {bands} band{'s' if bands > 1 else ''} of {what}{size}"
