"""The network input of one image to show, and the files of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import Limits
from offshelf.errors import DataError, ImageError, OffshelfError
from offshelf.features.network_input import NetworkInput, network_input
from offshelf.report.pictures.canvas import form_of
from offshelf.text import shown

MIN_SIDE = 2


def input_to_show(image: Any, spec: InputSpec, limits: Limits) -> NetworkInput:
    """Return the network input of an image; the errors name its file.

    Args:
        image: a path, a PIL image, or a uint8 array (H x W, or H x W x 1, 3 or 4).
        spec: the preprocessing.
        limits: bounds on bytes and pixels.

    Raises:
        DataError: it cannot be decoded (an ImageError), or has a side of one pixel.

    >>> import numpy as np
    >>> input_to_show(np.zeros((1, 1, 3), np.uint8), InputSpec(size=8), Limits())
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: image: 1 x 1 pixels: too small to see anything, 2 x 2 at least
    """
    try:
        found = network_input(image, spec, limits)
    except ImageError as error:
        reason = (
            f"{shown(image)}: {error.reason}" if isinstance(image, str | Path) else error.reason
        )
        raise ImageError(error.status, reason) from error
    width, height = found.facts.width, found.facts.height
    if min(height, width) < MIN_SIDE:
        raise DataError(
            f"{found.name}: {width} x {height} pixels: too small to see anything, "
            f"{MIN_SIDE} x {MIN_SIDE} at least"
        )
    return found


def write_picture(path: Path, content: bytes) -> Path:
    """Write a picture, whole or not at all, and return its path.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    try:
        files.write_bytes(path, content)
    except OSError as error:
        raise OffshelfError(files.unwritable(path, error)) from error
    return path


def write_layers(
    out: str | Path | None,
    names: Sequence[str],
    parts: Sequence[str],
    draw: Callable[[int, str], bytes],
) -> tuple[Path, ...]:
    """Write a picture per layer and return the files; every name is checked first.

    *names* are those of the files where *out* names none, *parts* are put into the name of
    *out*; *draw* returns picture *number* as bytes of a form.
    """
    paths = [picture_path(out, name, part) for name, part in zip(names, parts, strict=True)]
    forms = [form_of(path) for path in paths]
    for number, (path, form) in enumerate(zip(paths, forms, strict=True)):
        write_picture(path, draw(number, form))
    return tuple(paths)


def picture_path(out: str | Path | None, default: str, part: str = "") -> Path:
    """Return where a picture goes.

    Args:
        out: a file, a folder (:func:`is_folder`), or None for the working folder.
        default: the file's name where *out* names none.
        part: is put into the name of *out*, for one of several pictures.

    Raises:
        OffshelfError: *out* is no folder and ends neither in .png nor in .svg.

    >>> picture_path("maps.png", "cat-relu1_1.png").name, picture_path(None, "cat-a.png").name
    ('maps.png', 'cat-a.png')
    >>> picture_path("maps.svg", "x.png", "features.0:in").name
    'maps-features.0-in.svg'
    """
    path = Path(out) if out is not None else Path()
    if out is None or is_folder(out):
        return path / safe(default)
    _check_ending(path)
    return path.with_name(f"{path.stem}-{safe(part)}{path.suffix}") if part else path


def is_folder(out: str | Path) -> bool:
    """Return whether pictures go into the folder *out*, which is made where it does not exist.

    It is one already, its name ends in a slash, or it has no ending and nothing lies there.

    >>> is_folder("pictures"), is_folder("v1.2/"), is_folder("maps.png")
    (True, True, False)
    """
    path = Path(out)
    slashed = str(out).endswith(("/", os.sep))
    return slashed or path.is_dir() or not (path.suffix or path.exists())


def check_pictures(out: str | Path | None) -> None:
    """Refuse a place for pictures before any work is done for them.

    Raises:
        OffshelfError: it is a file whose name ends neither in .png nor in .svg, or nothing can
            be written there.
    """
    if out is None:
        return
    inside = Path(out) / "picture.png" if is_folder(out) else Path(out)
    _check_ending(inside)
    if reason := files.obstacle(inside):
        raise OffshelfError(files.unwritable(out, reason))


def _check_ending(path: Path) -> None:
    try:
        form_of(path)
    except OffshelfError as error:
        remedy = "" if path.exists() else "; that of a new folder in a slash"
        raise OffshelfError(f"{error}{remedy}") from error


def safe(name: str) -> str:
    """Return *name* as part of a file's name on any system.

    >>> safe("timm/vit:in")
    'timm-vit-in'
    """
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
