"""What is wrong with a file becomes one status and one short reason, always the same."""

# ruff: noqa: E501 (tables of whole messages)
from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from made_tiffs import made_tiff
from offshelf.data import decode as decoding
from offshelf.data.decode import STATUSES, Limits, as_rgb, decode, read_bytes
from offshelf.errors import DataError, ImageError

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(buffer, kind, **options)
    return buffer.getvalue()


VALID = {
    "JPEG": saved("JPEG"),
    "JPEG progressive": saved("JPEG", progressive=True),
    "MPO": saved("MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    "PNG": saved("PNG"),
    "GIF": saved("GIF"),
    "BMP": saved("BMP"),
    "TIFF": saved("TIFF"),
    "TIFF lzw": saved("TIFF", compression="tiff_lzw"),
    "TIFF jpeg": saved("TIFF", compression="jpeg"),
    "TIFF float": made_tiff((NOISE / 255).astype("<f4"), rows=8, packed=True, predictor=3),
    "TIFF planes": made_tiff(NOISE.astype(">u2") * 257, tile=16, separate=True),
    "WEBP": saved("WEBP"),
    "AVIF": saved("AVIF"),
    "JPEG2000": saved("JPEG2000"),
    "PPM": saved("PPM"),
}

SHARE = (
    r"\d+ % of the picture could be read; --keep-damaged takes such images"
    "|nothing of the picture could be read"
)


def failure(content: bytes, limits: Limits = decoding.DEFAULT_LIMITS) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        decode(content, limits)
    assert str(caught.value) == f"{caught.value.status}: {caught.value.reason}"
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("kind", VALID)
def test_valid(kind: str) -> None:
    pixels = decode(VALID[kind])
    assert (pixels.shape, pixels.dtype) == ((40, 50, 3), np.uint8)


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_truncated(kind: str, share: float) -> None:
    content = VALID[kind]
    name = kind.split(maxsplit=1)[0]
    if name == "MPO":  # its first picture may well be whole
        share /= 4
        name = "JPEG"
    status, reason = failure(content[: int(len(content) * share)])
    assert status == "truncated"
    if name == "JPEG" and reason.startswith("the file"):  # its scan has begun
        assert re.fullmatch(f"the file ends early, ({SHARE})", reason)
    else:
        assert reason == f"the {name} file ends early"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_truncated_in_the_header(kind: str) -> None:
    status, _ = failure(VALID[kind][:30])
    assert status == "truncated"


def test_truncation_does_not_depend_on_a_global_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = VALID["JPEG"]
    assert failure(content[: len(content) // 2])[0] == "truncated"
    assert decode(content).shape == (40, 50, 3)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", "empty", "the file is empty"),
        (b"just some words\n", "not_an_image", "text, not an image"),
        (b"\n<!DOCTYPE html><html>404</html>", "not_an_image", "a web page, not an image"),
        (bytes(4096), "not_an_image", "holds only zero bytes"),
        (b"\x01\x02\x03\x04" * 99, "not_an_image", "not an image of a known format"),
        (b"PK\x03\x04zip", "not_an_image", "not an image of a known format"),
        (b"BMW builds cars, mostly", "not_an_image", "text, not an image"),
        (b"P", "not_an_image", "text, not an image"),
        (b"P5", "not_an_image", "text, not an image"),
        (b"%PDF-1.7", "unsupported", "a PDF document; convert it to JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF", "unsupported", "a PostScript file; convert it to JPEG or PNG"),
        (b"8BPS\0\1", "unsupported", "a Photoshop file; convert it to JPEG or PNG"),
        (b"<svg xmlns=''/>", "unsupported", "an SVG drawing; convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported", "a HEIC image; convert it to JPEG or PNG"),
        (b"P5 0 5 255 ", "unreadable", "damaged, or an unusual kind of PPM"),
        (b"P5 two 5 255 ", "unreadable", "damaged, or an unusual kind of PPM"),
        (b"\xff\xd8\xff" + bytes(99), "unreadable", "damaged, or an unusual kind of JPEG"),
        (b"P5 99999 99999 255 ", "too_large", "more pixels than Pillow opens; make the image smaller"),
    ],
)  # fmt: skip
def test_reasons(content: bytes, status: str, reason: str) -> None:
    assert failure(content) == (status, reason)


def test_damaged_within() -> None:
    content = bytearray(VALID["PNG"])
    content[len(content) // 2] ^= 0xFF
    assert failure(bytes(content)) == (
        "unreadable",
        "damaged: its pixels do not match their checksum",
    )


def test_limits() -> None:
    png = saved("PNG")
    assert failure(png, Limits(max_pixels=1999)) == (
        "too_large",
        "50 x 40 pixels, the limit is 1999 in all",
    )
    assert decode(png, Limits(max_pixels=2000)).shape == (40, 50, 3)
    assert failure(png, Limits(max_bytes=100)) == (
        "too_large",
        f"{len(png)} bytes, the limit is 100",
    )


def test_the_size_is_checked_before_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    bomb = b"P5 13000 13000 255 "
    assert failure(bomb, Limits(max_pixels=10**6))[0] == "too_large"


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("max_pixels", 0, "max_pixels must be 1 or more, not 0"),
        ("max_bytes", -1, "max_bytes must be 1 or more, not -1"),
        ("background", (0, 0), "background must be R, G, B of 0 to 255, not (0, 0)"),
        ("background", (0, 0, 256), "background must be R, G, B of 0 to 255, not (0, 0, 256)"),
    ],
)
def test_impossible_limits(setting: str, value: Any, text: str) -> None:
    with pytest.raises(DataError) as caught:
        Limits(**{setting: value})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (MemoryError(), "too_large", "more than the free memory"),
        (RecursionError("deep"), "unreadable", "damaged, or an unusual kind of PNG"),
        (OSError("cannot identify <_io.BytesIO object at 0x7f>"), "unreadable", "damaged, or an unusual kind of PNG"),
        (OSError("image file is truncated (3 bytes not processed)"), "truncated", "the PNG file ends early"),
    ],
)  # fmt: skip
def test_whatever_pillow_raises(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, reason: str
) -> None:
    def load(_: ImageFile.ImageFile) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert failure(VALID["PNG"]) == (status, reason)


