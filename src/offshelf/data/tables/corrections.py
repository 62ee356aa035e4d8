"""Corrections: a CSV file in which a person decides about labels, and its effect on a table.

A row names an image by path and hash; one without a hash, as a person adds it, is about whatever
file is there. Its decision is a class of the data, ``leave out``, or
empty: nothing is decided.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from offshelf import files
from offshelf.data.folders.class_folders import Row
from offshelf.data.folders.class_names import TRAIN, composed, same_class_key
from offshelf.data.tables.classes import check_given_split, check_two_classes
from offshelf.data.tables.delimited import csv_bytes, csv_rows, csv_text, numbered_csv
from offshelf.data.tables.image_table import Corrected, ImageTable
from offshelf.data.tables.moved_images import moved_paths
from offshelf.data.tables.path_lists import located
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, shown, spelled

LEAVE_OUT = "leave out"
COLUMNS = ("path", "hash", "label", "suggestion", "decision")
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One row.

    Attributes:
        number: of the row; the header is row 1.
        path: of the image, absolute.
        sha256: of its bytes when it was looked at, 64 hexadecimal digits; "" where
            nobody looked.
        label: its class then.
        suggestion: another class or ``leave out``; "" for none.
        decision: what a person wrote; "" for nothing yet.
        more: name -> cell of each column that a person has added.
    """

    path: str
    sha256: str
    label: str
    suggestion: str = ""
    decision: str = ""
    number: int = 0
    more: Mapping[str, str] = field(default_factory=dict)


def absolute(path: str) -> str:
    """Return the absolute path as it is written, links as they are.

    >>> absolute("a/../b.png") == os.path.join(os.getcwd(), "b.png")
    True
    """
    return spelled(os.path.abspath(path))  # noqa: PTH100 (resolves no links)


def read_corrections(file: str | Path) -> tuple[Correction, ...]:
    """Read a file of corrections.

    Paths are relative to the folder of *file* or, where nothing is there, to the working
    directory.

    Raises:
        DataError: it cannot be read, lacks a column or has one twice, or decides twice about an
            image.

    >>> read_corrections("none.csv")
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: none.csv: cannot be read: No such file or directory
    """
    file = Path(file)
    header, lines = numbered_csv(file)
    names = [name.strip().lower() for name in header]
    for column in ("path", "hash", "decision"):
        if column not in names:
            raise DataError(
                f"{shown(file)}: has no column '{column}'; 'offshelf audit DATA --corrections "
                "FILE.csv' writes such a file"
            )
        if names.count(column) > 1:
            raise DataError(f"{shown(file)}: has two columns '{column}'; keep one of them")
    found: dict[str, Correction] = {}
    for number, line in lines:
        cell = dict(zip(names, map(str.strip, line), strict=True))
        one = Correction(
            number=number,
            path=_place(file, cell["path"]),
            sha256=cell["hash"].lower(),
            label=cell.get("label", ""),
            suggestion=cell.get("suggestion", ""),
            decision=cell["decision"],
            more={name: text for name, text in cell.items() if name and name not in COLUMNS},
        )
        other = found.setdefault(one.path, one)
        if other.decision != one.decision:
            raise DataError(
                f"{shown(file)}: rows {other.number} and {number} decide differently about "
                f"{shown(one.path)}; keep one of them"
            )
    return tuple(found.values())


def _place(file: Path, text: str) -> str:
    beside, here = (str(located(base, text)[0]) for base in (file.parent, Path()))
    return absolute(here if os.path.lexists(here) and not os.path.lexists(beside) else beside)


def corrected(
    table: ImageTable, file: str | Path | None, data: str | Path = "the data"
) -> ImageTable:
    """Return the table with the decisions of *file* carried out; None changes nothing.

    An image whose path is not in the table is found by its hash. Splits stay as they were.
    Warnings say how many images were given another label and left out, and which decisions had
    no effect: those about images that are not in the table, or whose bytes have changed.

    Args:
        table: the images.
        file: with the decisions.
        data: what to call the images.

    Raises:
        DataError: the file cannot be used, a decision is neither a class nor ``leave out``, none
            is about an image of the table, or what is left cannot be trained on.
    """
    if file is None:
        return table
    place = Path(file)
    decided = [one for one in read_corrections(place) if one.decision]
    wanted = {one.path: _wanted(one, table.classes, place) for one in decided}
    rows = _rows_of(decided, table)
    if decided and not any(one.path in rows for one in decided):
        raise DataError(_about_nothing(decided, place, data))
    labels, without, lost = list(table.labels), set[int](), list[str]()
    relabelled = 0
    for one in decided:
        if reason := _obstacle(one, [table.paths[row] for row in rows.get(one.path, ())]):
            lost.append(f"{shown(place)}: row {one.number}: {shown(one.path)} {reason}")
            continue
        for row in rows[one.path]:
            if wanted[one.path] is None:
                without.add(row)
            elif labels[row] != wanted[one.path]:
                labels[row] = str(wanted[one.path])
                relabelled += 1
    counts = Corrected(relabelled, len(without), files.sha256_file(place))
    notes = lost[:_LISTED]
    if len(lost) > _LISTED:
        notes.append(f"{shown(place)}: {len(lost) - _LISTED} more rows like these")
    sentence = counts.sentence if decided else "no decisions yet; fill in its column decision"
    return _remade(table, labels, without, counts, (f"{shown(place)}: {sentence}", *notes), place)


