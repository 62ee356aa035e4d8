"""The tables of files, labels and splits that every side of a benchmark reads."""

from __future__ import annotations

import csv
import random
from pathlib import Path

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SPLITS = {"train": "train", "test": "test", "val": "test"}
# path, label, split
Row = tuple[str, str, str]


def read_rows(data: Path, seed: int) -> list[Row]:
    """List the images of *data*: train/ and test/ (or val/), else 3 of 4 images of a class."""
    given = [(folder, SPLITS[folder.name]) for folder in data.iterdir() if folder.name in SPLITS]
    if given:
        return [row for folder, split in given for row in _class_rows(folder, split)]
    rows = _class_rows(data, "train")
    random.Random(seed).shuffle(rows)
    seen: dict[str, int] = {}
    for number, (path, label, _) in enumerate(rows):
        seen[label] = seen.get(label, 0) + 1
        rows[number] = (path, label, "train" if seen[label] % 4 else "test")
    return rows


def _class_rows(folder: Path, split: str) -> list[Row]:
    return [
        (str(path.resolve()), "".join(kind.name.split()).casefold(), split)
        for kind in sorted(folder.iterdir())
        if kind.is_dir() and not kind.name.startswith(".")
        for path in sorted(kind.iterdir())
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    ]


def subset(rows: list[Row], size: int, seed: int) -> list[Row]:
    """Return about *size* rows with every class and split in its share, at least two of each."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row[1:], []).append(row)
    chance = random.Random(seed)
    share = min(1.0, size / len(rows))
    return [
        row
        for group in groups.values()
        for row in chance.sample(group, min(len(group), max(2, round(share * len(group)))))
    ]


def sort_rows(rows: list[Row]) -> list[Row]:
    """Return *rows* by split (train first), class and path."""
    return sorted(rows, key=lambda row: (row[2] == "test", row[1], row[0]))


def write_table(path: Path, rows: list[Row]) -> None:
    """Write the CSV file that both sides read, by split and class."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("path", "label", "split"), *sort_rows(rows)])
