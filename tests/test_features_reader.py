"""Reading ahead: in order, bounded, and nothing about a file can end it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import STATUSES, Limits, decode
from offshelf.data.decoding.limits import Facts
from offshelf.errors import DataError
from offshelf.features import network_input, reader
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import (
    AHEAD_PER_WORKER,
    Digested,
    Known,
    Picture,
    ReadOptions,
    digest_picture,
    processors,
    read_ahead,
)

SPEC = InputSpec(size=16)


def nothing_known(_: bytes) -> Facts | None:
    return None


def everything_known(_: bytes) -> Facts | None:
    return Facts(width=20, height=12)


def read(
    sources: list[Any],
    known: Known = nothing_known,
    spec: InputSpec = SPEC,
    **options: Any,
) -> list[Digested]:
    return list(read_ahead(sources, known, spec, ReadOptions(**options), Stopwatch()))


def noise(seed: int, height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(60):
        path = folder / f"{number:02}.png"
        Image.fromarray(noise(number)).save(path)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_images_come_in_order_with_hash_and_pixels(images: list[str], workers: int):
    found = read(images, workers=workers)
    assert [item.path for item in found] == images
    assert {item.status for item in found} == {"ok"}
    assert {item.reason for item in found} == {""}
    for item, path in zip(found, images, strict=True):
        content = Path(path).read_bytes()
        assert item.digest == hashlib.sha256(content).digest()
        assert item.pixels is not None
        assert np.array_equal(item.pixels, prepare(decode(content), SPEC))


def test_slow_images_do_not_change_the_order(images: list[str], monkeypatch: pytest.MonkeyPatch):
    own = reader.digest_one

    def slow(path: str, *rest: Any) -> Digested:
        time.sleep(0.01 if path in images[::5] else 0)
        return own(path, *rest)

    monkeypatch.setattr(reader, "digest_one", slow)
    assert [item.path for item in read(images, workers=6)] == images


def test_no_images():
    assert read([]) == []


def test_an_image_that_is_known_is_not_decoded(images: list[str]):
    known = hashlib.sha256(Path(images[3]).read_bytes()).digest()
    facts = Facts(width=20, height=12, assumed="something")
    found = read(images[:6], known=lambda digest: facts if digest == known else None)
    assert [item.pixels is None for item in found] == [False] * 3 + [True] + [False] * 2
    assert {item.status for item in found} == {"ok"}
    assert found[3].digest == known
    assert found[3].facts == facts
    others = [item.facts for item in found if item is not found[3]]
    assert {(facts.width, facts.height, facts.status) for facts in others} == {(20, 12, "ok")}


def test_an_image_that_is_known_is_judged_by_its_facts(images: list[str]):
    for limits in (Limits(max_pixels=239), Limits(max_pixels=240)):
        fresh = read(images[:2], limits=limits)
        known = read(images[:2], known=everything_known, limits=limits)
        told = [(item.status, item.reason, item.digest) for item in fresh]
        assert told == [(item.status, item.reason, item.digest) for item in known]
        assert told[0][0] == ("ok" if limits.max_pixels == 240 else "too_large")


def test_never_more_than_a_bounded_number_is_held(
    images: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Pixels are counted from when they are made until nobody holds them any more."""
    alive = peak = 0
    lock = threading.Lock()

    def count(change: int) -> None:
        nonlocal alive, peak
        with lock:
            alive += change
            peak = max(peak, alive)

    def counted(rgb: np.ndarray, spec: InputSpec) -> np.ndarray:
        prepared = prepare(rgb, spec)
        count(1)
        weakref.finalize(prepared, count, -1)
        return prepared

    monkeypatch.setattr(network_input, "prepare", counted)
    workers = 2
    taken = 0
    for item in read_ahead(
        images * 5, nothing_known, SPEC, ReadOptions(workers=workers), Stopwatch()
    ):
        taken += item.pixels is not None
        if taken % 50 == 0:
            time.sleep(0.05)
        del item
    assert taken == 300
    assert peak <= AHEAD_PER_WORKER * workers + 1


def test_leaving_early_ends_the_threads(images: list[str]):
    stream = read_ahead(images, nothing_known, SPEC, ReadOptions(workers=3), Stopwatch())
    next(stream)
    assert any(thread.name.startswith("offshelf-reader") for thread in threading.enumerate())
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("offshelf-reader") for thread in threading.enumerate())


