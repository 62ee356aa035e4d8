"""The image table: the images of one job with class and split, in a stable order.

Warnings are for what a person should know and may have meant; an error is for what
would make the result wrong or impossible.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Card
from offshelf.checks import share
from offshelf.data.folders.class_folders import Question, Reading
from offshelf.data.folders.class_names import TEST, TRAIN, same_class_key
from offshelf.data.tables.classes import (
    check_given_split,
    check_seeded_split,
    check_two_classes,
    merge_classes,
)
from offshelf.data.tables.sources import (
    existing,
    none_found,
    read_labelled_source,
    read_unlabelled_sources,
)
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, listed, shown, spelled

SPLITS = (TRAIN, TEST)


@dataclass(frozen=True)
class Corrected:
    """What a person's decisions changed.

    Attributes:
        relabelled: images that have another label than in the data.
        left_out: images that are in the data and not in the table.
        sha256: of the file with the decisions.

    >>> Corrected(1, 2, "").sentence
    '1 image relabelled, 2 left out'
    """

    relabelled: int
    left_out: int
    sha256: str

    @property
    def sentence(self) -> str:
        """The counts in words."""
        return f"{counted(self.relabelled, 'image')} relabelled, {self.left_out} left out"


@dataclass(frozen=True, repr=False)
class ImageTable(Card):
    """The images of one job.

    Attributes:
        paths: as the operating system opens them; ordered by split (train, test), class
            and path inside DATA, whatever the file system's own order is.
        labels: class name of each image; "" everywhere in an unlabelled table; where images have
            several, all of them as one text.
        splits: ``train`` or ``test`` of each image.
        classes: class names, sorted; () in an unlabelled table.
        warnings: one line each, for a person.
        corrected: what a file of corrections changed; None without one.
        groups: of each image; () where images are independent.
        split_made: whether the splits were made here, and not given.
        label_sets: the labels of each image, sorted, where images have several of ``classes`` or
            none; () where each has one class.

    >>> table = ImageTable(("a.png", "b.png"), ("x", "y"), ("train", "test"), ("x", "y"), ())
    >>> len(table), table.rows("test"), table.targets()
    (2, array([1]), array([0, 1]))
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    corrected: Corrected | None = None
    groups: tuple[str, ...] = ()
    split_made: bool = False
    label_sets: tuple[tuple[str, ...], ...] = ()

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images of which classes and splits there are."""
        sizes = ", ".join(f"{len(self.rows(split)):,} {split}" for split in SPLITS)
        yield "images", f"{len(self):,}: {sizes}"
        if self.classes:
            yield "classes", f"{len(self.classes):,}: {', '.join(self.classes)}"
        if self.paths:
            yield "first", self.paths[0]
        for line in self.warnings:
            yield "note", line

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the row numbers of *split*, int64, ascending.

        Raises:
            DataError: *split* is neither ``train`` nor ``test``.
        """
        if split not in SPLITS:
            hint = did_you_mean(split, SPLITS)
            raise DataError(f"unknown split '{shown(split)}'; a table has train and test.{hint}")
        return np.flatnonzero(np.array([s == split for s in self.splits], bool)).astype(np.int64)

    def targets(self) -> NDArray[np.int64]:
        """Return the position of each row's label in ``classes``, int64; -1 when unlabelled.

        Of several labels it is that of the first.
        """
        position, labels = {name: k for k, name in enumerate(self.classes)}, self.labels
        if self.label_sets:
            labels = tuple(label.partition(";")[0] for label in labels)
        return np.array([position.get(label, -1) for label in labels], np.int64)

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of some rows have each of ``classes``, K."""
        if self.label_sets:
            return np.asarray(self.membership()[rows].sum(axis=0), np.int64)
        return np.bincount(self.targets()[rows], minlength=len(self.classes)).astype(np.int64)

    def membership(self) -> NDArray[np.bool_]:
        """Return which image has which of ``classes``, N x L, of images with several labels."""
        has = np.zeros((len(self.label_sets), len(self.classes)), bool)
        position = {name: number for number, name in enumerate(self.classes)}
        for row, labels in enumerate(self.label_sets):
            has[row, [position[label] for label in labels]] = True
        return has


def read_table(
    data: str | Path, *, test_size: float = 0.25, seed: int = 0, classes: str = ""
) -> ImageTable:
    """Read labelled images to train on and to test with.

    *data* is a folder with ``train/`` and ``test/`` (or ``val/``, or other words for
    them), a folder of class folders, or a CSV or Parquet file with the columns
    ``path,label[,split]``. Where both ``test`` and ``val`` are given, ``test`` is used and
    ``val`` is left out, with a warning. Without a given split, each class is split by
    :func:`offshelf.data.tables.image_table.stratified_split`.

    Classes whose names differ only in case, spaces or Unicode composition are one, with a
    warning. A class that is only in train stays, with a warning: it is
    learned and never tested. A class that is only in test is an error: no head can ever
    predict it, and leaving its images out silently would flatter the accuracy.

    Args:
        data: folder or file.
        test_size: share of each class to test, in (0, 1), where no split is given.
        seed: of that split, 0 or more.
        classes: where folders lie in folders, ``outer`` or ``inner`` says which are the
            classes; "" takes what is certain.

    Raises:
        DataError: *data* is missing or no such thing, holds no images, fewer than two
            classes, no train or no test images, or a class that is only in test; or what
            its folders are is not certain.
    """
    check_split_settings(test_size, seed)
    place = existing(data)
    reading = merge_classes(place, read_labelled_source(place, Question(classes)))
    check_two_classes(place, reading.rows)
    given = any(row.split for row in reading.rows)
    if given:
        more = check_given_split(place, reading.rows)
    else:
        more = check_seeded_split(place, reading.rows)
        reading = _with_split(reading, test_size, seed)
    table = _table(Reading(reading.rows, (*reading.warnings, *more)))
    return table if given else dataclasses.replace(table, split_made=True)


def read_labelled(data: str | Path, *, classes: str = "", known: Iterable[str] = ()) -> ImageTable:
    """Read labelled images to evaluate a finished model with; nothing is split off.

    Takes the same *data* as :func:`read_table`, and also a single class, a lone
    ``test/`` folder, or classes that are only in test. Rows of a given split keep it;
    where none is given, every row is ``test``.

    Args:
        data: folder or file.
        classes: ``outer``, ``inner`` or "", as for :func:`read_table`.
        known: classes of a model, by which the class folders are recognised.

    Raises:
        DataError: *data* is missing or no such thing, or holds no images.
    """
    place = existing(data)
    question = Question(classes, frozenset(map(same_class_key, known)), one_class=True)
    reading = merge_classes(place, read_labelled_source(place, question), tuple(known))
    rows = tuple(row if row.split else dataclasses.replace(row, split=TEST) for row in reading.rows)
    return _table(Reading(rows, reading.warnings))


def list_images(sources: Sequence[str | Path]) -> ImageTable:
    """List images without labels: files, folders (searched to any depth), CSV or Parquet.

    A ``.txt`` file is a list of paths, ``-`` such a list on standard input, and a name that
    does not exist and holds ``*``, ``?`` or ``[`` a pattern. The sources keep their order;
    inside a folder the images are sorted by path. A file that is named is taken whatever
    its name ends in. Every row is ``test``.

    Raises:
        DataError: a source does not exist, there is none, or no image was found.

    >>> list_images([])
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: no images: name files or folders
    """
    chosen = [sources] if isinstance(sources, str | Path) else list(sources)
    reading = read_unlabelled_sources(chosen)
    if not reading.rows:
        raise none_found(chosen)
    paths = tuple(dict.fromkeys(row.path for row in reading.rows))
    count, warnings = len(paths), reading.warnings
    if count < len(reading.rows):
        repeats = counted(len(reading.rows) - count, "image")
        warnings = (*warnings, f"{repeats} named more than once, taken once")
    return ImageTable(paths, ("",) * count, (TEST,) * count, (), warnings)


def _with_split(reading: Reading, test_size: float, seed: int) -> Reading:
    labels = [row.label for row in reading.rows]
    names = [row.name for row in reading.rows]
    splits = stratified_split(labels, names, test_size=test_size, seed=seed)
    pairs = zip(reading.rows, splits, strict=True)
    rows = tuple(dataclasses.replace(row, split=split) for row, split in pairs)
    return Reading(rows, reading.warnings)


def _table(reading: Reading) -> ImageTable:
    rows = sorted(reading.rows, key=lambda row: (row.split != TRAIN, row.label, row.name))
    return ImageTable(
        paths=tuple(row.path for row in rows),
        labels=tuple(row.label for row in rows),
        splits=tuple(row.split for row in rows),
        classes=tuple(sorted({row.label for row in rows})),
        warnings=reading.warnings,
    )


def check_split_settings(test_size: float, seed: int) -> None:
    """Refuse a share outside (0, 1) and a seed that is no whole number >= 0."""
    share("test_size", test_size, such_as=0.25)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise DataError(f"seed is a whole number of 0 or more, not {seed!r}")


def stratified_split(
    labels: Sequence[str], names: Sequence[str], *, test_size: float = 0.25, seed: int = 0
) -> tuple[str, ...]:
    """Return ``train`` or ``test`` for each row, class by class.

    In a class of n >= 2 images, round(n x test_size) of them are tested, at least one and at
    most n - 1; a single image is for training. Within a class the images are ranked by the
    sha256 of seed, label and name (the same wherever the data set is stored) and the first ones
    are tested. So one class never moves another, the order of the rows is of no account, and
    most images keep their side when a class grows.

    Raises:
        DataError: *test_size* is no share in (0, 1), or *seed* no whole number of 0 or more.

    >>> stratified_split(["a"] * 4 + ["b"] * 2, ["1", "2", "3", "4", "5", "6"]).count("test")
    2
    """
    check_split_settings(test_size, seed)
    members: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    splits = [TRAIN] * len(labels)
    for label, rows in members.items():
        ranked = sorted(rows, key=lambda row: _rank(int(seed), label, names[row]))
        tested = min(max(math.floor(len(rows) * test_size + 0.5), 1), len(rows) - 1)
        for row in ranked[:tested]:
            splits[row] = TEST
    return tuple(splits)


def _rank(seed: int, label: str, name: str) -> bytes:
    text = f"{seed}\0{label}\0{name}"
    return hashlib.sha256(spelled(text).encode()).digest()


def leaked_test_rows(table: ImageTable, digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the test rows whose bytes are those of some training row, int64, ascending.

    Labels do not matter. A digest is the sha256 of a row's bytes; a row whose digest is empty is
    not used, so it neither leaks nor is leaked.

    Raises:
        ValueError: not one digest per row.

    >>> table = ImageTable(("a", "b", "c"), ("x", "x", "y"), ("train", "test", "test"), ("x",), ())
    >>> leaked_test_rows(table, [b"1", b"1", b"2"])
    array([1])
    """
    train = {d for d, split in zip(digests, table.splits, strict=True) if split == TRAIN and d}
    both = zip(digests, table.splits, strict=True)
    rows = [row for row, (d, split) in enumerate(both) if split == TEST and d in train]
    return np.array(rows, np.int64)


def contradiction(table: ImageTable, digests: Sequence[bytes]) -> str:
    """Return a line about pictures with more than one label, "" where none does.

    The digests are those of :func:`leaked_test_rows`.

    >>> table = ImageTable(("a", "b", "c"), ("x", "y", "y"), ("train",) * 3, ("x", "y"), ())
    >>> contradiction(table, [b"1", b"1", b"2"])
    "1 picture has more than one label, for example a ('x', 'y'); see 'offshelf audit'"
    """
    labels: dict[bytes, list[str]] = {}
    for label, digest in zip(table.labels, digests, strict=True):
        known = labels.setdefault(digest, [])
        if digest and label not in known:
            known.append(label)
    contradicting = {digest for digest, names in labels.items() if len(names) > 1}
    if not contradicting:
        return ""
    first = next(row for row, digest in enumerate(digests) if digest in contradicting)
    has = "picture has" if len(contradicting) == 1 else "pictures have"
    example = f"{shown(table.paths[first])} ({listed(labels[digests[first]])})"
    several = f"{len(contradicting)} {has} more than one label"
    return f"{several}, for example {example}; see 'offshelf audit'"
