"""The compiled resize gives Pillow's bits, and Pillow resizes wherever it would not."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from offshelf.data.decoding.strips import turned
from offshelf.machine_code import host_has, is_possible
from offshelf.resample import resize
from offshelf.resample.passes import Box, Passes, Pixels, Size
from offshelf.resample.resize import agrees, by_pillow, proven_passes, resized

FILTERS = ("bilinear", "bicubic")
compiles = pytest.mark.skipif(
    not (is_possible() and host_has("avx2")), reason="no code is made for this processor"
)
# The code for this processor, and that for one that has no more than AVX2.
_PROCESSORS = ("", "x86-64-v3")


@pytest.fixture(scope="module", params=_PROCESSORS, ids=["here", "avx2"])
def passes(request: pytest.FixtureRequest) -> Passes:
    found = proven_passes(request.param)
    assert found is not None
    return found


def picture(height: int, width: int, channels: int, seed: int, extreme: bool) -> Pixels:
    chance = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if extreme:
        return chance.choice(np.array([0, 255], np.uint8), shape)
    return chance.integers(0, 256, shape, dtype=np.uint8)


def within(draw: st.DrawFn, length: int) -> tuple[int, int]:
    first = draw(st.integers(0, length - 1))
    return first, draw(st.integers(first + 1, length))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Pixels, Size, Box]:
    side = st.integers(1, 40) | st.integers(1, 500)
    width, height, size = draw(side), draw(side), (draw(side), draw(side))
    box = (0, 0, width, height)
    if draw(st.booleans()):
        (left, right), (top, bottom) = within(draw, width), within(draw, height)
        box = (left, top, right, bottom)
    channels, seed = draw(st.sampled_from((1, 3))), draw(st.integers(0, 9))
    return picture(height, width, channels, seed, draw(st.booleans())), size, box


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("interpolation", FILTERS)
@settings(max_examples=250, deadline=None)
@given(case=cases())
def test_the_bits_are_those_of_pillow(passes: Passes, interpolation: Any, case: Any) -> None:
    before = case[0].copy()
    found = passes.resized(*case, interpolation)
    expected = by_pillow(*case, interpolation)
    assert (found.shape, found.dtype) == (expected.shape, np.uint8)
    assert np.array_equal(found, expected)
    assert np.array_equal(case[0], before)


@compiles
@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 9000), (9000, 1), (2, 7000), (7000, 3), (900, 1300), (1300, 900)]
)
def test_extreme_shapes(
    passes: Passes, shape: tuple[int, int], channels: int, interpolation: Any
) -> None:
    pixels = picture(*shape, channels, 0, extreme=True)
    for size in ((224, 224), (1, 300), (300, 1), (1, 1)):
        box = (0, 0, shape[1], shape[0])
        found = passes.resized(pixels, size, box, interpolation)
        assert np.array_equal(found, by_pillow(pixels, size, box, interpolation))


@compiles
@pytest.mark.parametrize("height", range(90, 111))
def test_either_order_of_the_passes(passes: Passes, height: int) -> None:
    """What of Pillow's rule for the order is nearest to its turning point."""
    pixels = picture(height, 60, 1, height, extreme=True)
    for width in range(40, 64):
        given = (pixels, (width, 80), (0, 0, 60, height), "bicubic")
        assert np.array_equal(passes.resized(*given), by_pillow(*given)), width


@compiles
def test_views_are_read_as_they_look(passes: Passes) -> None:
    pixels = picture(60, 50, 3, 0, extreme=False)
    for view in (pixels[:, ::-1], pixels[5:40, 3:30], pixels[::2, ::-3], pixels[..., ::-1]):
        box = (0, 0, view.shape[1], view.shape[0])
        expected = by_pillow(np.ascontiguousarray(view), (20, 24), box, "bilinear")
        assert np.array_equal(passes.resized(view, (20, 24), box, "bilinear"), expected)


@pytest.mark.slow
@compiles
@pytest.mark.parametrize("turn", range(1, 9))
@settings(max_examples=60, deadline=None)
@given(case=cases(), interpolation=st.sampled_from(FILTERS))
def test_a_turned_picture_is_resized_as_it_lies(
    passes: Passes, turn: int, case: Any, interpolation: Any
) -> None:
    stored, size, _ = case
    view = turned(stored, turn)
    assert np.shares_memory(view, stored)
    height, width = view.shape[:2]
    for box in ((0, 0, width, height), (width // 3, height // 4, width, height)):
        expected = by_pillow(np.ascontiguousarray(view), size, box, interpolation)
        assert np.array_equal(passes.resized(view, size, box, interpolation), expected)
        assert np.array_equal(by_pillow(view, size, box, interpolation), expected)


@compiles
def test_threads_do_not_disturb_each_other(passes: Passes) -> None:
    pictures = [picture(200 + n, 150 + 7 * n, 1 + 2 * (n % 2), n, extreme=False) for n in range(8)]

    def work(pixels: Pixels) -> Pixels:
        box = (0, 0, pixels.shape[1], pixels.shape[0])
        return passes.resized(pixels, (64, 48), box, "bicubic")

    alone = [work(pixels) for pixels in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, pictures * 10))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 10, together, strict=True))


