"""Fingerprints of an audit: kept by the bytes of the image, the same from the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from offshelf.data.decoding.limits import Facts, Limits
from offshelf.data.lookalikes import Fingerprint
from offshelf.errors import ImageError
from offshelf.features.reader import ReadOptions
from offshelf.jobs.audit import image_quality
from offshelf.jobs.audit.image_quality import KeptFingerprints, packed, take_fingerprints, unpacked
from offshelf.progress import Silent

FLOATS = st.floats(allow_nan=False)
WHOLE = st.integers(1, 2**32 - 1)


@given(
    st.builds(
        Fingerprint,
        width=WHOLE,
        height=WHOLE,
        mode=st.sampled_from(["1", "L", "RGB", "RGBA", "I;16B", "F"]),
        coloured=st.booleans(),
        hash=st.integers(0, 2**64 - 1),
        brightness=FLOATS,
        contrast=FLOATS,
        sharpness=FLOATS,
        flat=FLOATS,
        levels=st.integers(1, 256),
    )
)
def test_a_fingerprint_comes_out_of_a_row_as_it_went_in(found: Fingerprint):
    row = packed(found)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()
    assert unpacked(row) == found


def test_a_mode_that_does_not_fit_is_not_kept(tmp_path: Path):
    found = Fingerprint(
        width=1,
        height=1,
        mode="RGB of nine",
        coloured=False,
        hash=0,
        brightness=0.0,
        contrast=0.0,
        sharpness=0.0,
        flat=0.0,
        levels=1,
    )
    with pytest.raises(struct.error):
        packed(found)
    kept = KeptFingerprints(tmp_path, Limits())
    kept.add(b"x" * 32, found, Facts(width=1, height=1))
    kept.flush()
    assert kept.find([b"x" * 32]) == [None]


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    draw = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(((8, 8), (40, 30), (9, 300), (64, 64))):
        path = tmp_path / f"{number}.png"
        values = draw.integers(0, 256, (*size, 4), dtype=np.uint8)
        Image.fromarray(values if number % 2 else values[..., :3]).save(path)
        paths.append(str(path))
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "3.png").read_bytes()[:9000])
    return [*paths, str(cut)]


def taken(images: list[str], cache: Path, limits: Limits | None = None) -> list[Any]:
    digests = [hashlib.sha256(Path(path).read_bytes()).digest() for path in images]
    reading = ReadOptions(workers=2, limits=limits or Limits())
    found = take_fingerprints(images, digests, reading, Silent(), cache)
    # An ImageError equals nothing but itself.
    return [(one.status, one.reason) if isinstance(one, ImageError) else one for one in found]


def test_what_is_kept_is_not_read_again(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    own = image_quality.read_bytes

    def counted(path: str, limits: Limits) -> bytes:
        read.append(path)
        return own(path, limits)

    monkeypatch.setattr(image_quality, "read_bytes", counted)
    cache = tmp_path / "cache"
    first = taken(images, cache)
    assert read == images
    read.clear()
    assert taken(images[::-1], cache) == first[::-1]
    # What has no fingerprint is looked at again.
    assert read == images[-1:]
    Image.new("L", (7, 7)).save(images[0])
    read.clear()
    assert taken(images, cache)[0].mode == "L"
    assert read == [images[0], images[-1]]


def test_limits_hold_for_fingerprints_that_are_kept(images: list[str], tmp_path: Path):
    taken(images, tmp_path / "filled", Limits(keep_damaged=True))
    for limits in (
        Limits(max_pixels=2000),
        Limits(background=(0, 0, 0)),
        Limits(keep_damaged=True),
        Limits(),
    ):
        name = str(dataclasses.astuple(limits))
        fresh = taken(images, tmp_path / name, limits)
        assert taken(images, tmp_path / "filled", limits) == fresh
        assert taken(images, tmp_path / name, limits) == fresh


def test_a_file_that_changed_meanwhile_is_kept_as_what_it_is(images: list[str], tmp_path: Path):
    was = Path(images[1]).read_bytes()
    digest = hashlib.sha256(was).digest()
    Image.new("L", (7, 7)).save(images[1])
    options = ReadOptions()
    (found,) = take_fingerprints(images[1:2], [digest], options, Silent(), tmp_path / "cache")
    assert isinstance(found, Fingerprint)
    assert found.mode == "L"
    Path(images[1]).write_bytes(was)
    (found,) = take_fingerprints(images[1:2], [digest], options, Silent(), tmp_path / "cache")
    assert isinstance(found, Fingerprint)
    assert found.mode == "RGBA"


def test_a_cache_that_cannot_be_written(images: list[str], tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    assert taken(images, tmp_path / "cache") == taken(images, tmp_path / "other")
