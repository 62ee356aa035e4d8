"""Fingerprints of images and their cache; findings on class sizes and image quality.

Fingerprints are kept by the sha256 of an image's bytes, in a feature store of their own: as rows
of whole numbers below 65,536, which 32-bit floats hold exactly.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.cache import features_folder
from offshelf.data.decode import read_bytes
from offshelf.data.decoding.limits import Facts, Limits, check_facts
from offshelf.data.lookalikes import Fingerprint, fingerprint
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import ImageError, StoreError
from offshelf.features.feature_kind import decoding_identity
from offshelf.features.reader import ReadOptions, in_threads
from offshelf.features.store.feature_store import FeatureStore
from offshelf.jobs.audit.duplicates import image_ref
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.progress import Progress
from offshelf.report.findings import Finding
from offshelf.text import counted


def class_findings(table: ImageTable, usable: NDArray[np.int64], bounds: Bounds) -> list[Finding]:
    """Return a finding for every small class, and one when the sizes are far apart.

    >>> table = ImageTable(("a", "b"), ("x", "y"), ("train", "train"), ("x", "y"), ())
    >>> class_findings(table, np.array([0]), Bounds(class_size=1))[0].reason
    "'y': 0 usable training images"
    """
    train = np.intersect1d(table.rows("train"), usable)
    counts = np.bincount(table.targets()[train], minlength=len(table.classes))
    found = []
    for name, n in zip(table.classes, counts.tolist(), strict=True):
        if n < bounds.class_size:
            reason = f"{name!r}: {counted(n, 'usable training image')}"
            found.append(
                Finding(
                    kind="small_class",
                    severity="warning",
                    reason=reason,
                    figures={"class": name, "n": n},
                )
            )
    return found + _imbalance(table.classes, counts, bounds)


def _imbalance(
    classes: tuple[str, ...], counts: NDArray[np.int64], bounds: Bounds
) -> list[Finding]:
    present = np.flatnonzero(counts)
    if not len(present):
        return []
    least = present[counts[present].argmin()]
    most = int(counts.argmax())
    ratio = float(counts[most] / counts[least])
    if ratio < bounds.imbalance:
        return []
    small, large = classes[int(least)], classes[most]
    reason = f"{counts[most]} training images of {large!r}, {counts[least]} of {small!r}"
    figures = {"ratio": round(ratio, 4), "largest": large, "smallest": small}
    return [Finding(kind="imbalance", severity="warning", reason=reason, figures=figures)]


PLAIN_MODES = ("L", "RGB")
_MEANING = {
    "1": "black and white only",
    "P": "colours from a palette",
    "LA": "transparent parts are laid on white",
    "PA": "transparent parts are laid on white",
    "RGBA": "transparent parts are laid on white",
    "CMYK": "print colours, converted without their profile",
    "I": "grey of more than 8 bits, scaled to 8",
    "F": "grey in floating point, scaled to 8 bits",
}


# Names of the figures in JSON and in text.
_FIGURES = {"mean_grey": "mean grey", "contrast": "contrast", "sharpness": "sharpness"}


@dataclass(frozen=True)
class _Check:
    """One bound on one figure."""

    kind: str
    figure: str
    value: Callable[[Fingerprint], float]
    broken: Callable[[Fingerprint, Bounds], bool]


_CHECKS = (
    _Check("dark", "mean_grey", lambda p: p.brightness, lambda p, b: p.brightness < b.dark),
    _Check("bright", "mean_grey", lambda p: p.brightness, lambda p, b: p.brightness > b.bright),
    _Check("low_contrast", "contrast", lambda p: p.contrast, lambda p, b: p.contrast < b.contrast),
    _Check(
        "blurred",
        "sharpness",
        lambda p: p.sharpness,
        # A flat or tiny picture has nothing that could be sharp.
        lambda p, b: (
            p.sharpness < b.sharpness and p.contrast >= b.contrast and p.short_side >= b.short_side
        ),
    ),
)


def take_fingerprints(
    paths: Sequence[str],
    digests: Sequence[bytes],
    reading: ReadOptions,
    progress: Progress,
    cache: str | Path | None = None,
) -> list[Fingerprint | ImageError]:
    """Return the fingerprint of each file, or why it has none.

    A file whose fingerprint *cache* holds by its digest (sha256) is not read again.
    """
    progress.start("fingerprints", len(paths))
    kept = KeptFingerprints(cache, reading.limits)
    found = kept.find(digests)
    places = [place for place, one in enumerate(found) if one is None]
    progress.advance(len(paths) - len(places))
    missing = [paths[place] for place in places]
    results = in_threads(lambda path: _fingerprint(path, reading.limits), missing, reading.threads)
    try:
        for place, (result, digest, facts) in zip(places, results, strict=True):
            found[place] = result
            if isinstance(result, Fingerprint) and facts is not None:
                kept.add(digest, result, facts)
            progress.advance()
    finally:
        kept.flush()
        progress.finish()
    return [one for one in found if one is not None]


def picture_findings(
    table: ImageTable, prints: Mapping[int, Fingerprint], bounds: Bounds
) -> list[Finding]:
    """Return what is odd about single pictures, from the fingerprint of each row that has one."""
    found = [*_sizes(table, prints, bounds), *_modes(table, prints, bounds)]
    for check in _CHECKS:
        broken = [(check.value(p), row) for row, p in prints.items() if check.broken(p, bounds)]
        for value, row in sorted(broken, reverse=check.kind == "bright"):
            reason = f"{_FIGURES[check.figure]} {value:.1f}"
            figures = {check.figure: round(value, 4)}
            found.append(_note(check.kind, reason, table, [row], figures))
    return found


def _fingerprint(path: str, limits: Limits) -> tuple[Fingerprint | ImageError, bytes, Facts | None]:
    """Return what a file looks like, the sha256 of what was read, and the facts of it."""
    try:
        content = read_bytes(path, limits)
        found, facts = fingerprint(content, limits)
    except ImageError as error:
        return error, b"", None
    # The file may have changed since its features were taken.
    return found, hashlib.sha256(content).digest(), facts


def _sizes(
    table: ImageTable, prints: Mapping[int, Fingerprint], bounds: Bounds
) -> Iterator[Finding]:
    if not prints:
        return
    median = float(np.median([p.pixels for p in prints.values()]))
    for row, p in prints.items():
        odd = _odd_size(p, median, bounds)
        if odd:
            reason = f"{p.width} x {p.height} pixels: {', '.join(odd)}"
            figures = {"width": p.width, "height": p.height}
            yield _note("odd_size", reason, table, [row], figures)


def _odd_size(p: Fingerprint, median: float, bounds: Bounds) -> list[str]:
    odd = []
    if p.short_side < bounds.short_side:
        odd.append("tiny")
    if p.aspect >= bounds.aspect:
        odd.append(f"{p.aspect:.1f} times as long as wide")
    ratio = p.pixels / median
    if ratio >= bounds.size_ratio:
        odd.append(f"{ratio:.0f} times the pixels of the median")
    elif ratio <= 1 / bounds.size_ratio:
        odd.append(f"1/{1 / ratio:.0f} of the pixels of the median")
    return odd


def _modes(
    table: ImageTable, prints: Mapping[int, Fingerprint], bounds: Bounds
) -> Iterator[Finding]:
    """Yield a finding for each way of storing pixels that is rare, or no plain grey or RGB."""
    rows: dict[tuple[str, bool], list[int]] = {}
    for row, p in prints.items():
        rows.setdefault((p.mode, p.mode == "RGB" and not p.coloured), []).append(row)
    for (mode, colourless), members in sorted(rows.items()):
        share = len(members) / len(prints)
        if mode in PLAIN_MODES and share >= bounds.rare_mode:
            continue
        # Pillow has several modes of whole numbers, such as I;16.
        meaning = _MEANING.get("I" if mode.startswith("I") else mode, "")
        stored = f"{mode} without colour" if colourless else mode
        count = counted(len(members), "image")
        reason = f"{count} of {len(prints)} stored as {stored}{meaning and f' ({meaning})'}"
        figures = {"mode": stored, "n": len(members), "share": share}
        yield _note("odd_mode", reason, table, members, figures)


def _note(
    kind: str, reason: str, table: ImageTable, rows: Sequence[int], figures: dict[str, Any]
) -> Finding:
    images = tuple(image_ref(table, row) for row in rows)
    return Finding(kind=kind, severity="note", reason=reason, images=images, figures=figures)


# Raised with every change of what a fingerprint says of the same pixels.
FINGERPRINT_VERSION = 2
# Hash, width, height, mode, whether coloured, brightness, contrast, sharpness, flat, levels.
_ROW = struct.Struct("<QII8s?x4dH")
_COLUMNS = _ROW.size // 2


class KeptFingerprints:
    """The fingerprints in the cache; without one nothing is kept.

    Args:
        cache: its folder, None for the usual one.
        limits: of this run; those that are kept are judged by them as if decoded again.
    """

    def __init__(self, cache: str | Path | None, limits: Limits) -> None:
        self._limits = limits
        self._store: FeatureStore | None = None
        identity = {
            "fingerprints": FINGERPRINT_VERSION,
            "decoding": decoding_identity(limits.background),
        }
        with contextlib.suppress(StoreError):
            self._store = FeatureStore(features_folder(cache), identity, _COLUMNS)

    def find(self, digests: Sequence[bytes]) -> list[Fingerprint | ImageError | None]:
        """Return what decoding each image would give, None where that must be done."""
        found: list[Fingerprint | ImageError | None] = [None] * len(digests)
        if self._store is None:
            return found
        usable = []
        for place, digest in enumerate(digests):
            facts = self._store.facts(digest)
            if facts is None:
                continue
            try:
                check_facts(facts, self._limits)
                usable.append(place)
            except ImageError as error:
                found[place] = error
        with contextlib.suppress(StoreError):
            for place, row in zip(
                usable, self._store.read([digests[p] for p in usable]), strict=True
            ):
                found[place] = unpacked(row)
        return found

    def add(self, digest: bytes, found: Fingerprint, facts: Facts) -> None:
        """Keep a fingerprint."""
        with contextlib.suppress(StoreError, struct.error):
            if self._store is not None:
                self._store.append(digest, packed(found), facts)

    def flush(self) -> None:
        """Write what is new; where it cannot be written, it is made again."""
        with contextlib.suppress(StoreError):
            if self._store is not None:
                self._store.flush()


def packed(found: Fingerprint) -> NDArray[np.float32]:
    """Return a fingerprint as a row of a store.

    Raises:
        struct.error: it does not fit.
    """
    mode = found.mode.encode()
    if len(mode) > 8:
        raise struct.error("a longer mode than Pillow has")
    content = _ROW.pack(
        found.hash,
        found.width,
        found.height,
        mode,
        found.coloured,
        found.brightness,
        found.contrast,
        found.sharpness,
        found.flat,
        found.levels,
    )
    return np.frombuffer(content, "<u2").astype(np.float32)


def unpacked(row: NDArray[np.float32]) -> Fingerprint:
    """Return the fingerprint that :func:`packed` made a row of."""
    values = _ROW.unpack(row.astype("<u2").tobytes())
    dct, width, height, mode, coloured, brightness, contrast, sharpness, flat, levels = values
    return Fingerprint(
        width=width,
        height=height,
        mode=mode.rstrip(b"\0").decode(),
        coloured=coloured,
        hash=dct,
        brightness=brightness,
        contrast=contrast,
        sharpness=sharpness,
        flat=flat,
        levels=levels,
    )