# --- what is wrong with a file ------------------------------------------------


def png(path: Path) -> bytes:
    Image.fromarray(noise(1, 40, 40)).save(path)
    return path.read_bytes()


ODD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda _: None, "missing"),
    "empty": (lambda path: path.touch(), "empty"),
    "text": (lambda path: path.write_text("hello"), "not_an_image"),
    "folder": (lambda path: path.mkdir(), "unreadable"),
    "pipe": (os.mkfifo, "unreadable"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "missing"),
    "cut": (lambda path: path.write_bytes(png(path)[:-300]), "truncated"),
    "document": (lambda path: path.write_bytes(b"%PDF-1.7 ..."), "unsupported"),
    "large": (lambda path: Image.new("1", (2000, 2000)).save(path, "PNG"), "too_large"),
    "heavy": (lambda path: path.write_bytes(bytes(200_001)), "too_large"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_bad_file_is_a_line_and_not_the_end(images: list[str], tmp_path: Path, kind: str):
    make, status = ODD[kind]
    bad = tmp_path / "bad.png"
    make(bad)
    limits = Limits(max_pixels=1_000_000, max_bytes=200_000)
    found = read([images[0], str(bad), images[1]], limits=limits)
    assert [item.status for item in found] == ["ok", status, "ok"]
    assert status in STATUSES
    assert found[1].path == str(bad)
    assert found[1].reason
    assert "\n" not in found[1].reason
    assert found[1].pixels is None
    readable = kind in {"text", "cut", "document", "large"}
    assert (len(found[1].digest) == 32) == readable


# --- images in memory ---------------------------------------------------------


def of(image: Any) -> Digested:
    return digest_picture(Picture("image 0", image), nothing_known, SPEC, Limits())


def test_pixels_have_the_same_hash_however_they_come():
    array = noise(5)
    grey = array[..., 0]
    same = [array, array.copy(), np.asfortranarray(array), Image.fromarray(array)]
    assert len({of(image).digest for image in same}) == 1
    as_grey = [grey, grey[..., None], np.repeat(grey[..., None], 3, 2), Image.fromarray(grey)]
    assert len({of(image).digest for image in as_grey}) == 1
    assert all(np.array_equal(of(i).pixels, prepare(array, SPEC)) for i in same)


def test_other_pixels_and_other_shapes_have_other_hashes():
    array = noise(5, 12, 20)
    changed = array.copy()
    changed[-1, -1, -1] ^= 1
    others = [array, changed, array.reshape(20, 12, 3), array.reshape(6, 40, 3), array[..., ::-1]]
    assert len({of(image).digest for image in others}) == len(others)


def test_a_known_image_in_memory_is_not_resized():
    found = digest_picture(Picture("image 0", noise(1)), everything_known, SPEC, Limits())
    assert (found.status, found.pixels, found.path) == ("ok", None, "image 0")


def test_a_broken_pil_image_is_a_line(tmp_path: Path):
    path = tmp_path / "cut.png"
    path.write_bytes(png(path)[:-300])
    with Image.open(path) as image:
        found = read([Picture("image 7", image), Picture("image 8", noise(1))])
    assert [(item.path, item.status) for item in found] == [
        ("image 7", "truncated"),
        ("image 8", "ok"),
    ]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4)), "image 3: an image array must be uint8, not float64"),
        (np.zeros((4, 4, 2), np.uint8), "image 3: an image array is H x W, or H x W x 1, 3 or 4"),
        (np.zeros((0, 4, 3), np.uint8), "image 3: an image array without pixels"),
        (b"bytes", "image 3: an image is a path, a PIL image or a uint8 array, not bytes"),
        (None, "image 3: an image is a path, a PIL image or a uint8 array, not NoneType"),
    ],
)
def test_what_is_no_image_is_an_error_that_names_it(image: Any, message: str):
    with pytest.raises(DataError) as caught:
        read([Picture("image 3", image), *(Picture("more", noise(i)) for i in range(40))])
    assert str(caught.value).startswith(message)
    assert not any(thread.name.startswith("offshelf-reader") for thread in threading.enumerate())


# --- settings -----------------------------------------------------------------


def test_one_thread_per_processor(monkeypatch: pytest.MonkeyPatch):
    assert ReadOptions().threads == processors() >= 1
    assert ReadOptions(workers=5).threads == 5
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1
