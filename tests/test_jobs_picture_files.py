"""One image as the network sees it; where its pictures go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import Limits
from offshelf.errors import DataError, ImageError, OffshelfError
from offshelf.jobs.visualise.picture_files import input_to_show, picture_path, write_picture

SPEC = InputSpec(size=32)


def test_what_is_seen_is_what_the_network_gets(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = input_to_show(tmp_path / "a.png", SPEC, Limits())
    assert np.array_equal(seen.pixels, prepare(pixels, SPEC))
    assert (seen.name, seen.title) == (str(tmp_path / "a.png"), "a.png")
    assert np.array_equal(input_to_show(pixels, SPEC, Limits()).pixels, seen.pixels)
    assert input_to_show(Image.fromarray(pixels), SPEC, Limits()).title == "image"


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_an_image_of_one_pixel_is_one_line(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", size).save(path)
    with pytest.raises(DataError) as error:
        input_to_show(path, SPEC, Limits())
    assert str(error.value) == (
        f"{path}: {size[0]} x {size[1]} pixels: too small to see anything, 2 x 2 at least"
    )


def test_a_text_file_named_jpg_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture at all\n")
    with pytest.raises(ImageError) as error:
        input_to_show(path, SPEC, Limits())
    assert error.value.status == "not_an_image"
    assert str(error.value).startswith(f"not_an_image: {path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("out", "part", "expected"),
    [
        (None, "", "cat-relu1_1.png"),
        ("x/maps.png", "", "x/maps.png"),
        ("x/maps.png", "relu1_1", "x/maps-relu1_1.png"),
        ("maps.v2.svg", "features.0:in", "maps.v2-features.0-in.svg"),
    ],
)
def test_a_picture_has_a_place(out: str | None, part: str, expected: str) -> None:
    assert picture_path(out, "cat-relu1_1.png", part) == Path(expected)


def test_a_folder_takes_the_picture_under_its_own_name(tmp_path: Path) -> None:
    assert picture_path(tmp_path, "a/b:c.png") == tmp_path / "a-b-c.png"


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OffshelfError, match=r"maps\.png: cannot be written \("):
        write_picture(tmp_path / "file" / "maps.png", b"")
