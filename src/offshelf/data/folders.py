"""Folders of images: train/ and test/ with class folders, or class folders alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from offshelf.data.names import TEST, TRAIN, VAL, counted, listed, shown, split_word
from offshelf.data.rows import Reading, Row
from offshelf.data.walk import LeftOut, images_under, subfolders
from offshelf.errors import DataError


def read_folder(data: Path) -> Reading:
    """Read the class folders of *data*.

    A folder with ``train/`` and ``test/`` (or ``val/``, ``valid/``, ``validation/``, in
    any case) is a given split; any other folder is one of class folders, also when one
    of its classes happens to be called ``train``. Images may lie at any depth inside a
    class folder.

    Raises:
        DataError: the folder cannot be read, holds no images or none in class folders,
            or two folders mean the same split.
    """
    left_out = LeftOut()
    folders, loose = subfolders(data, left_out)
    if str(data) in left_out.locked:
        raise DataError(f"{shown(data)}: the folder cannot be read; check its permissions")
    splits = _split_folders(data, folders)
    if splits:
        rows, notes = _read_splits(data, splits, left_out)
        beside = [name for name in folders if name not in splits.values()]
        if beside:
            notes.append(f"folders beside the splits are left out: {listed(beside)}")
    else:
        rows, notes = _read_classes(data, folders, "", left_out)
    if not rows:
        raise DataError(_nothing_in(data, bool(folders), bool(loose), left_out))
    if loose:
        notes.append(f"{counted(len(loose), 'image')} outside the class folders left out")
    warnings = [f"{shown(data)}: {note}" for note in notes]
    return Reading(tuple(rows), (*warnings, *left_out.warnings(data)))


def _split_folders(data: Path, folders: list[str]) -> dict[str, str]:
    """Return split -> folder name, empty when the folders are classes."""
    found: dict[str, str] = {}
    for name in folders:
        split = split_word(name)
        if split and split in found:
            both = listed([found[split], name])
            raise DataError(f"{shown(data)}: {both} both mean {split}; rename or remove one")
        if split:
            found[split] = name
    if TRAIN in found and len(found) > 1:
        return found
    only_splits = len(found) == len(folders)
    nested = all(subfolders(data / name, LeftOut())[0] for name in found.values())
    return found if found and only_splits and nested else {}


def _read_splits(
    data: Path, splits: dict[str, str], left_out: LeftOut
) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    notes: list[str] = []
    chosen = dict(splits)
    if TEST in chosen and VAL in chosen:
        unused = chosen.pop(VAL)
        notes.append(f"{shown(chosen[TEST])}/ is the test split; {shown(unused)}/ is left out")
    for split, name in sorted(chosen.items(), reverse=True):
        folders, loose = subfolders(data / name, left_out)
        role = TRAIN if split == TRAIN else TEST
        of_split, more = _read_classes(data / name, folders, role, left_out)
        if loose and not of_split:
            raise DataError(_no_classes(data / name))
        if loose:
            number = counted(len(loose), "image")
            notes.append(f"{number} in {shown(name)}/ outside the class folders left out")
        rows += of_split
        notes += [f"{shown(name)}/: {note}" for note in more]
    return rows, notes


def _read_classes(
    folder: Path, classes: list[str], split: str, left_out: LeftOut
) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    empty: list[str] = []
    for label in classes:
        images = images_under(folder / label, left_out)
        rows += [
            Row(str(folder / label / image), f"{label}/{image}", label, split) for image in images
        ]
        if not images:
            empty.append(label)
    notes = [f"class folders without images are left out: {listed(empty)}"] if empty else []
    return rows, notes


def _no_classes(folder: Path) -> str:
    return (
        f"{shown(folder)}: holds images but no class folders; put the images of each class in "
        "a folder of its own, or give a CSV file with the columns path,label"
    )


def _nothing_in(data: Path, folders: bool, loose: bool, left_out: LeftOut) -> str:
    if loose:
        return _no_classes(data)
    if not folders and not left_out.suffixes:
        return f"{shown(data)}: the folder is empty; it should hold one folder per class"
    others: Counter[str] = left_out.suffixes
    found = (
        f"; found only {', '.join(shown(s) for s, _ in others.most_common(3))}" if others else ""
    )
    return f"{shown(data)}: holds no images (.jpg, .png, .tif, .webp, ...){found}"
