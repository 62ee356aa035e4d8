"""Recognition of split folders: certain ones are taken, doubtful ones are an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from offshelf.data.folders.class_names import (
    HELD_OUT,
    NAMED,
    PLAIN,
    TEST,
    TRAIN,
    UNLABELLED,
    VAL,
    Mark,
    is_generic,
    same_class_key,
    split_mark,
)
from offshelf.data.folders.image_files import Tree
from offshelf.errors import DataError
from offshelf.text import listed, shown

OUTER = "outer"


@dataclass(frozen=True)
class Partition:
    """How the folders in a folder are taken: as splits, unlabelled images or neither (*beside*).

    *splits* maps ``train``, ``test``, ``val`` to the folder of that name; "" is the folder
    itself, whose class folders lie beside its test folder. *noted*: a note should say which
    folder is which.
    """

    splits: Mapping[str, str] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    noted: bool = False


def partition_of(folder: Path, tree: Tree, choice: str = "") -> Partition:
    """Return the splits of *folder*, none where its folders are classes."""
    names = tree.folders(folder)
    marks = _credible(folder, names, tree)
    found, unlabelled = _roles(folder, marks)
    taken = [*found.values(), *unlabelled]
    beside = tuple(name for name in names if name not in taken)
    noted = any(marks[name].strength != PLAIN for name in found.values())
    splits = Partition(found, tuple(unlabelled), beside, noted)
    if TRAIN in found and len(taken) > 1 and _is_split(folder, splits, marks, tree):
        return splits
    if choice == OUTER or not taken:
        return Partition()
    if not beside:
        return _only_splits(folder, splits, tree)
    return _among_classes(folder, splits, tree)


def without_wrappers(folder: Path, name: str, tree: Tree) -> str:
    """Return the path inside *folder* of what the split folder *name* really holds.

    A folder that holds a single folder of its own name, or of a generic name, is
    what an archive leaves behind: ``test/test``, ``train/images``.
    """
    while True:
        place = folder / name
        inside = tree.folders(place)
        if len(inside) != 1 or tree.images(place) or name.count("/") > 8:
            return name
        outer, inner = split_mark(place.name), split_mark(inside[0])
        alike = inner is not None and outer is not None and inner.role in (outer.role, UNLABELLED)
        if not (alike or is_generic(inside[0]) or inside[0].casefold() == place.name.casefold()):
            return name
        name = f"{name}/{inside[0]}"


def classes_of(folder: Path, name: str, tree: Tree) -> set[str]:
    """Return the keys of the class folders that the split folder *name* seems to hold."""
    place = folder / without_wrappers(folder, name, tree)
    return {same_class_key(one) for one in tree.folders(place)}


def _credible(folder: Path, names: list[str], tree: Tree) -> dict[str, Mark]:
    """Return the marks that count: a name with other words needs a partner or its classes."""
    marks = {name: mark for name in names if (mark := split_mark(name))}
    strong = {name: mark for name, mark in marks.items() if mark.strength < NAMED}
    trains = [name for name, mark in strong.items() if mark.role == TRAIN]
    if trains:
        others = _partners(folder, trains[0], marks, tree)
        return strong | {name: marks[name] for name in others}
    pairs = {
        name: others
        for name, mark in marks.items()
        if mark.role == TRAIN and (others := _partners(folder, name, marks, tree))
    }
    if len(pairs) > 1:
        raise DataError(
            _class_and_split(
                folder, [n for train, others in pairs.items() for n in (train, *others)]
            )
        )
    return strong | {n: marks[n] for name, others in pairs.items() for n in (name, *others)}


def _partners(folder: Path, train: str, marks: Mapping[str, Mark], tree: Tree) -> list[str]:
    """Return the other splits that go with *train*: by their other words or their classes."""
    classes = classes_of(folder, train, tree)
    return [
        name
        for name, mark in marks.items()
        if mark.role != TRAIN
        and (mark.rest == marks[train].rest or _overlap(classes, classes_of(folder, name, tree)))
    ]


def _overlap(some: set[str], others: set[str]) -> bool:
    shared = len(some & others)
    return shared > 0 and 2 * shared >= min(len(some), len(others))


def _roles(folder: Path, marks: Mapping[str, Mark]) -> tuple[dict[str, str], list[str]]:
    """Return split -> folder, the plainest name of each, and the unlabelled folders."""
    by_role: dict[str, list[str]] = {}
    for name, mark in marks.items():
        by_role.setdefault(mark.role, []).append(name)
    unlabelled = by_role.pop(UNLABELLED, [])
    found = {}
    for role, names in by_role.items():
        plainest = min(marks[name].strength for name in names)
        best = [name for name in names if marks[name].strength == plainest]
        if len(best) > 1 and (plainest == PLAIN or (len(by_role) > 1 and TRAIN in by_role)):
            raise DataError(
                f"{shown(folder)}: {listed(best)} {'both' if len(best) == 2 else 'all'} mean "
                f"{role}; rename or remove one"
            )
        found[role] = best[0]
    if HELD_OUT in found:
        name = found.pop(HELD_OUT)
        found.setdefault(VAL if TEST in found else TEST, name)
    return {split: found[split] for split in (TRAIN, TEST, VAL) if split in found}, unlabelled


def _is_split(folder: Path, partition: Partition, marks: Mapping[str, Mark], tree: Tree) -> bool:
    """Return whether a train folder and its companions are splits for certain."""
    train = partition.splits[TRAIN]
    if classes_of(folder, train, tree) or not partition.beside:
        return True
    return sum(marks[name].strength == PLAIN for name in partition.splits.values()) > 1


def _only_splits(folder: Path, partition: Partition, tree: Tree) -> Partition:
    names = [*partition.splits.values(), *partition.unlabelled]
    if not partition.splits or len(names) == 1:
        lone = [name for name in partition.splits.values() if tree.folders(folder / name)]
        return partition if lone else Partition()
    if all(tree.folders(folder / name) for name in names):
        return partition
    raise DataError(
        f"{shown(folder)}: {listed(names)} are splits by their names, but not all hold class "
        f"folders; {how_to_label(folder, tree)}"
    )


def _among_classes(folder: Path, partition: Partition, tree: Tree) -> Partition:
    """Judge folders that are called like splits and lie among others."""
    others = {same_class_key(name) for name in partition.beside}
    train = partition.splits.get(TRAIN, "")
    flat = not any(tree.folders(folder / name) for name in partition.beside)
    if train and flat and len(tree.folders(folder / train)) > 1:
        raise DataError(
            f"{shown(folder)}: {listed([train])} holds class folders and {listed(partition.beside)}"
            f" no folders; give '{shown(folder / train)}' as DATA, or say --classes outer if "
            f"{listed([train])} is a class"
        )
    tests = {split: name for split, name in partition.splits.items() if split != TRAIN}
    if (
        tests
        and not train
        and all(_overlap(others, classes_of(folder, name, tree)) for name in tests.values())
    ):
        return Partition({TRAIN: "", **tests}, partition.unlabelled, (), noted=True)
    if (
        TEST in tests
        and len(partition.beside) == 1
        and tree.is_nested(folder / partition.beside[0])
    ):
        raise DataError(
            f"{shown(folder)}: {listed([tests[TEST]])} may be test images for "
            f"{listed(partition.beside)}, or a class; call {listed(partition.beside)} train if it "
            "is what to train on, or say --classes outer if both are classes"
        )
    if TEST in tests:
        raise DataError(
            f"{shown(folder)}: {listed([tests[TEST]])} may be test images or a class; move it out "
            "of there, or say --classes outer if it is a class"
        )
    return Partition({}, partition.unlabelled)


def no_classes(data: Path, name: str, tree: Tree) -> str:
    """Return what to say of the folder *name* of *data*, whose images lie in no class folders."""
    folder = data / name
    hint = how_to_label(folder if tree.tables(folder) else data, tree)
    return f"{shown(folder)}: holds images but no class folders; {hint}"


def how_to_label(folder: Path, tree: Tree) -> str:
    """Return what to do with images that lie in no class folders."""
    tables = tree.tables(folder)
    which = "is that file" if len(tables) == 1 else "are such files"
    found = f"; perhaps {listed(tables)} beside them {which}" if tables else ""
    return (
        "put the images of each class in a folder of its own, or give a CSV file with the columns "
        f"path,label{found}"
    )


def _class_and_split(folder: Path, names: Iterable[str]) -> str:
    return (
        f"{shown(folder)}: folders name class and split in one, {listed(sorted(names))}; make "
        "a folder train/ and a folder test/, and put the class folders into them"
    )
