"""The depth of class folders, where folders lie in folders."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from offshelf.data.folders.class_names import (
    NAMED,
    TEST,
    TRAIN,
    VAL,
    images_among,
    is_batch,
    is_generic,
    same_class_key,
    split_mark,
)
from offshelf.data.folders.image_files import Tree
from offshelf.data.folders.split_folders import OUTER
from offshelf.errors import DataError
from offshelf.text import counted, listed, shown

INNER = "inner"


@dataclass(frozen=True)
class ClassFolder:
    """A folder whose images, at any depth, are of the class *label*.

    *name* is its path inside DATA, or inside the folder of its split: ``train``, ``test``, ``val``
    or "" for none.
    """

    path: Path
    name: str
    label: str
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """The class folders below one folder, and what a person should know about them."""

    folders: tuple[ClassFolder, ...]
    notes: tuple[str, ...] = ()


def class_folders(
    folder: Path, tree: Tree, choice: str = "", split: str = "", known: Collection[str] = ()
) -> Layout:
    """Return the class folders below *folder*, which holds no splits.

    Args:
        folder: holds them, or folders of batches that hold them.
        tree: reads it.
        choice: ``outer`` or ``inner``, or "" to decide by what is certain.
        split: of all of them.
        known: keys of classes that are known from elsewhere.

    Raises:
        DataError: the outer folders may be the classes as well as the inner ones.
    """
    images = "" if choice else _images_in_each(folder, tree)
    if images:
        names = tree.entries(folder)[0]
        paths = {
            name: f"{name}/{images}" if name in tree.folders(folder) else name for name in names
        }
        note = f"the images of each class are those in its folder '{shown(images)}'"
        found = (ClassFolder(folder / path, path, name, split) for name, path in paths.items())
        return Layout(tuple(found), (note,))
    level, note = _level(folder, tree, choice, known)
    notes = (note,) if note else ()
    if level == INNER:
        return Layout(_inner(folder, tree, split), (*notes, *_loose_notes(folder, tree)))
    names = tree.entries(folder)[0]
    return Layout(tuple(ClassFolder(folder / name, name, name, split) for name in names), notes)


def splits_inside(folder: Path, tree: Tree) -> Layout | None:
    """Return the splits inside class folders (``cat/train``, ``cat/test``), None for none."""
    tops = tree.folders(folder)
    _check_names(folder, tops, tree)
    inside = {top: _split_names(folder / top, tree) for top in tops}
    halves = [top for top in tops if len({role for _, role in inside[top]}) > 1]
    found = {role for names in inside.values() for _, role in names}
    if not halves and all(inside.values()) and len(found) > 1 and TRAIN in found:
        raise DataError(
            f"{shown(folder)}: {listed(tops)} hold one split each, so no class is in two; put the "
            "class folders into a folder train/ and a folder test/"
        )
    if not any(role == TRAIN for top in halves for _, role in inside[top]):
        return None
    odd = [
        top
        for top in tops
        if tree.images(folder / top) or len(inside[top]) < len(tree.folders(folder / top))
    ]
    if odd:
        raise DataError(_not_all_split(folder, halves, odd, tree))
    for top in halves:
        _check_no_classes_in_splits(folder, halves, [n for n, _ in inside[top]], top, tree)
    folders = [
        ClassFolder(folder / top / name, f"{top}/{name}", top, role)
        for top in tops
        for name, role in inside[top]
    ]
    names = sorted({name for top in tops for name, _ in inside[top]})
    return _one_test(folders, f"splits inside the class folders: {listed(names)}")


def _not_all_split(folder: Path, halves: list[str], odd: list[str], tree: Tree) -> str:
    first = folder / halves[0]
    if len(halves) == 1 and all(tree.is_nested(first / name) for name in tree.folders(first)):
        return (
            f"{shown(folder)}: {listed(halves)} holds splits with class folders, {listed(odd)} "
            f"none; give '{shown(first)}' as DATA, or say --classes outer if all are classes"
        )
    return (
        f"{shown(folder)}: {listed(halves)} {'hold' if len(halves) > 1 else 'holds'} splits such "
        f"as train/ and test/, but {listed(odd)} images or folders beside them; move those into "
        "train/ or test/, or say --classes outer if they are no splits"
    )


def _one_test(folders: list[ClassFolder], note: str) -> Layout:
    """Leave ``val`` out where there is ``test``, and else test with it."""
    both = {TEST, VAL} <= {one.split for one in folders}
    kept = [
        dataclasses.replace(one, split=TRAIN if one.split == TRAIN else TEST)
        for one in folders
        if not (both and one.split == VAL)
    ]
    return Layout(tuple(kept), (note, "test is used to test; val is left out") if both else (note,))


def _split_names(folder: Path, tree: Tree) -> list[tuple[str, str]]:
    """Return the folders in *folder* that are splits by their names, with their roles."""
    marks = [(name, split_mark(name)) for name in tree.folders(folder)]
    roles = [(name, mark.role) for name, mark in marks if mark and mark.strength < NAMED]
    held_out = VAL if TEST in dict(map(reversed, roles)) else TEST  # type: ignore[arg-type]
    return [(n, role if role in (TRAIN, TEST, VAL) else held_out) for n, role in roles]


def _check_no_classes_in_splits(
    folder: Path, tops: list[str], names: list[str], top: str, tree: Tree
) -> None:
    inner = [set(tree.folders(folder / top / name)) for name in names]
    shared = Counter(name for some in inner for name in some)
    if sum(count > 1 for count in shared.values()) > 1:
        raise DataError(
            f"{shown(folder)}: {listed(tops)} each hold splits with class folders; give one of "
            f"them as DATA, for example '{shown(folder / top)}'"
        )


def _level(folder: Path, tree: Tree, choice: str, known: Collection[str]) -> tuple[str, str]:
    """Return which folders are the classes, and what to say about it."""
    tops = tree.folders(folder)
    nested = {top: tree.folders(folder / top) for top in tops if tree.is_nested(folder / top)}
    if not choice and not known:
        _check_names(folder, tops, tree)
    inside = Counter(name for names in nested.values() for name in names)
    level = choice or _known_level(tops, inside, known) or _certain_level(tops, nested, inside)
    if choice == INNER and not inside:
        raise DataError(f"{shown(folder)}: --classes inner: its folders hold no folders of images")
    if level == INNER and inside:
        return INNER, f"the folders inside {listed(nested)} are the classes"
    if level:
        return OUTER, ""
    if repeated := _repeated(inside):
        raise DataError(
            f"{shown(folder)}: {listed(nested)} hold folders of the same names, "
            f"{listed(repeated)}; say which are the classes: --classes outer or --classes inner; "
            "if they are splits, call them train/ and test/"
        )
    return OUTER, (
        f"the outer folders are the classes ({listed(tops)}), not the "
        f"{counted(len(inside), 'folder')} inside; --classes inner takes those"
    )


def _images_in_each(folder: Path, tree: Tree) -> str:
    """Return the folder that holds the images of every class, beside masks for them, or ""."""
    tops = tree.folders(folder)
    found = {images_among(tree.folders(folder / name)) for name in tops}
    loose = any(tree.images(folder / name) for name in tops)
    return "" if loose or len(found) != 1 else found.pop()


def _check_names(folder: Path, tops: list[str], tree: Tree) -> None:
    """Refuse folders that are hardly classes: masks, and copies of what lies beside."""
    if images := images_among(tops):
        raise DataError(
            f"{shown(folder)}: {listed(tops)} are not classes, to judge by their names; give "
            f"'{shown(folder / images)}' as DATA, or say --classes outer if they are"
        )
    generic = [name for name in tops if is_generic(name) and tree.is_nested(folder / name)]
    if len(generic) == 1 and len(tops) > 1:
        inner = tree.folders(folder / generic[0])
        if len(inner) > 1 and not _nothing_but_parts(inner):
            raise DataError(
                f"{shown(folder)}: {listed(generic)} holds folders ({listed(inner)}) and is "
                f"probably not a class; give '{shown(folder / generic[0])}' as DATA, or say "
                "--classes outer if it is"
            )
    for name in tops:
        shared = set(tree.folders(folder / name)) & (set(tops) - {name})
        if len(shared) > 1:
            raise DataError(
                f"{shown(folder)}: '{shown(name)}' holds folders of the same names as those beside "
                f"it ({listed(sorted(shared))}); move it out of there, or say --classes outer if "
                "it is a class"
            )


def _known_level(tops: Collection[str], inside: Collection[str], known: Collection[str]) -> str:
    """Return the level at which more names are known classes, "" for neither."""
    here, below = (sum(same_class_key(name) in known for name in names) for names in (tops, inside))
    return "" if here == below else INNER if below > here else OUTER


def _certain_level(
    tops: Collection[str], nested: Mapping[str, Collection[str]], inside: Mapping[str, int]
) -> str:
    """Return the level where names and places leave no other, "" where either may be."""
    if len(inside) < 2 or _nothing_but_parts(inside):
        return OUTER
    batches = [top for top in nested if is_batch(top)]
    if len(batches) == len(tops):
        return INNER
    if _repeated(inside) and (batches or len(nested) == len(tops)):
        return ""
    return OUTER if len(nested) < len(tops) or len(inside) <= len(tops) else ""


def _repeated(inside: Mapping[str, int]) -> list[str]:
    """Return the names that lie in several folders, where most of the names do."""
    shared = [name for name, count in inside.items() if count > 1]
    return shared if len(shared) > 1 and 2 * len(shared) >= len(inside) else []


def _loose_notes(folder: Path, tree: Tree) -> list[str]:
    """Say which outer folders hold images beside their inner folders."""
    loose = [top for top in tree.folders(folder) if tree.images(folder / top)]
    number = sum(len(tree.images(folder / top)) for top in loose)
    return [f"{counted(number, 'image')} directly in {listed(loose)} left out"] if loose else []


def _nothing_but_parts(names: Collection[str]) -> bool:
    return all(is_batch(name) or is_generic(name) or name.isdecimal() for name in names)


def _inner(folder: Path, tree: Tree, split: str) -> tuple[ClassFolder, ...]:
    return tuple(
        ClassFolder(folder / top / name, f"{top}/{name}", name, split)
        for top in tree.folders(folder)
        for name in tree.entries(folder / top)[0]
    )
