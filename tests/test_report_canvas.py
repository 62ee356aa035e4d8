"""The sheet: exact pixels, equal bytes, bounded sizes, no window, nobody's settings."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from offshelf.errors import OffshelfError
from offshelf.report.pictures.canvas import Canvas, check_form, form_of
from offshelf.report.pictures.colour_maps import COLOURS, check_colours, coloured


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (7, 3), (50, 60)])
def test_an_array_is_put_pixel_for_pixel(left: int, top: int) -> None:
    canvas, pixels = Canvas(133, 127), noise(41, 59)
    canvas.put(pixels, left, top)
    drawn = opened(canvas.to_bytes())
    assert drawn.shape == (127, 133, 3)
    assert np.array_equal(drawn[top : top + 41, left : left + 59], pixels)
    drawn = drawn.copy()
    drawn[top : top + 41, left : left + 59] = 255
    assert (drawn == 255).all()


@given(st.integers(1, 600), st.integers(1, 600))
@settings(deadline=None, max_examples=25)
def test_a_sheet_has_exactly_its_size(width: int, height: int) -> None:
    assert opened(Canvas(width, height).to_bytes()).shape == (height, width, 3)


def test_text_is_written_where_it_should_be() -> None:
    canvas = Canvas(200, 60)
    canvas.write("relu1_1", (20, 10), size=14)
    canvas.write("right", (190, 40), size=12, align="right")
    ink = np.argwhere(opened(canvas.to_bytes()).min(axis=2) < 128)
    assert ink[:, 1].min() >= 19
    assert ink[:, 1].max() <= 190
    assert ink[:, 0].min() in range(9, 14)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_equal_sheets_are_equal_bytes_whatever_the_settings(form: str) -> None:
    import matplotlib

    def drawn() -> bytes:
        canvas = Canvas(120, 50)
        canvas.put(noise(10, 10), 3, 4)
        canvas.write("cat $x_1$", (20, 10), bold=True)
        return canvas.to_bytes(form)

    expected = drawn()
    odd = {"text.usetex": True, "font.size": 30, "savefig.bbox": "tight", "svg.fonttype": "none"}
    with matplotlib.rc_context(odd):
        assert drawn() == expected
        assert matplotlib.rcParams["text.usetex"] is True


@pytest.mark.parametrize("text", ["a\nb\x00c", "кошка", "東京", "$\\frac{1", "<&>\"'", ""])
@pytest.mark.parametrize("form", ["png", "svg"])
def test_any_text_can_be_written(text: str, form: str, recwarn: pytest.WarningsRecorder) -> None:
    canvas = Canvas(120, 30)
    canvas.write(text, (5, 5))
    assert canvas.to_bytes(form)
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_an_svg_is_whole_in_itself() -> None:
    canvas = Canvas(64, 48)
    canvas.put(noise(8, 8), 1, 1)
    canvas.write("cat", (20, 10))
    root = ET.fromstring(canvas.to_bytes("svg"))  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    links = [value for node in root.iter() for key, value in node.items() if key.endswith("href")]
    assert any(link.startswith("data:image/png;base64,") for link in links)
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_sheet_is_bounded() -> None:
    with pytest.raises(OffshelfError) as error:
        Canvas(5000, 10)
    assert str(error.value) == (
        "a picture of 5000 x 10 pixels: at most 4096 x 4096; choose fewer channels"
    )


@pytest.mark.parametrize("name", COLOURS)
def test_colours_grow_lighter_evenly(name: str) -> None:
    ramp = coloured(np.linspace(0, 1, 256)[None], name)
    luma = np.asarray(Image.fromarray(ramp).convert("L"), int)[0]
    assert (np.diff(luma) >= -1).all()
    assert luma[-1] - luma[0] > 150
    assert np.abs(luma[128] - (luma[0] + luma[-1]) / 2) < 30


@pytest.mark.parametrize(
    ("name", "theirs"), [(name, "gray" if name == "grey" else name) for name in COLOURS]
)
def test_colours_are_those_of_matplotlib(name: str, theirs: str) -> None:
    import matplotlib

    shares = np.linspace(0, 1, 20_001)
    expected = matplotlib.colormaps[theirs](shares, bytes=True)[:, :3]
    assert np.array_equal(coloured(shares, name), expected)


def test_shares_beyond_the_ends_take_the_ends_colour() -> None:
    assert np.array_equal(coloured(np.array([-1.0, 2.0])), coloured(np.array([0.0, 1.0])))


@pytest.mark.parametrize(
    ("call", "argument", "text"),
    [
        (check_colours, "viridi", "no colours 'viridi': cividis, viridis, magma, grey."),
        (check_form, "pdf", "no form 'pdf': pictures are png or svg"),
        (form_of, Path("a/maps.jpeg"), "a/maps.jpeg: a picture's name ends in .png or .svg"),
        (form_of, Path("maps"), "maps: a picture's name ends in .png or .svg"),
    ],
)
def test_wrong_words_are_one_line(call, argument, text: str) -> None:
    with pytest.raises(OffshelfError) as error:
        call(argument)
    assert str(error.value).startswith(text)


def test_the_suffix_says_the_form() -> None:
    assert form_of(Path("a.SVG")) == "svg"


@pytest.mark.parametrize(("align", "left", "top"), [("left", 30, 20), ("right", 8, 20)])
@pytest.mark.parametrize("bold", [False, True])
def test_letters_stand_in_a_png_where_they_stand_in_an_svg(
    align: str, left: int, top: int, bold: bool
) -> None:
    canvas = Canvas(64, 48)
    canvas.write("HEH", (left if align == "left" else 60, top), size=14, align=align, bold=bold)
    ink = np.argwhere(opened(canvas.to_bytes()).min(axis=2) < 128)
    numbers = [
        float(number)
        for use in ET.fromstring(canvas.to_bytes("svg")).iter()  # noqa: S314
        if "translate" in (value := use.get("transform", ""))
        for number in value.split("translate(")[1].split(")")[0].split()
    ]
    first, base = (number * 128 / 72 for number in numbers[:2])
    assert abs(ink[:, 1].min() - first) < 3
    assert abs(ink[:, 0].max() + 1 - base) <= 1


def test_a_png_needs_no_matplotlib() -> None:
    code = (
        "import sys\nfrom offshelf.report.pictures.canvas import Canvas\n"
        "c = Canvas(20, 20)\nc.write('a', (1, 1))\nc.to_bytes('png')\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.slow
def test_no_window_is_ever_near() -> None:
    code = (
        "import sys\nfrom offshelf.report.pictures.canvas import Canvas\n"
        "c = Canvas(20, 20)\nc.write('a', (1, 1))\nc.to_bytes('png')\nc.to_bytes('svg')\n"
        "print('matplotlib.pyplot' in sys.modules, 'tkinter' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