_FENCED = """
import ctypes, mmap
import numpy as np
from offshelf.resample.resize import proven_passes

passes, page = proven_passes(), mmap.PAGESIZE
for shape in [(64, 64), (1, 4096), (4096, 1), (16, 64, 3), (3, 1), (128, 96, 3), (1, 4096 // 3, 3)]:
    size = int(np.prod(shape))
    pages = -(-size // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    whole = np.frombuffer(memory, np.uint8)
    fence = whole.ctypes.data + pages * page
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), page, 0) == 0
    pixels = whole[pages * page - size : pages * page].reshape(shape)
    for target in [(7, 5), (224, 224)]:
        passes.resized(pixels, target, (0, 0, shape[1], shape[0]), "bicubic")
print("done")
"""


@compiles
@pytest.mark.skipif(sys.platform != "linux", reason="memory is fenced as on Linux")
def test_nothing_behind_a_picture_is_read() -> None:
    command = [sys.executable, "-c", _FENCED]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Any:
    fresh = resize._Maker()
    monkeypatch.setattr(resize, "_MAKER", fresh)
    monkeypatch.setattr(resize, "WORTH_COMPILING", 300 * 300 * 3)
    monkeypatch.delenv(resize.SWITCH, raising=False)
    return fresh


PIXELS = picture(300, 300, 3, 0, extreme=False)
GIVEN = (PIXELS, (32, 32), (0, 0, 300, 300), "bilinear")


@compiles
def test_it_is_compiled_once_that_is_worth_it(maker: Any) -> None:
    expected = by_pillow(*GIVEN)
    found = []
    for _ in range(4):
        assert np.array_equal(resized(*GIVEN), expected)
        found.append(maker.passes_for(PIXELS[:1]))
    assert found[0] is None
    assert found[-1] is not None
    assert found[-1] is found[-2]


def test_it_is_left_to_pillow_where_a_person_says_so(
    maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(resize.SWITCH, "0")
    monkeypatch.setattr(resize, "proven_passes", lambda: pytest.fail("compiled"))
    for _ in range(5):
        assert np.array_equal(resized(*GIVEN), by_pillow(*GIVEN))
    assert maker.passes_for(PIXELS) is None


@pytest.mark.parametrize("name", ["is_possible", "proven_passes"])
def test_pillow_serves_where_nothing_can_be_compiled(
    maker: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    calls = []

    def fails() -> bool:
        calls.append(name)
        raise RuntimeError("no memory for code")

    monkeypatch.setattr(resize, name, fails)
    for _ in range(8):
        assert np.array_equal(resized(*GIVEN), by_pillow(*GIVEN))
    assert len(calls) <= 1
    assert maker.passes_for(PIXELS) is None


@compiles
def test_a_pillow_that_computes_otherwise_is_noticed(
    maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow = by_pillow

    def other(*given: Any) -> Pixels:
        return 255 - pillow(*given)

    monkeypatch.setattr(resize, "by_pillow", other)
    assert proven_passes() is None
    for _ in range(5):
        assert np.array_equal(resized(*GIVEN), other(*GIVEN))


@compiles
def test_the_probes_tell_the_orders_apart() -> None:
    found = proven_passes()
    assert found is not None
    others = (resize.rows_first, resize.shorter_first)
    assert [agrees(Passes(found._functions, order)) for order in others].count(True) == 1


@compiles
def test_a_side_that_is_very_long_is_left_to_pillow(maker: Any) -> None:
    maker.passes_for(PIXELS)
    for _ in range(5):
        resized(*GIVEN)
    assert maker.passes_for(PIXELS) is not None
    assert maker.passes_for(np.zeros((1, resize.MAX_SIDE + 1), np.uint8)) is None


def test_the_oracle_is_pillow() -> None:
    image = Image.fromarray(PIXELS).resize((9, 7), Image.Resampling.BICUBIC, box=(2, 3, 90, 80))
    found = by_pillow(PIXELS, (9, 7), (2, 3, 90, 80), "bicubic")
    assert np.array_equal(found, np.asarray(image))
