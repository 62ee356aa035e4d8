"""Labelled images in folders: train/ and test/ with class folders, or class folders alone.

The layout may be wrapped, in splits, in batches, or class folders. What is certain is taken and
said in one note; what may be two things is an error that names the options. A folder of test
images is never silently taken as a class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from offshelf.data.folders.class_depth import (
    INNER,
    ClassFolder,
    Layout,
    class_folders,
    splits_inside,
)
from offshelf.data.folders.class_names import NAMED, TRAIN, is_batch, same_class_key, split_mark
from offshelf.data.folders.given_splits import (
    loose_note,
    split_class_folders,
    split_names_note,
    unlabelled_note,
)
from offshelf.data.folders.image_files import LeftOut, Tree, images_under, listed_once, subfolders
from offshelf.data.folders.split_folders import OUTER, Partition, no_classes, partition_of
from offshelf.errors import DataError, did_you_mean
from offshelf.text import listed, shown


@dataclass(frozen=True)
class Row:
    """One image of a job.

    Attributes:
        path: as the operating system opens it.
        name: the path inside DATA with ``/`` between its parts; rows are ordered by it.
        label: class name, "" when there is none.
        split: ``train``, ``test``, or "" when DATA does not say.
    """

    path: str
    name: str
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class Reading:
    """The rows of one DATA and what a person should know about them."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()


@listed_once()
def read_folder(data: Path, question: Question | None = None) -> Reading:
    """Read the class folders of *data*, which may lie in splits, batches or a single folder.

    Images may lie at any depth inside a class folder. What was taken for what is a
    warning wherever names alone do not say it.

    Raises:
        DataError: the folder cannot be read, holds no images or none in class folders,
            two folders mean the same split, or its layout is not certain.
    """
    left_out = LeftOut()
    folders, loose = subfolders(data, left_out)
    if str(data) in left_out.locked:
        raise DataError(f"{shown(data)}: the folder cannot be read; check its permissions")
    layout = layout_of(data, question)
    for place in _opened(data, layout.folders):
        subfolders(place, left_out)
    rows, empty = _read(layout.folders, left_out)
    if not rows:
        raise DataError(_nothing_in(data, bool(folders), bool(loose), left_out))
    notes = [*layout.notes, *_empty_notes(data, empty)]
    warnings = [f"{shown(data)}: {note}" for note in notes]
    return Reading(tuple(rows), (*warnings, *left_out.warnings(data)))


def _opened(data: Path, folders: Iterable[ClassFolder]) -> list[Path]:
    """Return the folders between *data* and the class folders."""
    places = dict.fromkeys(
        place
        for one in folders
        for place in reversed(one.path.parents)
        if place != data and place.is_relative_to(data)
    )
    return list(places)


def _read(folders: Iterable[ClassFolder], left_out: LeftOut) -> tuple[list[Row], list[ClassFolder]]:
    rows: list[Row] = []
    empty: list[ClassFolder] = []
    for one in folders:
        images = images_under(one.path, left_out)
        # Many times as fast as a path for each.
        place = str(one.path / "x")[:-1]
        rows += [
            Row(f"{place}{image}", f"{one.name}/{image}", one.label, one.split) for image in images
        ]
        if not images:
            empty.append(one)
    return rows, empty


def _empty_notes(data: Path, empty: Iterable[ClassFolder]) -> list[str]:
    places: dict[str, list[str]] = {}
    for one in empty:
        inside = one.path.parent.relative_to(data).as_posix()
        places.setdefault("" if inside == "." else f"{shown(inside)}/: ", []).append(one.label)
    return [
        f"{where}class folders without images are left out: {listed(names)}"
        for where, names in places.items()
    ]


def _nothing_in(data: Path, folders: bool, loose: bool, left_out: LeftOut) -> str:
    if loose:
        return no_classes(data, "", Tree())
    if not folders and not left_out.suffixes:
        return f"{shown(data)}: the folder is empty; it should hold one folder per class"
    others: Counter[str] = left_out.suffixes
    found = (
        f"; found only {', '.join(shown(s) for s, _ in others.most_common(3))}" if others else ""
    )
    return f"{shown(data)}: holds no images (.jpg, .png, .tif, .webp, ...){found}"


MAX_WRAPPING = 8
CHOICES = (OUTER, INNER)