def test_a_codec_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    damaged = VALID["WEBP"][:40] + bytes(200)
    assert failure(damaged) == ("unsupported", "this build of Pillow cannot read WEBP")


def test_only_listed_formats_are_opened() -> None:
    """An EPS file would make Pillow run Ghostscript."""
    for content in (saved("EPS"), saved("PDF"), saved("ICO"), saved("TGA"), saved("PCX")):
        assert failure(content)[0] in ("unsupported", "not_an_image")


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "big.jpg").write_bytes(bytes(11))
    os.mkfifo(tmp_path / "pipe.jpg")
    expected = {
        "none.jpg": ("missing", "no such file"),
        "big.jpg/x.jpg": ("missing", "no such file"),
        "gone.jpg": ("missing", "a link to no file"),
        "empty.jpg": ("empty", "the file is empty"),
        ".": ("unreadable", "a folder, not a file"),
        "pipe.jpg": ("unreadable", "a pipe, socket or device, not a file"),
        "loop.jpg": ("unreadable", "too many levels of symbolic links"),
        "a" * 300: ("unreadable", "file name too long"),
        "a\0b": ("unreadable", "the name of the file cannot be used on this system"),
        "big.jpg": ("too_large", "11 bytes, the limit is 10"),
    }
    for name, wanted in expected.items():
        with pytest.raises(ImageError) as caught:
            read_bytes(tmp_path / name, Limits(max_bytes=10))
        assert (caught.value.status, caught.value.reason) == wanted, name
        assert wanted[0] in STATUSES


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=r"^unreadable: permission denied$"):
        read_bytes(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"^unreadable: a folder, not a file$"):
        read_bytes(tmp_path)


def test_bytes_come_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\r\n\x1a\0" * 100)
    assert read_bytes(str(tmp_path / "a.jpg")) == b"\r\n\x1a\0" * 100


def warned_of() -> list[bytes]:
    """Files about which Pillow warns, or logs an error."""
    words = saved("TIFF", tiffinfo={33432: "x" * 30})
    samples = b"\x15\x01\x03\x00\x01\x00\x00\x00\x03"
    return [words[:-40], VALID["TIFF"].replace(samples, samples[:-1] + b"\x63"), VALID["PNG"]]


def test_no_warning_leaks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings(record=True) as leaked, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        for content in (*VALID.values(), *warned_of()):
            with contextlib.suppress(ImageError):
                decode(content)
        assert (leaked, caplog.text) == ([], "")
        for content in warned_of():
            with contextlib.suppress(OSError):
                Image.open(io.BytesIO(content))
        assert len(leaked) >= 2
        assert "More samples per pixel" in caplog.text


def test_threads_agree() -> None:
    expected = {kind: decode(content) for kind, content in VALID.items()}
    wrong: list[str] = []

    def work() -> None:
        for kind, content in list(VALID.items()) * 3:
            if not np.array_equal(decode(content), expected[kind]):
                wrong.append(kind)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_of_pillow_is_changed() -> None:
    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    for content in VALID.values():
        decode(content)
    after = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    assert after == before


