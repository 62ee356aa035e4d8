"""JPEG by libjpeg-turbo: the same pixels as Pillow's; a reduced decoding stays close."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import decode, decode_with_facts, decoding
from offshelf.data.decoding.jpeg import quick_pixels
from offshelf.errors import ImageError


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def photo(side: int) -> np.ndarray:
    """A smooth picture with edges, like a photograph and unlike noise."""
    row, column = np.mgrid[:side, :side] / side
    red = 128 + 100 * np.sin(9 * row + 4 * column)
    green = 255 * ((row - 0.5) ** 2 + (column - 0.4) ** 2 < 0.1)
    return np.stack([red, green, 255 * column], axis=2).clip(0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 100),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
def test_the_pixels_are_pillows(
    high: int, wide: int, quality: int, subsampling: int, progressive: bool, grey: bool
) -> None:
    pixels = np.random.default_rng(high * 71 + wide).integers(0, 256, (high, wide, 3), np.uint8)
    options = {"quality": quality, "progressive": progressive}
    if not grey:
        options["subsampling"] = subsampling
    content = jpeg(pixels[:, :, 0] if grey else pixels, **options)
    with Image.open(io.BytesIO(content)) as image:
        quick = quick_pixels(image, content)
        assert quick is not None
        assert (quick == np.asarray(image)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(photo(40)[:20], exif=exif, quality=95)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decode(content), expected)
    assert decode(content).flags.c_contiguous
    with decoding(content) as decoded:
        assert np.array_equal(decoded.pixels, expected)
        assert (decoded.pixels.base is None) == (orientation == 1)


def test_a_cut_file_is_left_to_pillow() -> None:
    content = jpeg(photo(64))[:-200]
    with Image.open(io.BytesIO(content)) as image:
        assert quick_pixels(image, content) is None
    with pytest.raises(ImageError, match="truncated: the file ends early, 75 % of the picture"):
        decode(content)


def test_grey_resized_as_one_channel_is_the_same() -> None:
    content = jpeg(photo(90)[:, :, 0])
    compact = decode_with_facts(content).pixels
    assert compact.shape == (90, 90)
    for mode in ("squash", "crop", "letterbox"):
        spec = InputSpec(size=32, resize=mode, interpolation="bicubic")
        assert (prepare(compact, spec) == prepare(decode(content), spec)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("side", "kept"), [(3000, 750), (1000, 500), (500, 500), (100, 100)])
def test_a_reduced_decoding_keeps_twice_the_input(side: int, kept: int) -> None:
    spec = InputSpec(size=224, decode="reduced", interpolation="bicubic")
    content = jpeg(photo(side), quality=90)
    reduced = decode_with_facts(content, at_least=spec.decoded_side).pixels
    assert reduced.shape == (kept, kept, 3)
    full = prepare(decode(content), spec).astype(int)
    difference = np.abs(prepare(reduced, spec) - full)
    # Edges are where the two filters differ; a grey level or two on the average at most.
    assert difference.mean() < 1.0
    if kept == side:
        assert difference.max() == 0


def test_the_choice_is_part_of_the_key() -> None:
    full, reduced = InputSpec(size=224), InputSpec(size=224, decode="reduced")
    assert "decode" not in full.to_json()
    assert reduced.to_json()["decode"] == "reduced"
    assert InputSpec.from_json(reduced.to_json()) == reduced
