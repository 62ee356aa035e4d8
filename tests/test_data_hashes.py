"""Perceptual hashes: what they survive, how mirroring turns them, which pairs are close."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from offshelf.data import lookalikes
from offshelf.data.lookalikes import (
    BITS,
    MIRROR,
    SIDE,
    ClosePairs,
    close_pairs,
    dct_hash,
)


def field(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A smooth grey picture, never the same twice."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def hash_of(image: Image.Image) -> int:
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return dct_hash(np.asarray(small))


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(io.BytesIO(buffer.getvalue()))


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image) + np.random.default_rng(1).normal(0, 8, image.size[::-1])
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": compressed,
    "half as large": lambda image: image.resize((80, 60)),
    "stretched": lambda image: image.resize((240, 110)),
    "noise": noisy,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_copy_stays_close(change: Callable[[Image.Image], Image.Image]) -> None:
    distances = [
        (hash_of(field(seed)) ^ hash_of(change(field(seed)))).bit_count() for seed in range(20)
    ]
    assert max(distances) <= 8
    assert float(np.mean(distances)) <= 3


def test_other_pictures_are_far() -> None:
    found = [hash_of(field(seed)) for seed in range(60)]
    pairs = itertools.combinations(found, 2)
    distances = [min((a ^ b).bit_count(), (a ^ b ^ MIRROR).bit_count()) for a, b in pairs]
    assert min(distances) > 10
    assert 24 < float(np.mean(distances)) < 34


def test_mirroring_turns_the_bits_of_odd_frequencies() -> None:
    assert MIRROR.bit_count() == BITS // 2
    for seed in range(10):
        mirrored = field(seed).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert (hash_of(field(seed)) ^ hash_of(mirrored) ^ MIRROR).bit_count() <= 2


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_flat_picture_has_no_bits(level: int) -> None:
    assert dct_hash(np.full((SIDE, SIDE), level, np.uint8)) == 0


def test_brightness_alone_has_no_bit() -> None:
    grey = np.asarray(field(3).resize((SIDE, SIDE))) // 2
    assert dct_hash(grey) == dct_hash(grey + 100)


def slow_pairs(values: list[int], distance: int) -> set[tuple[int, int, int, bool]]:
    found = set()
    for (i, a), (j, b) in itertools.combinations(enumerate(values), 2):
        plain, turned = (a ^ b).bit_count(), (a ^ b ^ MIRROR).bit_count()
        if min(plain, turned) <= distance:
            found.add((i, j, min(plain, turned), turned < plain))
    return found


def as_set(pairs: ClosePairs) -> set[tuple[int, int, int, bool]]:
    columns = (pairs.left, pairs.right, pairs.distance, pairs.mirrored)
    return set(zip(*(column.tolist() for column in columns), strict=True))


# A few bits around three centres, so that close pairs are common.
BITS_SET = st.lists(st.integers(0, 63), max_size=6)
NEAR = st.tuples(st.sampled_from([0, MIRROR, 2**64 - 1]), BITS_SET)


def hash_near(part: tuple[int, list[int]]) -> int:
    value, places = part
    for place in places:
        value ^= 1 << place
    return value


@settings(deadline=None)
@given(st.lists(NEAR.map(hash_near), max_size=40), st.integers(0, 20), st.integers(1, 9))
def test_every_close_pair_is_found_once(values: list[int], distance: int, tile: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookalikes, "_TILE_ROWS", tile)
        patch.setattr(lookalikes, "_TILE_COLUMNS", 2 * tile + 1)
        tiles = list(close_pairs(np.array(values, np.uint64), distance))
    joined = ClosePairs.joined(tiles)
    assert as_set(joined) == slow_pairs(values, distance)
    assert len(joined) == len(as_set(joined))


def test_pairs_beyond_one_tile() -> None:
    values: NDArray[np.uint64] = np.random.default_rng(0).integers(0, 2**64, 5000, np.uint64)
    values[4999], values[70] = values[3] ^ np.uint64(5), values[3] ^ np.uint64(MIRROR)
    found = as_set(ClosePairs.joined(list(close_pairs(values, 6))))
    assert found == {(3, 70, 0, True), (3, 4999, 2, False), (70, 4999, 2, True)}


def test_part_and_join() -> None:
    pairs = ClosePairs.joined(list(close_pairs(np.array([0, 1, 3], np.uint64), 1)))
    assert len(ClosePairs.joined([])) == 0
    assert as_set(pairs.part(slice(1, 2))) == {(1, 2, 1, False)}
    assert len(pairs.part(np.array([], np.int64))) == 0