@dataclass(frozen=True)
class Question:
    """How to read a folder where more than one way is right.

    Attributes:
        choice: ``outer`` or ``inner``: which folders are classes; "" for what is certain.
        known: keys of the classes of a model, by which a level is recognised.
        one_class: whether a single class is something to read, as to evaluate a model.

    Raises:
        DataError: another choice.
    """

    choice: str = ""
    known: frozenset[str] = frozenset()
    one_class: bool = False

    def __post_init__(self) -> None:
        if self.choice and self.choice not in CHOICES:
            raise DataError(
                f"classes are outer or inner, not {self.choice!r}."
                f"{did_you_mean(self.choice, CHOICES)}"
            )


def layout_of(data: Path, question: Question | None = None) -> Layout:
    """Return the class folders of the folder *data* with their splits."""
    question, tree = question or Question(), Tree()
    folder = _unwrapped(data, tree, question)
    partition = partition_of(folder, tree, question.choice)
    if lone := _beside_unsorted(folder, partition, tree, question):
        inner = layout_of(folder / lone, question)
        notes = [unlabelled_note(folder, name, tree) for name in partition.unlabelled]
        return Layout(
            inner.folders,
            (f"the images are those of '{shown(folder / lone)}'", *notes, *inner.notes),
        )
    if partition.splits:
        found = split_class_folders(folder, partition, tree, question.choice, question.known)
        if partition.beside:
            more = (f"folders beside the splits are left out: {listed(partition.beside)}",)
            found = Layout(found.folders, (*found.notes, *more))
    else:
        found = _of_classes(folder, partition, tree, question)
    wrapped = [] if folder == data else [f"the images are those of '{shown(folder)}'"]
    beside = [*loose_note(folder, "", tree), *_tables(data, folder, tree)]
    beside = beside if tree.folders(folder) else []
    return Layout(found.folders, (*wrapped, *found.notes, *beside))


def has_splits(data: Path) -> bool:
    """Return whether the folder *data* holds folders to train on and others to test with."""
    try:
        return TRAIN in partition_of(data, Tree()).splits
    except DataError:
        return True


def _unwrapped(data: Path, tree: Tree, question: Question) -> Path:
    """Return the folder inside single folders, such as an archive's, that holds the classes."""
    folder, names = data, tree.folders(data)
    while len(names) == 1 and len(folder.parts) - len(data.parts) < MAX_WRAPPING:
        inside, mark = folder / names[0], split_mark(names[0])
        if tree.images(inside) or (mark and mark.strength < NAMED):
            break
        folder, names = inside, tree.folders(inside)
    if len(names) < 2 or folder == data:
        return data
    if question.one_class and not _is_wrapper(data, folder, question):
        return data
    return folder


def _is_wrapper(data: Path, folder: Path, question: Question) -> bool:
    """Return whether a single folder is surely no single class."""
    if has_splits(folder) or same_class_key(folder.name) == same_class_key(data.name):
        return True
    outside = {same_class_key(part) for part in folder.relative_to(data).parts}
    inside = {same_class_key(name) for name in Tree().folders(folder)}
    return bool(inside & question.known) and not outside & question.known


def _beside_unsorted(folder: Path, partition: Partition, tree: Tree, question: Question) -> str:
    """Return the only folder beside unlabelled images, if it holds the classes."""
    if partition.splits or not partition.unlabelled or question.choice:
        return ""
    rest = [name for name in tree.folders(folder) if name not in partition.unlabelled]
    if len(rest) != 1 or not tree.is_nested(folder / rest[0]):
        return ""
    if len(tree.folders(folder / rest[0])) < 2 and not has_splits(folder / rest[0]):
        return ""
    if question.one_class and not _is_wrapper(folder, folder / rest[0], question):
        return ""
    return rest[0]


def _of_classes(folder: Path, partition: Partition, tree: Tree, question: Question) -> Layout:
    inside = None if question.choice else splits_inside(folder, tree)
    depth = inside or class_folders(folder, tree, question.choice, "", question.known)
    kept = [one for one in depth.folders if one.name not in partition.unlabelled]
    notes = [*depth.notes, *(unlabelled_note(folder, n, tree) for n in partition.unlabelled)]
    notes += split_names_note(kept)
    batches = sorted({one.label for one in kept if is_batch(one.label)})
    several = [name for name in batches if len(tree.folders(folder / name)) > 1]
    if batches and (several or len(batches) == len({one.label for one in kept})):
        notes.append(f"taken as classes although named like batches: {listed(several or batches)}")
    return Layout(tuple(kept), tuple(notes))


def _tables(data: Path, folder: Path, tree: Tree) -> list[str]:
    tables = list(dict.fromkeys([*tree.tables(data), *tree.tables(folder)]))
    if not tables:
        return []
    return [f"not used: {listed(tables)} beside the folders; give it as DATA if it has the labels"]
