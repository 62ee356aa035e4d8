"""Made-up images for benchmarks that need no outside data.

A few pictures are drawn and encoded; every file is one of them with another comment after
its first marker, so that the bytes (and so the rows of the feature store) are distinct and
fifty thousand files take seconds to write.
"""

from __future__ import annotations

import io
import random
from pathlib import Path

from PIL import Image

PICTURES, SIDE, PER_FOLDER = 8, 64, 1000
# Width and height near those of 15-Scene; a class is a size of grain.
SCENE, GRAINS = (288, 256), {"fine": 32, "medium": 12, "rough": 4}


def pictures(seed: int = 0) -> list[bytes]:
    """Return a few JPEG files of noise, 64 x 64."""
    chance = random.Random(seed)
    return [_jpeg(_noise(chance, SIDE)) for _ in range(PICTURES)]


def numbered(jpeg: bytes, number: int) -> bytes:
    """Return *jpeg* with a comment after its first marker: the same pixels, other bytes."""
    comment = f"{number:08d}".encode()
    length = (len(comment) + 2).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xfe" + length + comment + jpeg[2:]


def write_images(folder: Path, count: int) -> None:
    """Write *count* JPEG files of distinct bytes, a thousand to a folder."""
    files = pictures()
    for number in range(count):
        inner = folder / f"{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            inner.mkdir(parents=True)
        content = numbered(files[number % PICTURES], number)
        (inner / f"{number:08d}.jpg").write_bytes(content)


def write_classes(folder: Path, count: int, seed: int = 0) -> None:
    """Write about *count* JPEG files of three easy classes, a third of them to train on."""
    chance = random.Random(seed)
    for name, grain in GRAINS.items():
        files = [_jpeg(_noise(chance, grain).resize(SCENE)) for _ in range(PICTURES)]
        for number in range(-(-count // len(GRAINS))):
            inner = folder / ("test" if number % 3 else "train") / name
            inner.mkdir(parents=True, exist_ok=True)
            content = numbered(files[number % PICTURES], number)
            (inner / f"{number:06d}.jpg").write_bytes(content)


def _noise(chance: random.Random, side: int) -> Image.Image:
    return Image.frombytes("RGB", (side, side), chance.randbytes(3 * side**2))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()
