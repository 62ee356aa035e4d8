"""From an image of any shape to the square that a network sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.construct.torch_context import import_torchvision
from offshelf.backbones.specification.preprocess import Box, boxes, prepare
from offshelf.backbones.specification.spec import RESIZES, InputSpec
from offshelf.errors import BackboneError


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with slow waves in all three channels, another in every corner."""
    row, column = np.mgrid[:height, :width] / min(height, width)
    waves = [np.sin(8 * row + k) + np.cos((8 + k) * column) for k in range(3)]
    return np.round(127.5 + 63 * np.stack(waves, axis=2)).astype(np.uint8)


@pytest.mark.parametrize(
    ("resize", "width", "height", "source", "target"),
    [
        ("squash", 100, 100, (0, 0, 100, 100), (0, 0, 100, 100)),
        ("squash", 640, 480, (0, 0, 640, 480), (0, 0, 100, 100)),
        ("squash", 1, 5000, (0, 0, 1, 5000), (0, 0, 100, 100)),
        ("crop", 100, 100, (6, 6, 94, 94), (0, 0, 100, 100)),
        ("crop", 400, 200, (112, 12, 287, 187), (0, 0, 100, 100)),
        ("crop", 200, 400, (12, 112, 187, 287), (0, 0, 100, 100)),
        ("crop", 1, 5000, (0, 2499, 1, 2500), (0, 0, 100, 100)),
        ("crop", 5000, 1, (2499, 0, 2500, 1), (0, 0, 100, 100)),
        ("crop", 1, 1, (0, 0, 1, 1), (0, 0, 100, 100)),
        ("letterbox", 100, 100, (0, 0, 100, 100), (0, 0, 100, 100)),
        ("letterbox", 400, 200, (0, 0, 400, 200), (0, 25, 100, 75)),
        ("letterbox", 200, 400, (0, 0, 200, 400), (25, 0, 75, 100)),
        ("letterbox", 3, 2, (0, 0, 3, 2), (0, 16, 100, 83)),
        ("letterbox", 1, 5000, (0, 0, 1, 5000), (49, 0, 50, 100)),
        ("letterbox", 5000, 1, (0, 0, 5000, 1), (0, 49, 100, 50)),
        ("letterbox", 1, 1, (0, 0, 1, 1), (0, 0, 100, 100)),
    ],
)
def test_where_an_image_lands(resize: str, width: int, height: int, source: Box, target: Box):
    found = boxes(width, height, InputSpec(size=100, resize=resize))  # type: ignore[arg-type]
    assert found == (source, target)


@pytest.mark.parametrize(("share", "side"), [(1.0, 200), (0.875, 175), (0.5, 100), (0.001, 1)])
def test_the_share_that_a_crop_keeps(share: float, side: int):
    spec = InputSpec(size=64, resize="crop", crop_share=share)
    (left, top, right, bottom), _ = boxes(300, 200, spec)
    assert (right - left, bottom - top) == (side, side)
    assert abs((left + right) - 300) <= 1
    assert abs((top + bottom) - 200) <= 1


sides = st.integers(1, 40) | st.integers(1, 6000)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    width=sides,
    height=sides,
    size=st.integers(1, 600),
    resize=st.sampled_from(RESIZES),
    share=st.floats(0.01, 1.0),
)
def test_boxes_lie_inside_and_keep_their_shape(
    width: int, height: int, size: int, resize: str, share: float
):
    spec = InputSpec(size=size, resize=resize, crop_share=share)  # type: ignore[arg-type]
    source, target = boxes(width, height, spec)
    left, top, right, bottom = source
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    left, top, right, bottom = target
    assert 0 <= left < right <= size
    assert 0 <= top < bottom <= size
    if resize == "crop":
        assert target == (0, 0, size, size)
        assert source[2] - source[0] == source[3] - source[1]
    else:
        assert source == (0, 0, width, height)
    if resize == "letterbox":
        assert max(right - left, bottom - top) == size
        # The shape is kept to within the rounding of the shorter side.
        wide, high = right - left, bottom - top
        assert abs(wide * max(width, height) - width * size) <= max(width, height)
        assert abs(high * max(width, height) - height * size) <= max(width, height)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    size=st.integers(1, 40),
    resize=st.sampled_from(RESIZES),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_the_square_has_the_exact_size(
    width: int, height: int, size: int, resize: str, interpolation: str
):
    spec = InputSpec(size=size, resize=resize, interpolation=interpolation)  # type: ignore[arg-type]
    image = noise(height, width)
    before = image.copy()
    prepared = prepare(image, spec)
    assert prepared.shape == (size, size, 3)
    assert prepared.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (3000, 7)])