def _rows_of(decided: Sequence[Correction], table: ImageTable) -> dict[str, list[int]]:
    """Return the rows of each path, and of each image that was moved by its path of before."""
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(table.paths):
        rows.setdefault(absolute(path), []).append(row)
    # Where another image has the name of one, that may have moved, too.
    lost = {
        one.path: one.sha256
        for one in decided
        if one.sha256
        and (one.path not in rows or _hash(table.paths[rows[one.path][0]]) != one.sha256)
    }
    if not lost:
        return rows
    there = {one.path for one in decided} - set(lost)
    hashes = {path: _hash(table.paths[own[0]]) for path, own in rows.items() if path not in there}
    return rows | {old: rows[new] for old, new in moved_paths(lost, hashes).items()}


def _hash(path: str) -> str:
    """Return the hash of a file, "" where it cannot be read."""
    try:
        return files.sha256_file(Path(path)) if Path(path).is_file() else ""
    except OSError:
        return ""


def _about_nothing(decided: Sequence[Correction], file: Path, data: str | Path) -> str:
    its = f"none of its {len(decided)} decisions is" if decided[1:] else "its decision is not"
    return (
        f"{shown(file)}: {its} about an image of {shown(data)}; the first is about "
        f"{shown(decided[0].path)}; give the file that was written for this data, or a new name "
        "to 'offshelf audit DATA --corrections FILE.csv'"
    )


def _wanted(one: Correction, classes: Sequence[str], file: Path) -> str | None:
    """Return the class that is decided, None for ``leave out``."""
    key = same_class_key(one.decision)
    if key == same_class_key(LEAVE_OUT):
        return None
    if composed(one.decision) in classes:
        return composed(one.decision)
    alike = [name for name in classes if same_class_key(name) == key]
    if len(alike) == 1:
        return alike[0]
    hint = did_you_mean(one.decision, (*classes, LEAVE_OUT))
    raise DataError(
        f"{shown(file)}: row {one.number}: the decision '{shown(one.decision)}' is neither a class "
        f"of the data nor '{LEAVE_OUT}'.{hint}"
    )


def _obstacle(one: Correction, paths: Sequence[str]) -> str:
    """Say why a decision has no effect, "" where it has; *paths* are those of its rows."""
    if not paths:
        return "is not an image of the data; the decision has no effect"
    if not one.sha256:
        return ""
    try:
        same = files.sha256_file(Path(paths[0])) == one.sha256
    except OSError:
        return "cannot be read; the decision has no effect"
    changed = (
        "has changed since the decision, which has no effect; audit it again, or remove the row"
    )
    return "" if same else changed


def _remade(
    table: ImageTable,
    labels: Sequence[str],
    without: set[int],
    counts: Corrected,
    notes: tuple[str, ...],
    file: Path,
) -> ImageTable:
    kept = [row for row in range(len(table)) if row not in without]
    kept.sort(key=lambda row: (table.splits[row] != TRAIN, labels[row]))
    left = [Row(table.paths[k], table.paths[k], labels[k], table.splits[k]) for k in kept]
    check_two_classes(file, left)
    more = check_given_split(file, left)
    return ImageTable(
        paths=tuple(row.path for row in left),
        labels=tuple(row.label for row in left),
        splits=tuple(row.split for row in left),
        classes=tuple(sorted({row.label for row in left})),
        warnings=(*table.warnings, *notes, *more),
        corrected=counts,
        groups=tuple(table.groups[k] for k in kept) if table.groups else (),
        split_made=table.split_made,
    )


def check_corrections_file(path: str | Path) -> Path:
    """Refuse a place where no corrections can or should be written.

    Raises:
        DataError: the name does not end in .csv, or it is a folder, or another file.

    >>> check_corrections_file("a.txt")
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: a.txt: a file of corrections ends in .csv
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise DataError(f"{shown(path)}: a file of corrections ends in .csv")
    kind = "file of corrections"
    beginnings = [b""] if _is_corrections(path) else []
    if refusal := files.target_refusal(path, kind, "corrections.csv", beginnings):
        raise DataError(refusal)
    return path


def _is_corrections(file: Path) -> bool:
    """Return whether a file has the columns that tell corrections, however it was saved."""
    try:
        _, header = next(csv_rows(file, csv_text(file, strict=False)), (0, list[str]()))
    except (OSError, DataError):
        return False
    return {"path", "hash"} <= {name.strip().lower() for name in header}


def write_corrections(suggested: Iterable[Correction], path: str | Path) -> int:
    """Write suggestions without a decision, below the decisions that the file already has.

    A decision about an image whose bytes have changed gives way to a new suggestion. Columns
    that a person has added stay.

    Returns:
        How many rows wait for a decision.

    Raises:
        DataError: the file cannot be read or written.
    """
    path = check_corrections_file(path)
    read = read_corrections(path) if path.exists() and path.stat().st_size else ()
    known = {one.path: one for one in read}
    new: dict[str, Correction] = {}
    for one in suggested:
        before = known.get(one.path)
        # What was decided about other bytes is no decision about these.
        if before is None or not before.decision or _other_bytes(before, one):
            new[one.path] = replace(one, more=before.more) if before else one
    decided = [one for one in read if one.decision and one.path not in new]
    more = tuple(dict.fromkeys(name for one in read for name in one.more))
    rows = [
        (
            *(spelled(one.path), one.sha256, one.label, one.suggestion, one.decision),
            *(one.more.get(name, "") for name in more),
        )
        for one in (*decided, *new.values())
    ]
    try:
        files.write_bytes(path, csv_bytes([(*COLUMNS, *more), *rows]))
    except OSError as error:
        raise DataError(files.unwritable(path, error)) from error
    return len(new)


def _other_bytes(before: Correction, now: Correction) -> bool:
    return bool(before.sha256) and before.sha256 != now.sha256


def waiting_line(file: str | Path) -> str:
    """Return how many images of a file wait for a decision, on one line."""
    waiting = sum(not one.decision for one in read_corrections(file))
    return f"{counted(waiting, 'image')} to decide about in {shown(file)}"
