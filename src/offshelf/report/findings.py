"""Findings of an audit: kind, severity, reason and images; as a table and as text."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from offshelf.card import Line
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import shown, spelled

Severity = Literal["error", "warning", "note"]
IMAGES_PER_LINE = 4
# Pairs of copies are listed in full; of everything else so many lines say enough.
LINES_PER_KIND = 20
LISTED_IN_FULL = ("identical",)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

# Every kind of finding, in the order in which people read them.
TITLES: Mapping[str, str] = {
    "unreadable": "Files that cannot be used",
    "identical": "Byte-identical images",
    "near_duplicate": "Near-duplicate images",
    "doubtful_label": "Labels that the other images contradict",
    "placeholder": "Placeholders instead of images",
    "small_class": "Small classes",
    "imbalance": "Classes of very different size",
    "odd_size": "Odd sizes and shapes",
    "odd_mode": "Odd pixel modes",
    "dark": "Very dark images",
    "bright": "Very bright images",
    "low_contrast": "Images with hardly any contrast",
    "blurred": "Blurred images",
}


@dataclass(frozen=True)
class ImageRef:
    """One image of a finding.

    Attributes:
        path: the file, as the operating system opens it.
        label: its class.
        split: ``train`` or ``test``.
    """

    path: str
    label: str
    split: str

    def to_json(self) -> dict[str, str]:
        """Return the three as JSON values."""
        return {"path": spelled(self.path), "label": self.label, "split": self.split}


@dataclass(frozen=True, kw_only=True, repr=False)
class Finding(Line):
    """One thing that is wrong, or that a person should look at.

    Attributes:
        kind: a key of :data:`TITLES`.
        severity: ``error`` (the accuracy of this data means less than it says), ``warning``
            or ``note``.
        reason: one line for a person.
        images: the images it is about; () where it is about a class.
        figures: what was measured, JSON values by name.

    Raises:
        ValueError: unknown kind or severity.

    >>> Finding(kind="dark", severity="note", reason="mean grey 3").kind
    'dark'
    """

    kind: str
    severity: Severity
    reason: str
    images: tuple[ImageRef, ...] = ()
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in TITLES or self.severity not in SEVERITIES:
            raise ValueError(f"no finding is a {self.severity!r} of kind {self.kind!r}")

    def __str__(self) -> str:
        return finding_line(self, {})

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "reason": self.reason,
            "images": [image.to_json() for image in self.images],
            "figures": dict(self.figures),
        }


def by_kind(findings: Iterable[Finding]) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of each kind, every kind in the order of :data:`TITLES`.

    >>> found = by_kind([Finding(kind="dark", severity="note", reason="x")])
    >>> [kind for kind, rows in found.items() if rows]
    ['dark']
    """
    found: dict[str, list[Finding]] = {kind: [] for kind in TITLES}
    for finding in findings:
        found[finding.kind].append(finding)
    return {kind: tuple(rows) for kind, rows in found.items()}


def summary_table(findings: Iterable[Finding]) -> Table:
    """Return how many findings of each kind there are, by severity.

    >>> summary_table([Finding(kind="dark", severity="note", reason="x")]).rows[9]
    ('Very dark images', 1, 0, 0, 1)
    """
    columns = (
        Column("looked for"),
        Column("found", "integer"),
        *(Column(f"{severity}s", "integer") for severity in SEVERITIES),
    )
    rows: list[tuple[Cell, ...]] = []
    for kind, found in by_kind(findings).items():
        counts = collections.Counter(finding.severity for finding in found)
        rows.append((TITLES[kind], len(found), *(counts[severity] for severity in SEVERITIES)))
    return Table("", columns, tuple(rows))


def findings_blocks(
    findings: Iterable[Finding],
    sentences: Mapping[str, str],
    names: Mapping[str, str],
    file: str = "",
) -> Iterator[Table | str]:
    """Yield the table of all kinds, and below it the findings of each kind, one a line.

    Args:
        findings: what was found.
        sentences: what each kind means, by kind.
        names: what to call each path.
        file: that lists them all; "" where there is none.

    >>> findings = [Finding(kind="dark", severity="note", reason="mean grey 3")]
    >>> _, *lines = findings_blocks(findings, {"dark": "A mean below 10."}, {})
    >>> lines
    ['', 'Very dark images. A mean below 10.', '  note     mean grey 3']
    """
    kinds = by_kind(findings)
    every = f"all are in {shown(file)}" if file else "--out FILE.html, .csv or .json lists them all"
    yield summary_table(one for found in kinds.values() for one in found)
    for kind, found in kinds.items():
        if not found:
            continue
        listed = found if kind in LISTED_IN_FULL else found[:LINES_PER_KIND]
        yield ""
        yield f"{TITLES[kind]}. {sentences[kind]}"
        for finding in listed:
            yield f"  {finding_line(finding, names)}"
        if len(found) > len(listed):
            yield f"  {len(found) - len(listed):,} more; {every}"


def finding_line(finding: Finding, names: Mapping[str, str]) -> str:
    """Return a finding on one line.

    Args:
        finding: the finding.
        names: what to call each path.

    >>> images = (ImageRef("/d/a.png", "cat", "train"), ImageRef("/d/b.png", "cat", "test"))
    >>> finding = Finding(kind="identical", severity="error", reason="same", images=images)
    >>> finding_line(finding, {"/d/a.png": "a.png", "/d/b.png": "b.png"})
    'error    a.png = b.png: same'
    """
    between = " = " if finding.kind == "identical" else ", "
    paths = [image.path for image in finding.images]
    # Every copy is named, whatever it takes: a group of copies stands for all its pairs.
    most = len(paths) if finding.kind == "identical" else IMAGES_PER_LINE
    listed = between.join(names.get(path, path) for path in paths[:most])
    if len(paths) > most:
        listed += f" and {len(paths) - most} more"
    what = ": ".join(part for part in (listed, finding.reason) if part)
    return shown(f"{finding.severity:<8} {what}")


def short_names(paths: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the folder that all *paths* share, and each path below it.

    >>> short_names(["/data/train/a.png", "/data/test/b.png"])
    ('/data', {'/data/train/a.png': 'train/a.png', '/data/test/b.png': 'test/b.png'})
    """
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    except ValueError:  # no paths, several drives, or relative beside absolute
        folder = ""
    if not folder:
        return "", {path: path for path in paths}
    return folder, {path: os.path.relpath(path, folder) for path in paths}