def test_extreme_images_of_one_colour_keep_it(resize: str, shape: tuple[int, int]):
    colour = np.array([200, 30, 90], np.uint8)
    spec = InputSpec(size=32, resize=resize)  # type: ignore[arg-type]
    prepared = prepare(np.tile(colour, (*shape, 1)), spec)
    _, (left, top, right, bottom) = boxes(shape[1], shape[0], spec)
    assert (prepared[top:bottom, left:right] == colour).all()


def test_letterbox_fills_with_the_mean_colour():
    spec = InputSpec(size=64, resize="letterbox", mean=(0.0, 0.5, 1.0))
    prepared = prepare(noise(20, 60), spec)
    _, (_, top, _, bottom) = boxes(60, 20, spec)
    assert (top, bottom) == (21, 42)
    outside = np.concatenate([prepared[:top], prepared[bottom:]])
    assert (outside == np.array([0, 128, 255])).all()
    inside = Image.fromarray(noise(20, 60)).resize((64, 21), Image.Resampling.BILINEAR)
    assert np.array_equal(prepared[top:bottom], np.asarray(inside))


def test_squash_is_one_resize_by_pillow():
    image = noise(31, 77)
    for word, filter_ in [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
    ]:
        expected = np.asarray(Image.fromarray(image).resize((48, 48), filter_))
        spec = InputSpec(size=48, interpolation=word)  # type: ignore[arg-type]
        assert np.array_equal(prepare(image, spec), expected)


def test_an_image_of_the_right_size_passes_unchanged():
    image = noise(48, 48)
    assert np.array_equal(prepare(image, InputSpec(size=48)), image)
    assert np.array_equal(prepare(image, InputSpec(size=48, resize="letterbox")), image)


def test_views_of_arrays_are_read_as_they_look():
    image = noise(40, 60)
    spec = InputSpec(size=32)
    mirrored = prepare(image[:, ::-1], spec)
    assert np.array_equal(mirrored, prepare(np.ascontiguousarray(image[:, ::-1]), spec))
    swapped = np.asarray(noise(60, 40)).transpose(1, 0, 2)
    assert np.array_equal(prepare(swapped, spec), prepare(np.ascontiguousarray(swapped), spec))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (256, 256), (1000, 700), (150, 160)])
@pytest.mark.parametrize(
    ("interpolation", "crop_share", "scaled"), [("bilinear", 224 / 256, 256), ("bicubic", 1.0, 224)]
)
def test_crop_is_torchvisions_resize_and_centre_crop(
    shape: tuple[int, int], interpolation: str, crop_share: float, scaled: int
):
    """Theirs scales the whole image and cuts; ours cuts first, so only rounding differs."""
    import_torchvision()
    from torchvision.transforms import v2

    image = smooth(*shape)
    mode = v2.InterpolationMode(interpolation)
    theirs = v2.Compose(
        [v2.Resize(scaled, interpolation=mode, antialias=True), v2.CenterCrop(224)]
    )(Image.fromarray(image))
    spec = InputSpec(224, "crop", interpolation, crop_share)  # type: ignore[arg-type]
    difference = prepare(image, spec).astype(int) - np.asarray(theirs)
    # These waves change by at most four grey levels of 255 within a seen pixel's half.
    assert np.abs(difference).max() <= 4
    assert np.abs(difference).mean() <= 2


def test_every_resize_mode_can_be_asked_for():
    own = open_backbone("efficientnet_lite0").input
    assert own.resize == "squash"
    for mode in RESIZES:
        changed = open_backbone("efficientnet_lite0", resize=mode).input
        assert changed == dataclasses.replace(own, resize=mode)


def test_another_resize_mode_is_refused():
    with pytest.raises(BackboneError) as caught:
        open_backbone("efficientnet_lite0", resize="croped")
    assert str(caught.value) == (
        "no resize mode 'croped': squash, crop, letterbox. Did you mean 'crop'?"
    )


@pytest.mark.parametrize("resize", RESIZES)
def test_the_spec_survives_json(resize: str):
    spec = InputSpec(
        size=61, resize=resize, interpolation="bicubic", mean=(0.1, 0.2, 0.3), crop_share=0.9
    )  # type: ignore[arg-type]
    assert InputSpec.from_json(spec.to_json()) == spec
