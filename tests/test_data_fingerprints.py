"""Fingerprints: size, mode, light and sharpness of one image, from its decoded pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from offshelf.data import lookalikes
from offshelf.data.decode import Limits
from offshelf.data.lookalikes import Fingerprint, sharpness
from offshelf.errors import ImageError


def fingerprint(content: bytes, limits: Limits = Limits()) -> Fingerprint:  # noqa: B008
    return lookalikes.fingerprint(content, limits)[0]


def saved(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def flat(mode: str, colour: Any, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size, colour)


def photo(size: tuple[int, int] = (200, 150)) -> Image.Image:
    draw = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(draw).resize(size, Image.Resampling.BICUBIC)


MODES = [
    ("L", flat("L", 90), "PNG", False),
    ("RGB", flat("RGB", (200, 30, 30)), "PNG", True),
    ("RGB", flat("RGB", (90, 90, 90)), "PNG", False),
    ("RGB", flat("RGB", (90, 91, 90)), "JPEG", False),
    ("RGBA", flat("RGBA", (0, 0, 200, 255)), "PNG", True),
    ("LA", flat("LA", (90, 255)), "PNG", False),
    ("CMYK", flat("CMYK", (200, 0, 0, 0)), "JPEG", True),
    ("P", flat("P", 0), "GIF", False),
    ("1", flat("1", 1), "PNG", False),
    ("I;16", flat("I;16", 30000), "PNG", False),
]


@pytest.mark.parametrize(
    ("mode", "image", "form", "coloured"), MODES, ids=[f"{m[0]} {m[2]} {m[3]}" for m in MODES]
)
def test_modes(mode: str, image: Image.Image, form: str, coloured: bool) -> None:
    found = fingerprint(saved(image, form))
    assert (found.mode, found.coloured, found.width, found.height) == (mode, coloured, 40, 30)


@pytest.mark.parametrize("level", [0, 39, 128, 255])
def test_light_of_a_flat_picture(level: int) -> None:
    found = fingerprint(saved(flat("L", level)))
    assert (found.brightness, found.contrast, found.sharpness, found.hash) == (level, 0, 0, 0)


def test_light_of_two_halves() -> None:
    pixels = np.zeros((20, 20), np.uint8)
    pixels[:, 10:] = 200
    found = fingerprint(saved(Image.fromarray(pixels)))
    assert found.brightness == pytest.approx(100)
    assert found.contrast == pytest.approx(100)


@pytest.mark.parametrize(("size", "aspect"), [((64, 16), 4.0), ((16, 64), 4.0), ((9, 9), 1.0)])
def test_sizes(size: tuple[int, int], aspect: float) -> None:
    found = fingerprint(saved(flat("L", 9, size)))
    assert (found.width, found.height) == size
    assert (found.pixels, found.short_side) == (size[0] * size[1], min(size))
    assert found.aspect == aspect


@pytest.mark.parametrize("side", [60, 1600])
def test_a_turned_photo_is_measured_upright(side: int) -> None:
    image = photo((side * 4 // 3, side))
    exif = image.getexif()
    exif[0x0112] = 6
    found = fingerprint(saved(image, "JPEG", exif=exif.tobytes()))
    assert (found.width, found.height) == (side, side * 4 // 3)


def test_a_large_jpeg_keeps_its_size_and_its_looks() -> None:
    large = fingerprint(saved(photo((3000, 2250)), "JPEG", quality=90))
    small = fingerprint(saved(photo((3000, 2250)).resize((256, 192), Image.Resampling.BOX)))
    assert (large.width, large.height) == (3000, 2250)
    assert (large.hash ^ small.hash).bit_count() <= 2
    assert large.brightness == pytest.approx(small.brightness, abs=1)
    assert large.contrast == pytest.approx(small.contrast, abs=1)


def test_blur_lowers_the_sharpness() -> None:
    draw = np.random.default_rng(0).integers(0, 256, (120, 160)).astype(np.uint8)
    image = Image.fromarray(draw)
    found = [
        fingerprint(saved(image.filter(ImageFilter.GaussianBlur(radius)))).sharpness
        for radius in (0, 1, 3)
    ]
    assert found[0] > 10 * found[1] > 100 * found[2]


def test_sharpness_by_hand() -> None:
    grey = np.zeros((3, 4), np.float32)
    grey[1, 1] = 10
    # The Laplacian of the two inner pixels is -40 and 10.
    assert sharpness(grey) == pytest.approx(625)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2)])
def test_pictures_too_small_for_a_laplacian(size: tuple[int, int]) -> None:
    assert fingerprint(saved(flat("RGB", (1, 2, 3), size))).sharpness == 0


def test_what_cannot_be_decoded_says_why() -> None:
    with pytest.raises(ImageError, match="empty: the file is empty"):
        fingerprint(b"")
    with pytest.raises(ImageError, match="too_large: 40 x 30 pixels, the limit is 1000 in all"):
        fingerprint(saved(flat("L", 9)), Limits(max_pixels=1000))
