"""Pillow's warnings are dropped in the thread that decodes, and nothing of it stays."""

from __future__ import annotations

import io
import logging
import pickle
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from offshelf.data.decode import as_rgb, decode
from offshelf.data.decoding.pillow_files import WarningWhileDecoding, silently


def png_of_a_wrong_animation() -> bytes:
    """A PNG file about which Pillow warns: an animation of no frames."""
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 8, 7)).save(out, "PNG")
    content, chunk = out.getvalue(), b"acTL" + bytes(8)
    checked = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content[:33] + checked + content[33:]


WARNED_OF = png_of_a_wrong_animation()


@pytest.fixture
def strict() -> Iterator[None]:
    """Every warning is an error, as under ``python -W error``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def warn_here() -> int:
    warnings.warn("from here", stacklevel=1)
    return 7


@pytest.mark.usefixtures("strict")
def test_the_file_is_one_that_pillow_warns_of() -> None:
    with pytest.raises(UserWarning), Image.open(io.BytesIO(WARNED_OF)) as image:
        image.load()


@pytest.mark.usefixtures("strict")
def test_silence_is_for_its_own_thread() -> None:
    heard: list[str] = []

    def elsewhere() -> None:
        try:
            warnings.warn("from elsewhere", stacklevel=1)
        except UserWarning as warning:
            heard.append(str(warning))

    def here() -> int:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return warn_here()

    assert silently(here) == 7
    assert heard == ["from elsewhere"]
    with pytest.raises(UserWarning, match="from here"):
        warn_here()


def test_filters_and_logging_are_as_they_were() -> None:
    logger = logging.getLogger("PIL.TiffImagePlugin")
    filters, before, logs = warnings.filters, list(warnings.filters), list(logger.filters)
    decode(WARNED_OF)
    as_rgb(Image.new("L", (3, 3)))
    with pytest.raises(ZeroDivisionError):
        silently(lambda: 1 // 0)
    assert warnings.filters is filters
    assert list(warnings.filters) == before
    assert logger.filters == logs


@pytest.mark.usefixtures("strict")
def test_what_is_in_the_filters_meanwhile_is_a_filter() -> None:
    seen = silently(lambda: list(warnings.filters))
    assert len(seen) == len(warnings.filters) + 1
    action, message, category, module, line = seen[0]
    assert (action, message, module, line) == ("ignore", None, None, 0)
    assert issubclass(category, Warning)
    assert pickle.loads(pickle.dumps(seen[0]))[2] is WarningWhileDecoding  # noqa: S301 (its own)
    # As scikit-learn does in each of its workers.
    with warnings.catch_warnings():
        warnings.simplefilter(action, category=category, lineno=line, append=True)
        with pytest.raises(UserWarning):
            warn_here()


def test_filters_that_are_swapped_meanwhile_keep_nothing() -> None:
    before = list(warnings.filters)
    taken = warnings.catch_warnings()

    silently(taken.__enter__)
    assert list(warnings.filters) == before
    taken.__exit__(None, None, None)
    assert list(warnings.filters) == before

    taken = warnings.catch_warnings()
    taken.__enter__()
    silently(lambda: taken.__exit__(None, None, None))
    assert list(warnings.filters) == before


@pytest.mark.usefixtures("strict")
def test_work_whose_silence_was_taken_away_is_done_again() -> None:
    tries: list[int] = []

    def work() -> int:
        tries.append(0)
        if len(tries) < 3:
            warnings.resetwarnings()
            warnings.simplefilter("error")
        return warn_here()

    assert silently(work) == 7
    assert len(tries) == 3


@pytest.mark.usefixtures("strict")
def test_images_decode_alike_where_warnings_are_errors_and_filters_are_swapped() -> None:
    expected = np.full((4, 4, 3), (9, 8, 7), np.uint8)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with warnings.catch_warnings():
                warnings.simplefilter("error")

    other = threading.Thread(target=swap)
    other.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(decode, [WARNED_OF] * 300))
    finally:
        stop.set()
        other.join()
    assert all(np.array_equal(pixels, expected) for pixels in found)
    assert all(one[2] is not WarningWhileDecoding for one in warnings.filters)
