"""The demo data set: real images that come with scikit-learn, written as folders."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np
from PIL import Image

from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.errors import DataError
from offshelf.files import temporary_folder, write_bytes
from offshelf.text import shown

SIDE = 32
TRAINED_PER_CLASS = 100
PHOTOS = ("china.jpg", "flower.jpg")
_SEED = 0
_CREDITS = """\
digits/  1797 handwritten digits, 8 x 8 pixels enlarged to 32 x 32; 100 of each digit to train on,
         the rest to test with. E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
         Digits, UCI Machine Learning Repository, 1998. Distributed with scikit-learn.
photos/  the sample photographs of scikit-learn, from Flickr (CC BY 2.0): china.jpg by
         danielbuechele (photo 6061409035), flower.jpg by vultilion (photo 6056698931).
"""


def write_demo(folder: Path) -> Path:
    """Write the demo images below *folder* and return the folder that holds the classes.

    ``digits/train/0`` to ``digits/test/9`` are 8-bit grey PNG files of 32 x 32 pixels,
    dark on white: 100 images per class to train on and 797 in all to test with, the same
    in every run. ``photos/`` holds two photographs to try a prediction on and
    ``CREDITS.txt`` names the authors. What is there already is left as it is.

    Returns:
        ``folder/digits``, for :func:`offshelf.data.tables.image_table.read_table`.

    Raises:
        DataError: *folder* cannot be written.
    """
    folder = Path(folder)
    digits = folder / "digits"
    try:
        if not digits.is_dir():
            _write_digits(digits)
        _write_photos(folder)
    except OSError as error:
        raise DataError(f"{shown(folder)}: the demo cannot be written: {error.strerror}") from error
    return digits


def _write_digits(target: Path) -> None:
    # One rename for 1797 files, where one sync for each would take longer than the demo.
    with temporary_folder(target.parent) as place:
        _write_images(place / target.name)
        try:
            (place / target.name).rename(target)
        except OSError:
            if not target.is_dir():  # else another run was first, and its folder is as good
                raise


def _write_images(folder: Path) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.PCG64(_SEED).random_raw(len(data.target)).argsort(kind="stable")
    trained = [0] * 10
    for number in order:
        label = int(data.target[number])
        split = TRAIN if trained[label] < TRAINED_PER_CLASS else TEST
        trained[label] += 1
        place = folder / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        # Dark on white like ink on paper: nearer to photographs than the data set's white on black.
        grey = np.floor((16 - data.images[number]) * (255 / 16) + 0.5).astype(np.uint8)
        picture = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(place / f"digit-{number:04d}.png")


def _write_photos(folder: Path) -> None:
    images = importlib.resources.files("sklearn.datasets.images")
    for name in PHOTOS:
        if not (folder / "photos" / name).is_file():
            write_bytes(folder / "photos" / name, (images / name).read_bytes())
    if not (folder / "CREDITS.txt").is_file():
        write_bytes(folder / "CREDITS.txt", _CREDITS.encode())