def test_as_rgb_takes_what_python_callers_have(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(VALID["PNG"])
    image = Image.fromarray(NOISE)
    opened = Image.open(tmp_path / "a.png")
    alpha = np.dstack([NOISE, np.full((40, 50), 255, np.uint8)])
    for given_image in (tmp_path / "a.png", str(tmp_path / "a.png"), image, opened, NOISE, alpha):
        assert np.array_equal(as_rgb(given_image), NOISE)
    grey = np.ascontiguousarray(NOISE[:, :, 0])
    for given_grey in (grey, grey[:, :, None], Image.fromarray(grey)):
        assert np.array_equal(as_rgb(given_grey), np.dstack([grey] * 3))
    assert as_rgb(NOISE) is NOISE
    flipped = as_rgb(NOISE[:, ::-1])
    assert flipped.flags.c_contiguous
    assert np.array_equal(flipped, NOISE[:, ::-1])


def test_as_rgb_lays_alpha_on_the_background() -> None:
    clear = np.zeros((2, 2, 4), np.uint8)
    for image in (clear, Image.fromarray(clear)):
        assert np.array_equal(as_rgb(image), np.full((2, 2, 3), 255))
        assert as_rgb(image, Limits(background=(1, 2, 3)))[0, 0].tolist() == [1, 2, 3]


def test_as_rgb_turns_a_pil_image_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert as_rgb(Image.open(io.BytesIO(saved("JPEG", exif=exif)))).shape == (50, 40, 3)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((4, 4), np.float32), "an image array must be uint8, not float32; scale it to 0..255 and use .astype('uint8')"),
        (np.zeros((4, 4), np.int64), "an image array must be uint8, not int64; scale it to 0..255 and use .astype('uint8')"),
        (np.zeros((4, 4), np.uint16), "an image array must be uint8, not uint16; for 16 bits use (array / 257).round().astype('uint8')"),
        (np.zeros((4, 4), bool), "an image array must be uint8, not bool; use array.astype('uint8') * 255"),
        (np.zeros((4, 4), "S1"), "an image array must be uint8, not |S1; give its pixels as numbers of 0 to 255"),
        (np.zeros((3, 8, 8), np.uint8), "an image array is H x W, or H x W x 1, 3 or 4, not 3 x 8 x 8; move the channels last: numpy.moveaxis(array, 0, -1)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "an image array is H x W, or H x W x 1, 3 or 4, not 2 x 8 x 8 x 3"),
        (np.zeros((8, 8, 2), np.uint8), "an image array is H x W, or H x W x 1, 3 or 4, not 8 x 8 x 2"),
        (np.zeros((), np.uint8), "an image array is H x W, or H x W x 1, 3 or 4, not a single number"),
        (np.zeros((0, 8, 3), np.uint8), "an image array without pixels: 0 x 8 x 3"),
        (Image.new("RGB", (0, 0)), "an image without pixels"),
        (b"bytes", "an image is a path, a PIL image or a uint8 array, not bytes"),
        (None, "an image is a path, a PIL image or a uint8 array, not NoneType"),
    ],
)  # fmt: skip
def test_as_rgb_errors(image: Any, text: str) -> None:
    with pytest.raises(DataError) as caught:
        as_rgb(image)
    assert str(caught.value) == text
    assert not isinstance(caught.value, ImageError)


def test_as_rgb_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"words")
    with pytest.raises(ImageError) as caught:
        as_rgb(tmp_path / "a.jpg")
    assert str(caught.value) == f"not_an_image: {tmp_path / 'a.jpg'}: text, not an image"
    truncated = Image.open(io.BytesIO(VALID["JPEG"][:900]))
    with pytest.raises(ImageError, match=r"^truncated: the JPEG file ends early$"):
        as_rgb(truncated)


def survives(content: bytes) -> None:
    """Decode, or fail in the one way that is allowed."""
    outcome: Any
    try:
        outcome = decode(content, Limits(max_pixels=10**6))
    except ImageError as error:
        outcome = error
    if isinstance(outcome, ImageError):
        assert outcome.status in STATUSES[1:]
        assert "0x" not in outcome.reason
        assert len(outcome.reason) < 100
    else:
        assert outcome.dtype == np.uint8
        assert (outcome.ndim, outcome.shape[2]) == (3, 3)


@given(st.binary(max_size=300))
def test_random_bytes(content: bytes) -> None:
    survives(content)


@given(kind=st.sampled_from(sorted(VALID)), rest=st.binary(max_size=300), keep=st.integers(2, 64))
def test_a_true_beginning_and_random_bytes(kind: str, rest: bytes, keep: int) -> None:
    survives(VALID[kind][:keep] + rest)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutated_files(data: st.DataObject) -> None:
    """Bytes changed, removed, doubled: mostly near the start, where the structure is."""
    content = bytearray(VALID[data.draw(st.sampled_from(sorted(VALID)))])
    for _ in range(data.draw(st.integers(1, 4))):
        reach = data.draw(st.sampled_from([40, 200, len(content) - 1]))
        at = data.draw(st.integers(0, min(reach, len(content) - 1)))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    survives(bytes(content))
