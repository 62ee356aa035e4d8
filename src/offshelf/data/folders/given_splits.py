"""The class folders of given splits: which one tests, and what is unlabelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from offshelf.data.folders.class_depth import ClassFolder, Layout, class_folders
from offshelf.data.folders.class_names import (
    TEST,
    TRAIN,
    VAL,
    called_like_a_split,
    is_batch,
    same_class_key,
)
from offshelf.data.folders.image_files import LeftOut, Tree, images_under
from offshelf.data.folders.split_folders import Partition, no_classes, without_wrappers
from offshelf.errors import DataError
from offshelf.text import counted, listed, shown


def split_class_folders(
    folder: Path, partition: Partition, tree: Tree, choice: str, known: frozenset[str]
) -> Layout:
    """Return the class folders of the splits of *folder*.

    ``test`` is used where both it and ``val`` are labelled, ``val`` where it is alone.
    Images without class folders can neither train nor test: they are left out. Where no
    labelled ones are left to test with, the class folders have no split. *choice* and *known* are
    as for ``class_folders``.
    """
    names = {split: without_wrappers(folder, n, tree) for split, n in partition.splits.items() if n}
    labelled = {split: name for split, name in names.items() if tree.folders(folder / name)}
    flat = {split: name for split, name in names.items() if split not in labelled}
    if TRAIN in flat or (flat and TRAIN not in partition.splits):
        raise DataError(no_classes(folder, flat.get(TRAIN, next(iter(flat.values()))), tree))
    notes = _taken(partition, names, labelled)
    if {TEST, VAL} <= labelled.keys():
        unused = labelled.pop(VAL)
        notes.append(f"{shown(labelled[TEST])}/ is the test split; {shown(unused)}/ is left out")
    unsorted = [*flat.values(), *partition.unlabelled]
    notes += [unlabelled_note(folder, name, tree) for name in unsorted]
    tested = next((name for role, name in labelled.items() if role != TRAIN), "")
    if tested and TEST in flat:
        notes.append(f"{shown(tested)}/ is the test split")
    if not tested and TRAIN in partition.splits and unsorted:
        notes.append("no labelled images to test with: a part of those to train on is held out")
    found = _train(folder, labelled, partition, tree, (choice, known, tested))
    if tested:
        theirs = frozenset(same_class_key(one.label) for one in found.folders) or known
        level = "" if theirs else choice
        test = _read(folder, tested, tree, level, TEST, theirs)
        found = Layout((*found.folders, *test.folders), (*found.notes, *test.notes))
    return Layout(found.folders, (*notes, *found.notes, *split_names_note(found.folders)))


def _taken(
    partition: Partition, names: Mapping[str, str], labelled: Mapping[str, str]
) -> list[str]:
    """Say which folders are which splits, where their names are not just those."""
    if not partition.noted and dict(names) == {s: n for s, n in partition.splits.items() if n}:
        return []
    pairs = [f"{shown(name)}/ is {split}" for split, name in labelled.items()]
    if VAL in labelled and TEST not in labelled:
        pairs[-1] += ", used to test"
    if partition.splits.get(TRAIN) == "":
        pairs.insert(0, "the folders beside are train")
    return [f"taken as splits: {', '.join(pairs)}"]


def _train(
    folder: Path,
    labelled: Mapping[str, str],
    partition: Partition,
    tree: Tree,
    question: tuple[str, frozenset[str], str],
) -> Layout:
    """Return the class folders to train on; they have no split where nothing can test."""
    choice, known, tested = question
    lone = len(partition.splits) + len(partition.unlabelled) == 1
    split = TRAIN if tested or lone else ""
    if partition.splits.get(TRAIN) == "":
        taken = {*partition.splits.values(), *partition.unlabelled}
        names = [name for name in tree.entries(folder)[0] if name not in taken]
        return Layout(tuple(ClassFolder(folder / name, name, name, split) for name in names))
    if TRAIN not in labelled:
        return Layout(())
    theirs = [name for name in tree.folders(folder / tested) if not is_batch(name)]
    keys = frozenset(map(same_class_key, theirs)) if tested else frozenset[str]()
    return _read(folder, labelled[TRAIN], tree, choice, split, known | keys)


def _read(  # the classes of one split
    folder: Path, name: str, tree: Tree, choice: str, split: str, known: frozenset[str]
) -> Layout:
    depth = class_folders(folder / name, tree, choice, split, known)
    notes = [f"{shown(name)}/: {note}" for note in depth.notes]
    return Layout(depth.folders, (*notes, *loose_note(folder, name, tree)))


def split_names_note(folders: Iterable[ClassFolder]) -> list[str]:
    """Return a note on classes that are named like a split or like unlabelled images."""
    called = sorted({one.label for one in folders if called_like_a_split(one.label)})
    return [f"taken as classes although named like splits: {listed(called)}"] if called else []


def loose_note(folder: Path, name: str, tree: Tree) -> tuple[str, ...]:
    """Say how many images lie beside the class folders of *name*, if any do."""
    loose = len(tree.images(folder / name))
    where = f" in {shown(name)}/" if name else ""
    return (
        (f"{counted(loose, 'image')}{where} outside the class folders left out",) if loose else ()
    )


def unlabelled_note(folder: Path, name: str, tree: Tree) -> str:
    """Return the note on a folder of unlabelled images."""
    place = folder / name
    images = tree.images(place) or images_under(place, LeftOut())
    return (
        f"{counted(len(images), 'image')} in {shown(name)}/ without class folders left out; to "
        f"label them: offshelf predict MODEL '{shown(place)}'"
    )
