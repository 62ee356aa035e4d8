"""What decoding may take together: never more at once, first come first served, all given back."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from offshelf.backbones.specification.spec import InputSpec
from offshelf.data import decode as decoding
from offshelf.data.decode import as_rgb, decode, decode_with_facts
from offshelf.data.decoding import memory_budget
from offshelf.data.decoding.limits import Facts, Limits, check_facts
from offshelf.data.decoding.memory_budget import (
    SPARE,
    MemoryBudget,
    decode_bytes,
    default_memory,
    in_words,
    memory_here,
)
from offshelf.data.decoding.pillow_files import opened
from offshelf.errors import DataError, ImageError
from offshelf.features.network_input import network_input


class Watched(MemoryBudget):
    """Remembers the most that was in use, and for how many at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.together = self.most_together = 0

    @contextlib.contextmanager
    def held(self, size: int, of: int) -> Iterator[None]:
        with super().held(size, of):
            self.together += 1
            self.most = max(self.most, self.in_use)
            self.most_together = max(self.most_together, self.together)
            time.sleep(0.01)
            yield
            self.together -= 1


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(decoding, "BUDGET", watched)
    return watched


def saved(kind: str = "PNG", mode: str = "RGB", side: int = 600, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def in_threads(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_never_more_than_the_budget_at_once(budget: Watched) -> None:
    content = saved()
    needs = decode_with_facts(content).facts.memory
    # Some of it is left to what the C library keeps for each of the five threads.
    limits = Limits(max_memory=3 * needs)
    spec = InputSpec(size=32)
    in_threads(5, lambda: [network_input(content, spec, limits) for _ in range(3)])
    assert budget.most == 2 * needs
    assert budget.most_together == 2
    assert budget.in_use == 0


def test_one_that_needs_all_is_alone(budget: Watched) -> None:
    content = saved()
    limits = Limits(max_memory=decode_with_facts(content).facts.memory)
    in_threads(4, lambda: decode(content, limits))
    assert budget.most_together == 1


def test_a_file_over_the_budget_is_refused(budget: Watched) -> None:
    content = saved()
    needs = decode_with_facts(content).facts.memory
    limits = Limits(max_memory=needs - 1)
    text = (
        f"too_large: 600 x 600 pixels need {in_words(needs)} to decode, "
        f"the budget is {in_words(needs - 1)}; see --max-memory"
    )
    with pytest.raises(ImageError) as caught:
        decode(content, limits)
    assert str(caught.value) == text
    with pytest.raises(ImageError) as caught:
        check_facts(Facts(width=600, height=600, memory=needs), limits)
    assert str(caught.value) == text
    with pytest.raises(ImageError, match="too_large: 600 x 600 pixels need"):
        as_rgb(Image.open(io.BytesIO(content)), Limits(max_memory=10**6))
    assert decode(content, Limits(max_memory=needs)).shape == (600, 600, 3)


def test_nothing_is_decoded_over_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved()
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="too_large"):
        decode(content, Limits(max_memory=10**6))


@pytest.mark.parametrize("cut", [0, 300])
def test_it_is_given_back_after_an_error(budget: Watched, cut: int) -> None:
    content = saved("PNG", "L", 300) + b""
    for _ in range(3):
        with contextlib.suppress(ImageError):
            decode(content[: len(content) - cut])
        with pytest.raises(RuntimeError, match="stop"), decoding.decoding(content):
            raise RuntimeError("stop")
    assert budget.in_use == 0


def test_a_reduced_photo_takes_little_and_all_where_it_must(budget: Watched) -> None:
    photo = saved("JPEG", side=3000)
    reduced = decode_with_facts(photo, at_least=100).facts.memory
    whole = decode_with_facts(photo).facts.memory
    assert reduced < whole / 3
    # Only a full decoding tells what a damaged file holds; it waits with nothing in its hands.
    cut = photo[: len(photo) // 2]
    limits = Limits(max_memory=whole, keep_damaged=True)
    in_threads(4, lambda: decode_with_facts(cut, limits, at_least=100))
    assert budget.most <= whole
    assert decode_with_facts(cut, limits, at_least=100).facts.memory > reduced
    with pytest.raises(ImageError, match="too_large"):
        decode(cut, Limits(max_memory=reduced, keep_damaged=True))


def test_first_come_first_served() -> None:
    budget, order = MemoryBudget(), list[str]()

    def wait_for(name: str, size: int) -> threading.Thread:
        def work() -> None:
            with budget.held(size, of=10):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        return thread

    with budget.held(5, of=10):
        large = wait_for("large", 10)
        small = wait_for("small", 1)
        assert order == []
    large.join(10)
    small.join(10)
    assert order == ["large", "small"]


def test_more_than_all_waits_for_nothing_but_itself() -> None:
    budget = MemoryBudget()
    with budget.held(50, of=10):
        assert budget.in_use == 10
    assert budget.in_use == 0


def test_who_stops_waiting_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with budget.held(5, of=10):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Condition, "wait", interrupted)
            with pytest.raises(KeyboardInterrupt), budget.held(10, of=10):
                pass
        with budget.held(5, of=10):
            assert budget.in_use == 10
    assert budget.in_use == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_with_all_of_it() -> None:
    with memory_budget.BUDGET.held(7, of=10):
        child = os.fork()
        if child == 0:
            os._exit(memory_budget.BUDGET.in_use)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("sys/fs/cgroup/memory.max", "1000000\n", 10**6),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000", 2 * 10**6),
        ("sys/fs/cgroup/memory.max", "max\n", None),
        ("sys/fs/cgroup/memory.max", "", None),
    ],
)
def test_a_control_group_grants_less(
    tmp_path: Path, name: str, text: str, limit: int | None
) -> None:
    machine = memory_here(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert memory_here(tmp_path) == (limit or machine)


def test_a_quarter_by_default() -> None:
    assert default_memory() == memory_here() // 4
    assert Limits().memory == default_memory()
    assert Limits(max_memory=5).memory == 5
    with pytest.raises(DataError, match=r"^max_memory must be 1 or more, not 0$"):
        Limits(max_memory=0)


LARGE = 1400
KINDS = {
    "PNG of 16-bit grey": saved("PNG", "I;16", LARGE),
    "GIF": saved("GIF", "P", LARGE),
    "BMP": saved("BMP", "RGB", LARGE),
    "PGM": saved("PPM", "L", LARGE),
    "TIFF of floats": saved("TIFF", "F", LARGE, compression="tiff_deflate"),
    "TIFF": saved("TIFF", "CMYK", LARGE, compression="tiff_lzw"),
    "WEBP": saved("WEBP", "RGB", LARGE),
    "AVIF": saved("AVIF", "RGB", LARGE),
    "JPEG2000": saved("JPEG2000", "RGB", LARGE),
    "JPEG": saved("JPEG", "RGB", LARGE),
    "progressive JPEG": saved("JPEG", "RGB", LARGE, progressive=True, subsampling=0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_passes_the_gate(budget: Watched, kind: str) -> None:
    facts = decode_with_facts(KINDS[kind]).facts
    # The result, and Pillow's own pixels or its copy to be resized.
    grey = kind in ("GIF", "PGM")
    assert facts.memory > facts.width * facts.height * (2 if grey else 7)
    assert budget.most == facts.memory
    with pytest.raises(ImageError) as caught:
        decode(KINDS[kind], Limits(max_memory=facts.memory - 1))
    assert caught.value.status == "too_large"


def test_frames_and_coefficients_count() -> None:
    size = LARGE * LARGE
    base = decode_with_facts(KINDS["JPEG"]).facts.memory
    assert decode_with_facts(KINDS["progressive JPEG"]).facts.memory > 10 * size
    assert decode_with_facts(KINDS["WEBP"]).facts.memory > base + 8 * size
    assert decode_with_facts(KINDS["AVIF"]).facts.memory > base + 8 * size
    assert decode_with_facts(KINDS["JPEG2000"]).facts.memory > base + 8 * size


@pytest.mark.slow
def test_what_is_copied_of_a_tiff_counts() -> None:
    """It is held without its metadata, and Pillow turns all of it at once."""
    wide = Image.new("RGB", (20_000, 600))

    def needs(**options: Any) -> tuple[int, int]:
        buffer = io.BytesIO()
        wide.save(buffer, "TIFF", **options)
        content = buffer.getvalue()
        with opened("TIFF", content) as image:
            return decode_bytes(image, content), len(content)

    (plain, _), (raw, length) = needs(compression="tiff_lzw"), needs()
    turned, _ = needs(compression="tiff_lzw", tiffinfo={274: 6})
    assert raw > plain + length * 9 // 10
    assert turned > 8 * wide.width * wide.height + SPARE > plain + 2**21


def test_one_column_that_is_resized_to_many() -> None:
    """Rows are resized first: a high picture of one column would become a very large one."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((65000, 1), np.uint8)).save(buffer, "PNG")
    content = buffer.getvalue()
    assert decode_with_facts(content).facts.memory > 65000 * 1000
    with pytest.raises(ImageError, match="too_large: 1 x 65000 pixels need"):
        decode(content, Limits(max_memory=30_000_000))
